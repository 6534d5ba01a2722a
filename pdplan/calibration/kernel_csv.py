"""A CSV of timed kernels: written by `calibrate --measure --kernels`, read by `calibrate`."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pdplan.calibration.formats.format import Part
from pdplan.calibration.formats.table import table
from pdplan.calibration.kernels import SIZES, KernelMeasurement
from pdplan.errors import PdplanError, Problem, SpecError
from pdplan.specs.base import suggestion
from pdplan.specs.dtypes import DTYPE_BYTES
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model

SIGNS = ("kernel", "hardware", "dtype", "measured_s")
"""Columns by which such a file is known."""
COLUMNS = (
    *SIGNS[:3],
    "model",
    *dict.fromkeys(name for names in SIZES.values() for name in names),
    "measured_s",
    "run",
)
MOST = 10**12


def kernels_text(measurements: Sequence[KernelMeasurement]) -> str:
    """Write measurements as CSV, a row each."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for one in measurements:
        writer.writerow(one.row | {"measured_s": f"{one.measured_s:.6g}", "run": one.run})
    return out.getvalue()


def holds_kernels(part: Part) -> bool:
    """Whether a file is of this kind."""
    return part.kind == "csv" and set(SIGNS) <= set(part.names)


def read_kernels(part: Part, specs_dir: Path | None = None) -> list[KernelMeasurement]:
    """Read such a file; raises SpecError with every row that is wrong."""
    data = table(part)
    problems = [
        Problem(data.source, 1, name, "unknown column" + suggestion(name, COLUMNS))
        for name in data.columns
        if name not in COLUMNS
    ]
    found = []
    for line, row in data.rows:
        try:
            found.append(
                _read({k: v.strip() for k, v in row.items()}, data.source, line, specs_dir)
            )
        except _CellError as wrong:
            problems.append(Problem(data.source, line, wrong.column, wrong.message))
    if problems:
        raise SpecError(*problems)
    return found


class _CellError(Exception):
    """What is wrong with one cell."""

    def __init__(self, message: str, column: str = "") -> None:
        super().__init__(message)
        self.column, self.message = column, message


def _read(
    row: Mapping[str, str], source: str, line: int, specs_dir: Path | None
) -> KernelMeasurement:
    kernel, hardware, dtype = (row.get(name, "") for name in SIGNS[:3])
    _one_of("kernel", kernel, tuple(SIZES))
    _one_of("dtype", dtype, tuple(DTYPE_BYTES))
    try:
        spec = load_hardware(hardware, specs_dir)
        sighted = kernel != "encoder" or load_model(row.get("model", ""), specs_dir).vision
    except PdplanError as error:
        raise _CellError(str(error)) from None
    if not sighted:
        message = f"'{row['model']}' has no vision tower"
        raise _CellError(message, "model")
    sizes = {name: _size(name, row.get(name, "")) for name in SIZES[kernel]}
    if kernel == "all_reduce":
        domain = spec.scale_up.domain if spec.scale_up is not None else 1
        if not 2 <= sizes["ranks"] <= domain:
            message = f"must be 2 to the {domain} that {hardware} links; got {sizes['ranks']}"
            raise _CellError(message, "ranks")
    return KernelMeasurement(
        kernel=kernel,
        hardware=hardware,
        dtype=dtype,
        sizes=sizes,
        measured_s=_seconds(row.get("measured_s", "")),
        model=row.get("model", "") if kernel == "encoder" else "",
        run=row.get("run", "") or "complete",
        source=source,
        line=line,
    )


def _one_of(column: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        hint = suggestion(value, known) or f"; known: {', '.join(known)}"
        message = f"unknown {column} '{value[:40]}'{hint}"
        raise _CellError(message, column)


def _size(column: str, cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and 0 < int(cell[:20]) <= MOST):
        message = f"must be a whole number above 0; got '{cell[:40]}'"
        raise _CellError(message, column)
    return int(cell)


def _seconds(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        message = f"must be a finite number of seconds above 0; got '{cell[:40]}'"
        raise _CellError(message, "measured_s")
    return value
