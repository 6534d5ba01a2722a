"""Specs written back as the plain data of their YAML files."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdplan.specs.lengths import Length
from pdplan.specs.scenario import Scenario
from pdplan.specs.workload import ClassSpec, WorkloadSpec

if TYPE_CHECKING:
    from pdplan.specs.traffic import Traffic


def workload_mapping(scenario: Scenario) -> dict[str, Any]:
    """Write the scenario's traffic as a workload in place, complete with rate and objectives."""
    return workload_text(
        scenario.workload, scenario.workload_id, scenario.traffic, scenario.workload_folder
    )


def workload_text(
    workload: WorkloadSpec, name: str, traffic: "Traffic", folder: Path
) -> dict[str, Any]:
    """Write a workload with its rate and the percentiles that hold for each class."""
    rate = mean_rate_text(traffic.rate_rps, traffic.peak_factor)
    found: dict[str, Any] = {"name": name, "rate": rate}
    found |= _arrivals(workload)
    objectives = {kind.origin or kind.name: kind for kind in traffic.classes}
    if not workload.classes:
        (only,) = workload.kinds()
        return found | _requests(only, objectives[only.name].percentiles, folder)
    found["classes"] = [
        {"name": kind.name, "share": kind.share}
        | _requests(kind, objectives[kind.name].percentiles, folder)
        for kind in workload.kinds()
    ]
    return found


def mean_rate_text(peak_rps: float, peak_factor: float) -> str:
    """Write the mean rate over the day so that it reads back as the very same peak rate.

    >>> mean_rate_text(0.3, 1.0), mean_rate_text(6.0, 1.5)
    ('0.3 req/s', '4 req/s')
    """
    mean = peak_rps / peak_factor
    tried = (float(f"{mean:.12g}"), mean, math.nextafter(mean, 0), math.nextafter(mean, math.inf))
    return rate_text(next((rate for rate in tried if rate * peak_factor == peak_rps), mean))


def _arrivals(workload: WorkloadSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if workload.arrival_scv != 1.0:
        found["arrival_scv"] = workload.arrival_scv
    if workload.burst is not None:
        burst = workload.burst
        found["burst"] = {"factor": burst.factor, "share": burst.share}
        found["burst"]["length"] = f"{_exact(burst.length)} s"
    if workload.profile is not None:
        period = f"{_exact(workload.profile.period)} s"
        found["profile"] = {"relative": list(workload.profile.relative), "period": period}
    if workload.peak_factor is not None:
        found["peak_factor"] = workload.peak_factor
    return found


def rate_text(rate_rps: float) -> str:
    """Write a rate so that it reads back to the last digit.

    >>> rate_text(20.0), rate_text(0.1)
    ('20 req/s', '0.1 req/s')
    """
    return f"{_exact(rate_rps)} req/s"


def _exact(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _requests(kind: ClassSpec, percentiles: tuple[int | str, ...], folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"isl": _length(kind.isl, folder), "osl": _length(kind.osl, folder)}
    if kind.images is not None:
        sizes = [size.model_dump() for size in kind.images.sizes]
        extent = {"width": kind.images.width, "height": kind.images.height}
        found["images"] = {"count": _length(kind.images.count, folder)}
        found["images"] |= {"sizes": sizes} if sizes else extent
    if kind.audio is not None:
        found["audio"] = {"seconds": _length(kind.audio.seconds, folder)}
    if kind.video is not None:
        video = kind.video
        found["video"] = {
            "seconds": _length(video.seconds, folder),
            "fps": video.fps,
            "width": video.width,
            "height": video.height,
        }
    if kind.prefix is not None:
        hit, tokens = kind.prefix.hit, kind.prefix.tokens
        found["prefix"] = {"hit": hit} if tokens is None else {"tokens": _length(tokens, folder)}
        if kind.prefix.shared_hit is not None:
            found["prefix"]["shared_hit"] = kind.prefix.shared_hit
    if kind.session is not None:
        found["session"] = {
            "turns": _length(kind.session.turns, folder),
            "think": f"{_exact(kind.session.think)} s",
            "cached": kind.session.cached,
        }
    for name, value in (("ttft", kind.ttft), ("tpot", kind.tpot)):
        if value is not None:
            found[name] = f"{_exact(value)} s"
    found["percentile"] = list(percentiles)
    return found


def _length(length: Length, folder: Path) -> Any:  # noqa: ANN401  (a number or a mapping)
    if length.fixed is not None:
        return int(length.fixed) if length.fixed == int(length.fixed) else length.fixed
    found = length.model_dump(exclude_none=True)
    if length.trace is not None:
        found["trace"] = str((folder / length.trace).resolve())
    for name, form in found.items():
        if name == "histogram":
            found[name] = {key: list(values) for key, values in form.items()}
    return found
