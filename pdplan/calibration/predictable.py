"""Measurements that a profile can be asked about, and why the others cannot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pdplan.calibration.formats.row import Measured
from pdplan.calibration.observations import Observations
from pdplan.errors import PdplanError, Problem
from pdplan.physics.roofline import Floats
from pdplan.planner.points import Reader
from pdplan.planner.prediction import outputs
from pdplan.planner.serve import SERVE_OUTPUTS

ANY_PHASE = ("latency_s", "memory_bytes_per_gpu", "kv_capacity_tokens")
MAY_FAIL = ("encode", "transfer")
"""Phases that some models or accelerators do not have."""


@dataclass(frozen=True, slots=True)
class Predictable:
    """Measurements with their predictions."""

    data: Observations
    predicted: Floats
    others: tuple[Problem, ...]
    """What cannot be predicted, one reason a row."""


def predictable(
    measured: Sequence[Measured], engine: str = "", specs_dir: Path | None = None
) -> Predictable:
    """Predict what can be predicted, with one profile by name or with those that rows name."""
    reader = Reader(specs_dir, {})
    others: list[Problem] = []
    good: list[Measured] = []
    for one in measured:
        row = dict(one.row) | ({"engine": engine} if engine else {})
        try:
            values = _values(reader, row, one.values)
        except PdplanError as error:
            others.append(_because(one, "; ".join(str(error).splitlines())))
            continue
        absent = [name for name in one.values if name not in values]
        if absent:
            phase = row.get("phase") or "prefill"
            others.append(_because(one, f"phase {phase} has no {', '.join(absent)}"))
        if values:
            good.append(replace(one, row=row, values=values))
    data = Observations(good, specs_dir)
    predicted = data.predicted()
    finite = np.isfinite(predicted) & (predicted > 0)
    for i in sorted(set(data.index[~finite].tolist())):
        names = [data.names[k] for k in np.flatnonzero((data.index == i) & ~finite)]
        message = f"no finite prediction of {', '.join(names)}: the instance is overloaded"
        others.append(_because(data.measured[i], message))
    if finite.all():
        return Predictable(data, predicted, tuple(others))
    return Predictable(data.only(finite), predicted[finite], tuple(others))


def _values(
    reader: Reader, row: Mapping[str, str], values: Mapping[str, float]
) -> dict[str, float]:
    """Those of the measured values that the row's phase has; raises PdplanError."""
    point = reader.point(row)
    if point.phase in MAY_FAIL:
        outputs([point])
    known = (*ANY_PHASE, *SERVE_OUTPUTS) if point.phase == "serve" else ANY_PHASE
    return {name: value for name, value in values.items() if name in known}


def _because(one: Measured, message: str) -> Problem:
    return Problem(one.source, one.line, "", message)
