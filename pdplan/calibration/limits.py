"""What silicon allows at best: bounds that no honest measurement passes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdplan.calibration.numbers import Numbers
from pdplan.physics.roofline import Floats
from pdplan.planner.points import Point
from pdplan.planner.prediction import column, passes, table, transfer_bytes
from pdplan.specs.model import ModelSpec
from pdplan.stages.llm import decode_pass, prefill_pass
from pdplan.stages.machine import Machines

TOLERANCE = 0.02
"""Share by which rounding, clocks and mean lengths may carry a measurement past its bound."""
RATES = ("throughput_rps", "output_tokens_per_s_per_gpu")
"""Outputs whose bound is from above."""
MANY = 1e5
"""Running requests of an open loop, of which nobody knows the number."""


def limits(points: Sequence[Point]) -> dict[str, Floats]:
    """Bounds of the outputs of each point [R]: least times, most of RATES; nan where none."""
    found: dict[str, Floats] = {}
    groups: dict[tuple[int, int, str], list[int]] = defaultdict(list)
    for i, point in enumerate(points):
        groups[id(point.model), id(point.engine), point.phase].append(i)
    for index in groups.values():
        for name, values in _limits([points[i] for i in index]).items():
            found.setdefault(name, np.full(len(points), np.nan))[index] = values
    return found


def _limits(points: list[Point]) -> dict[str, Floats]:
    m, model, phase = table(points), points[0].model, points[0].phase
    if phase == "serve":
        return _served(model, m, points)
    if phase == "transfer":
        with np.errstate(divide="ignore"):
            seconds = transfer_bytes(model, points) / m.network_peak_bytes_per_s
        return {"latency_s": seconds[:, 0]}
    return {"latency_s": passes(model, m, points).roof_s[:, 0]}


def _served(model: ModelSpec, m: Machines, points: list[Point]) -> dict[str, Floats]:
    """Of an instance: one prompt alone, one token of one sequence, steps of all that run."""
    isl, prefix = column(points, "isl"), column(points, "prefix")
    first = prefill_pass(model, m, new_tokens=isl, prefix_tokens=prefix).roof_s[:, 0]
    context = isl + prefix
    token = decode_pass(model, m, sequences=1.0, context_tokens=context).roof_s[:, 0]
    running = column(points, "concurrency", MANY)
    step = decode_pass(model, m, sequences=running, context_tokens=context).roof_s[:, 0]
    osl = column(points, "osl")[:, 0]
    more = np.maximum(osl - 1, 0.0)
    with np.errstate(divide="ignore"):
        rate = running[:, 0] / (step * more)
    gpus = (m.tp * m.dp * m.pp)[:, 0]
    quantiles = ("mean", "p50", "p90", "p99")
    return {
        "latency_s": first + more * token,
        **{f"ttft_{name}_s": first for name in quantiles},
        **{f"tpot_{name}_s": token for name in quantiles},
        "throughput_rps": rate,
        "output_tokens_per_s_per_gpu": rate * osl / gpus,
    }


@dataclass(frozen=True, slots=True)
class Impossible:
    """A number that silicon cannot reach."""

    place: int
    """Among the numbers of the observations."""
    limit: float


def impossible(data: Numbers) -> list[Impossible]:
    """Numbers beyond what the hardware allows."""
    bounds = data.limits()
    found = []
    for place, (name, value) in enumerate(zip(data.names, data.values, strict=True)):
        limit = float(bounds[place])
        past = limit / value if name not in RATES else value / limit
        if past > 1 + TOLERANCE:
            found.append(Impossible(place, limit))
    return found
