"""The workload file that a fit becomes, and the file of lengths beside it."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from pdplan.specs.arrivals import Bursts
from pdplan.specs.trace_fit.arrivals import Arrivals
from pdplan.specs.trace_fit.fit import TraceFit
from pdplan.specs.trace_fit.lengths import COLUMNS

POISSON = 0.1
"""Distance of a squared variation from 1 below which it is not written."""
DIGITS = 4


def workload_of(
    fit: TraceFit, name: str, lengths_file: str, image_size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Keys of a workload file whose lengths are in `lengths_file` beside it.

    image_size = width and height of every image [pixels], where the trace has images.
    """
    found: dict[str, Any] = {"name": name, "description": _description(fit), "source": _source(fit)}
    if fit.arrivals is not None:
        found |= _arrivals(fit.arrivals)
    found |= {key: {"trace": lengths_file} for key in ("isl", "osl")}
    if fit.images is not None and image_size is not None:
        count = {
            "values": [_number(value) for value in fit.images.values],
            "weights": [_number(weight, 6) for weight in fit.images.weights],
        }
        width, height = image_size
        found["images"] = {"count": {"histogram": count}, "width": width, "height": height}
    if fit.hit is not None:
        found["prefix"] = {"hit": _number(fit.hit)}
    return found


def workload_yaml(workload: Mapping[str, Any]) -> str:
    """Write the keys of a workload file: short parts on one line."""
    text: str = yaml.safe_dump(
        dict(workload), sort_keys=False, default_flow_style=None, width=98, allow_unicode=True
    )
    return text


def lengths_csv(fit: TraceFit) -> str:
    """Write the rows that stand for the trace; columns that say nothing are left out."""
    said = (True, True, fit.images is not None, fit.hit is not None)
    used = [k for k, column in enumerate(said) if column]
    lines = [",".join(COLUMNS[k] for k in used)]
    lines += [",".join(_cell(row[k]) for k in used) for row in fit.sample]
    return "\n".join(lines) + "\n"


def _cell(value: float) -> str:
    return "" if math.isnan(value) else str(round(value))


def _description(fit: TraceFit) -> str:
    if fit.arrivals is None:
        return "Lengths of a recorded trace. Give the rate."
    return "Fitted to a recorded trace; its lengths are drawn in the file beside."


def _source(fit: TraceFit) -> str:
    parts = [f"{fit.source} ({fit.format}): {fit.moments.requests} requests"]
    if fit.left_out:
        parts.append(f"{fit.left_out} failed ones left out")
    if fit.arrivals is not None:
        parts.append(f"over {fit.arrivals.span_s:.0f} s")
        if fit.first_s is not None:
            ends = (fit.first_s, fit.first_s + fit.arrivals.span_s)
            first, last = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}" for at in ends)
            parts.append(f"{first} to {last} UTC")
    return ", ".join(parts)


def _arrivals(arrivals: Arrivals) -> dict[str, Any]:
    found: dict[str, Any] = {"rate": f"{_number(arrivals.rate_rps, 6)} req/s"}
    if abs(arrivals.arrival_scv - 1) >= POISSON:
        found["arrival_scv"] = float(_number(arrivals.arrival_scv))
    if arrivals.bursts is not None:
        found["burst"] = _burst(arrivals.bursts)
    if arrivals.profile is not None:
        found["profile"] = {
            "relative": [float(_number(value)) for value in arrivals.profile],
            "period": "24 h",
        }
    return found


def _burst(bursts: Bursts) -> dict[str, Any]:
    share = float(_number(bursts.share))
    most = math.floor(1e4 / share) / 1e4
    factor = min(float(_number(bursts.factor)), most)
    return {"factor": factor, "share": share, "length": f"{_number(bursts.length_s)} s"}


def _number(value: float, digits: int = DIGITS) -> float | int:
    """Round to a few significant digits; a whole number without a point.

    >>> _number(0.123456), _number(12.0), _number(2.566397, 6)
    (0.1235, 12, 2.5664)
    """
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded
