"""A CSV of `predict`'s input columns with measured outputs beside them.

`measured_ttft_p99_ms` is an output of `predict` with its unit; `measured_ttft_ms` is a mean,
`measured_ms` the latency; without a unit in the name each cell carries one (`12.3 ms`).
"""

import math
from collections.abc import Sequence

from pdplan.calibration.formats.format import Format, Part
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.table import Table, table
from pdplan.errors import Problem, SpecError
from pdplan.planner.points import PREDICT_INPUTS
from pdplan.units import parse_quantity

EXAMPLE = "measured_latency_s, measured_ttft_ms or measured_tpot_p99_ms"
PLAIN = ("throughput_rps", "output_tokens_per_s_per_gpu", "kv_capacity_tokens")
_UNITS = {"_ms": "ms", "_us": "us", "_s": "s"}
_SHORT = {"": "latency", "e2e": "latency", "ttft": "ttft_mean", "tpot": "tpot_mean"}
_SHORT |= {"itl": "tpot_mean", "latency": "latency"}
_TIMES = {
    "latency",
    *(f"{name}_{q}" for name in ("ttft", "tpot") for q in ("mean", "p50", "p90", "p99")),
}


def _read(part: Part) -> list[Measured]:
    data = table(part)
    meant = {c: _meaning(data, c) for c in data.columns if c.startswith("measured")}
    outputs = [output for output, _ in meant.values()]
    twice = next((output for output in outputs if outputs.count(output) > 1), None)
    if twice is not None:
        same = ", ".join(column for column, (output, _) in meant.items() if output == twice)
        raise SpecError(Problem(data.source, 1, "", f"columns {same} are the same output"))
    problems: list[Problem] = []
    found = []
    for line, row in data.rows:
        values = {}
        for column, (output, unit) in meant.items():
            cell = row.get(column, "").strip()
            if not cell:
                continue
            try:
                values[output] = _value(cell, unit)
            except ValueError as error:
                problems.append(Problem(data.source, line, column, str(error)))
        inputs = {name: row[name].strip() for name in PREDICT_INPUTS if row.get(name, "").strip()}
        found.append(Measured(inputs, values, data.source, line))
    if problems:
        raise SpecError(*problems)
    return found


def _meaning(table: Table, column: str) -> tuple[str, str]:
    """Output of `predict` that a column holds, and its unit; no unit is in the cells."""
    name = column.removeprefix("measured").removeprefix("_")
    if name in PLAIN:
        return name, "1"
    unit = next((suffix for suffix in _UNITS if f"_{name}".endswith(suffix)), "")
    base = f"_{name}".removesuffix(unit).removeprefix("_") if unit else name
    base = _SHORT.get(base, base)
    if base not in _TIMES:
        message = f"is no output of predict; expected for example {EXAMPLE}"
        raise SpecError(Problem(table.source, 1, column, message))
    return f"{base}_s", _UNITS.get(unit, "")


def _value(cell: str, unit: str) -> float:
    """Read a cell in SI units; raises ValueError with what was expected and found."""
    try:
        number = float(cell)
    except ValueError:
        if unit == "1":
            message = f"must be a number; got '{cell[:40]}'"
            raise ValueError(message) from None
        return _above_zero(parse_quantity(cell, "s"), cell)
    if not unit:
        message = f"needs a number and a unit, for example '12.3 ms'; got '{cell[:40]}'"
        raise ValueError(message)
    scale = 1.0 if unit == "1" else parse_quantity(f"1 {unit}", "s")
    return _above_zero(number * scale, cell)


def _above_zero(value: float, cell: str) -> float:
    if not (math.isfinite(value) and value > 0):
        message = f"must be a finite number above 0; got '{cell[:40]}'"
        raise ValueError(message)
    return value


def no_measured_column(columns: Sequence[str]) -> str:
    """Say what a table lacks."""
    listed = ", ".join(columns) or "nothing"
    return f"has no measured column; found {listed}; expected for example {EXAMPLE}"


PREDICT_CSV = Format("table of predict", "csv", (("measured*",),), _read)
