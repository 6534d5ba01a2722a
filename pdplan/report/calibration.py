"""A calibration as tables and as plain data."""

from collections.abc import Sequence
from dataclasses import asdict

from pdplan.calibration.calibrate import Calibration
from pdplan.calibration.constants import TIME, law
from pdplan.calibration.held_out import HeldOut
from pdplan.calibration.profile import seconds_text
from pdplan.errors import Problem
from pdplan.report.blocks import Block, Cell, Grid, Lines
from pdplan.report.measured import number_rows, numbers_grid
from pdplan.report.numbers import heading, percent, significant

NOTE = "low, high: 95 % confidence. kept: not identified, so as in the base profile."
OUTLIERS = "Neither the constants nor the errors count them."


def calibration_blocks(
    found: Calibration, apart: Sequence[HeldOut], left_out: Sequence[Problem]
) -> list[Block]:
    """Constants, errors, outliers and what was left alone."""
    opening = (
        f"Measurements: {len(found.data.measured)}, with {len(found.data)} numbers. Constants "
        f"identified: {len(found.estimates)}. Base profile: {found.base.name}."
    )
    blocks: list[Block] = [Lines((opening,)), _constants(found), _errors(found, apart)]
    outliers = number_rows(found.data, found.after, ~found.kept)
    if outliers:
        blocks.append(numbers_grid(outliers, "Outliers", OUTLIERS))
    if left_out:
        blocks.append(Lines(tuple(str(problem) for problem in left_out), "Left out"))
    if found.unfelt:
        title = "Left alone: no prediction of these measurements depends on them"
        blocks.append(Lines((", ".join(_collapsed(found)),), title))
    return blocks


def constant_rows(found: Calibration) -> list[dict[str, Cell]]:
    """Constants that move predictions: told ones, then those kept as they were."""
    told: list[dict[str, Cell]] = [
        {"constant": name, "before": each.before, "after": each.value, "low": each.low,
         "high": each.high, "uncertainty_left": each.share, "status": "told"}
        for name, each in found.estimates.items()
    ]  # fmt: skip
    return told + [
        {"constant": name, "before": each.before, "after": each.before, "low": None, "high": None,
         "uncertainty_left": each.share, "status": "kept"}
        for name, each in found.untold.items()
    ]  # fmt: skip


def constants_grid(found: Calibration) -> Grid:
    """The same with all digits, for a spreadsheet."""
    rows = constant_rows(found)
    return Grid(tuple(rows[0]), tuple(tuple(row.values()) for row in rows))


def _constants(found: Calibration) -> Grid:
    columns = ("constant", "before", "after", "low", "high", "status")
    rows = tuple(
        (row["constant"], *(_shown(row, name) for name in columns[1:5]), row["status"])
        for row in constant_rows(found)
    )
    return Grid(columns, rows, "Constants", NOTE)


def _collapsed(found: Calibration) -> list[str]:
    """Constants left alone, a group by its name where all of it was."""
    felt = {_group(name) for name in (*found.estimates, *found.untold)}
    return list(
        dict.fromkeys(name if _group(name) in felt else _group(name) for name in found.unfelt)
    )


def _group(name: str) -> str:
    """First part of a constant's path.

    >>> _group("hopper:gemm.mfu.bf16")
    'hopper:gemm'
    """
    return name.partition(".")[0]


def _shown(row: dict[str, Cell], name: str) -> str | None:
    """Write a constant; times with their unit."""
    value = row[name]
    if not isinstance(value, float):
        return None
    timed = law(str(row["constant"]).partition(":")[2]) is TIME
    return seconds_text(value) if timed and value else significant(value)


def _errors(found: Calibration, apart: Sequence[HeldOut]) -> Grid:
    rows = error_rows(found, apart)
    cells = tuple(
        tuple(
            heading(str(v)) if name == "output" else percent(v) if isinstance(v, float) else v
            for name, v in row.items()
        )
        for row in rows
    )
    ways = "; ".join(f"{each.generation}: {each.by}" for each in apart)
    note = f"Mean absolute errors. Held out: {ways}."
    return Grid(tuple(rows[0]), cells, "Errors", note)


def error_rows(found: Calibration, apart: Sequence[HeldOut]) -> list[dict[str, Cell]]:
    """Errors by output and generation: of the base profile, calibrated, held out."""
    held = {(each.generation, s.output): s.mape for each in apart for s in each.errors}
    after = found.errors(found.after, "generation")
    return [
        {
            "output": score.output,
            "generation": score.group[0],
            "points": score.points,
            "before": score.mape,
            "after": then.mape,
            "held_out": held.get((score.group[0], score.output)),
        }
        for score, then in zip(found.errors(found.before, "generation"), after, strict=True)
    ]


def calibration_data(
    found: Calibration, apart: Sequence[HeldOut], left_out: Sequence[Problem]
) -> dict[str, object]:
    """Everything, as plain data."""
    return {
        "base": found.base.name,
        "measurements": len(found.data.measured),
        "numbers": len(found.data),
        "constants": constant_rows(found),
        "left_alone": list(found.unfelt),
        "errors": error_rows(found, apart),
        "held_out": [{"generation": each.generation, "by": each.by} for each in apart],
        "points": number_rows(found.data, found.after, found.kept),
        "outliers": number_rows(found.data, found.after, ~found.kept),
        "left_out": [asdict(problem) for problem in left_out],
    }
