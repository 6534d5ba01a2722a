"""Measured numbers beside predicted ones, with the file and line they come from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pdplan.calibration.numbers import Numbers
from pdplan.physics.roofline import Floats
from pdplan.report.blocks import Cell, Grid
from pdplan.report.numbers import heading, show

NUMBER_COLUMNS = ("source", "line", "output", "measured", "predicted", "error")


def number_rows(
    data: Numbers, predicted: Floats, kept: NDArray[np.bool_] | None = None
) -> list[dict[str, Cell]]:
    """Numbers, or those kept: where they stand, what was run, measured and predicted."""
    rows: list[dict[str, Cell]] = []
    for k in range(len(data)) if kept is None else np.flatnonzero(kept).tolist():
        one = data.measured[data.index[k]]
        measured, value = float(data.values[k]), float(predicted[k])
        rows.append(
            {"source": one.source, "line": one.line, **one.row, "output": data.labels[k],
             "measured": measured, "predicted": value, "error": value / measured - 1}
        )  # fmt: skip
    return rows


def numbers_grid(rows: Sequence[dict[str, Cell]], title: str, note: str) -> Grid:
    """Such numbers as a table for people."""
    cells = tuple(
        (
            str(row["source"]) if row["line"] is None else f"{row['source']}:{row['line']}",
            heading(str(row["output"])),
            show(str(row["output"]), row["measured"]),
            show(str(row["output"]), row["predicted"]),
            signed(row["error"]),
        )
        for row in rows
    )
    return Grid(("where", "output", "measured", "predicted", "error"), cells, title, note)


def signed(share: Cell) -> str | None:
    """Write an error with its sign.

    >>> signed(0.123), signed(-0.5), signed(0.004)
    ('+12 %', '-50 %', '+0.4 %')
    """
    if not isinstance(share, float) or share != share:
        return None
    return f"{100 * share:+.{1 if abs(share) < 0.1 else 0}f} %"
