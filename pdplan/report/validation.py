"""A validation as tables, a histogram in plain characters, and plain data."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from pdplan.calibration.score import Score
from pdplan.calibration.validation import Validation
from pdplan.report.blocks import Block, Cell, Grid, Lines
from pdplan.report.measured import NUMBER_COLUMNS, number_rows, signed
from pdplan.report.numbers import heading, percent

EDGES = (-np.inf, -0.5, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.5, np.inf)
BAR = 18
"""Characters of the longest bar."""
SIDE_BY_SIDE = 3
"""Outputs in one histogram."""
LEAST_POINTS = 4
"""Of an output, for a histogram to say anything."""
MOST_ROWS = 20
"""Unpredicted rows that a table shows."""
NOTE = "Predicted over measured, less one. MAPE is the mean of its size, bias its mean."


def validation_blocks(found: Validation) -> list[Block]:
    """Scores, histograms and what could not be predicted."""
    rows = score_rows(found)
    columns = tuple(rows[0])
    cells = tuple(tuple(_shown(name, row[name]) for name in columns) for row in rows)
    blocks: list[Block] = [Lines((_opening(found),)), Grid(columns, cells, "Errors", NOTE)]
    blocks += _histograms(found)
    if found.unpredicted:
        shown = [str(problem) for problem in found.unpredicted[:MOST_ROWS]]
        more = len(found.unpredicted) - len(shown)
        shown += [f"and {more} more; --format json has all"] if more else []
        blocks.append(Lines(tuple(shown), "Not predicted"))
    return blocks


def _opening(found: Validation) -> str:
    lost = len(found.unpredicted)
    tail = f" Rows that could not be predicted in full: {lost}." if lost else ""
    return f"Measurements: {len(found.data.measured)}, with {len(found.data)} numbers.{tail}"


def _shown(name: str, value: Cell) -> Cell:
    if name == "output":
        return heading(str(value))
    if name in ("mape", "median") and isinstance(value, float):
        return percent(value)
    return signed(value) if name in ("bias", "worst") else value


def score_rows(found: Validation) -> list[dict[str, Cell]]:
    """One row an output and group, then one a total."""
    totals = [(score, ("all",) + ("",) * (len(found.by) - 1)) for score in found.totals]
    groups = [(score, score.group) for score in found.groups]
    return [_row(found.by, score, group) for score, group in groups + totals]


def _row(by: Sequence[str], score: Score, group: Sequence[str]) -> dict[str, Cell]:
    return {
        "output": score.output,
        **dict(zip(by, group, strict=False)),
        "points": score.points,
        "mape": score.mape,
        "median": score.median,
        "bias": score.bias,
        "worst": score.worst,
        "rank_correlation": round(score.rank, 4) if score.rank == score.rank else None,
    }


def scores_grid(found: Validation) -> Grid:
    """Scores with all digits, for a spreadsheet."""
    rows = score_rows(found)
    return Grid(tuple(rows[0]), tuple(tuple(row.values()) for row in rows))


def _histograms(found: Validation) -> list[Block]:
    labels = np.array(found.data.labels)
    error = found.predicted / found.data.values - 1
    counts = {
        score.output: np.histogram(error[labels == score.output], np.array(EDGES))[0]
        for score in found.totals
    }
    blocks: list[Block] = []
    names = [score.output for score in found.totals if score.points >= LEAST_POINTS]
    for at in range(0, len(names), SIDE_BY_SIDE):
        some = names[at : at + SIDE_BY_SIDE]
        bars = [[_bar(int(n), int(counts[name].max())) for n in counts[name]] for name in some]
        rows = tuple(zip(map(_range, EDGES, EDGES[1:]), *bars, strict=True))
        blocks.append(Grid(("error", *some), rows, "How the errors are spread"))
    return blocks


def _bar(count: int, most: int) -> str:
    """Write a count as a bar.

    >>> _bar(3, 6), _bar(0, 6)
    ('######### 3', '')
    """
    return f"{'#' * max(1, round(BAR * count / most))} {count}" if count else ""


def _range(low: float, high: float) -> str:
    """Write a range of errors.

    >>> _range(-0.1, 0.0), _range(0.5, float("inf"))
    ('-10 to 0 %', 'above +50 %')
    """
    first, last = f"{100 * low:+.0f}", f"{100 * high:+.0f}"
    if np.isinf(low):
        return f"below {last} %"
    if np.isinf(high):
        return f"above {first} %"
    return f"{first} to {last} %".replace("+0", "0")


def points_grid(found: Validation) -> Grid:
    """Every number, measured and predicted, for a spreadsheet; the unpredicted with a reason."""
    rows = number_rows(found.data, found.predicted)
    said = dict.fromkeys(name for row in rows for name in row if name not in NUMBER_COLUMNS)
    columns = (*NUMBER_COLUMNS[:2], *said, *NUMBER_COLUMNS[2:], "reason")
    lost: list[dict[str, Cell]] = [
        {"source": each.source, "line": each.line, "reason": each.message}
        for each in found.unpredicted
    ]
    return Grid(columns, tuple(tuple(row.get(c) for c in columns) for row in rows + lost))


def validation_data(found: Validation) -> dict[str, object]:
    """Everything, as plain data."""
    return {
        "measurements": len(found.data.measured),
        "numbers": len(found.data),
        "by": list(found.by),
        "scores": [_row(found.by, score, score.group) for score in found.groups],
        "totals": [_row((), score, ()) for score in found.totals],
        "points": number_rows(found.data, found.predicted),
        "unpredicted": [asdict(problem) for problem in found.unpredicted],
    }
