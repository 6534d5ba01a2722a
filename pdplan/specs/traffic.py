"""A workload as weighted request points: what every stage computes its service times on.

Prompt points hold what is known when a request arrives (text, media); outputs are conditional on
them, so that prompt and answer lengths of a trace stay correlated.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdplan.specs.arrivals import Bursts
from pdplan.specs.class_points import OUTPUT_POINTS, class_points, widened
from pdplan.specs.points import Array
from pdplan.specs.workload import WorkloadSpec

MAX_POINTS = 128


@dataclass(frozen=True, slots=True)
class RequestClass:
    """Requests that share objectives; an objective of None is no constraint."""

    name: str
    share: float
    ttft_s: float | None
    tpot_s: float | None
    percentiles: tuple[int | str, ...]
    """Of both objectives; `mean` is one of them."""
    origin: str = ""
    """Class of the workload that it is a part of, where that was told apart further."""


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Arrivals and their request points; arrays are read-only.

    Prompt points have shape `[S]` and weights that sum to one over all classes; outputs have shape
    `[S, O]` and rows of weights that sum to one. Widths and heights are 0 where there is no medium.
    """

    rate_rps: float
    """Rate that a plan is sized for: that of the busiest time of day."""
    peak_factor: float
    """The same over the mean of the day."""
    arrival_scv: float
    bursts: Bursts | None
    classes: tuple[RequestClass, ...]
    weight: Array
    class_index: NDArray[np.intp]
    text_tokens: Array
    images: Array
    image_width: Array
    image_height: Array
    audio_s: Array
    video_frames: Array
    video_width: Array
    video_height: Array
    to_encode: Array
    """Share of the media that was not encoded before."""
    cached_alone: Array
    """Text tokens of the prompt found in the prefix cache where no other class shares it."""
    cached_pooled: Array
    """The same where classes share pools."""
    kept_tokens: Array
    """Those of them that were kept for this request alone, since the turn before it."""
    kept_share: Array
    """Share of a session's history that is found."""
    earlier_turns: Array
    """Turns of the same session before this one."""
    think_s: Array
    """Time between the turn before and this one; 0 for a first turn."""
    output_tokens: Array
    output_weight: Array
    media_hit: float = 0.0
    """Share of the media that was encoded before."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    @property
    def cached_tokens(self) -> Array:
        """Text tokens of the prompt that are found in the prefix cache [S]."""
        alone = len({kind.origin or kind.name for kind in self.classes}) == 1
        return self.cached_alone if alone else self.cached_pooled

    @property
    def mean_rate_rps(self) -> float:
        """Mean rate over the day: what is paid for and billed."""
        return self.rate_rps / self.peak_factor

    @property
    def dispersion(self) -> float:
        """Limit of the index of dispersion for counts [-]; `arrival_scv` where nothing bursts."""
        bursts = self.bursts.excess_dispersion(self.rate_rps) if self.bursts else 0.0
        return self.arrival_scv + bursts

    @property
    def dispersion_s(self) -> float:
        """Time over which the rate stays what it is; 0 where it never changes."""
        return self.bursts.correlation_s if self.bursts else 0.0

    @property
    def idle_tokens_s(self) -> float:
        """Text tokens kept between turns times how long, mean over requests [token s]."""
        return float(self.weight @ (self.kept_tokens * self.think_s))

    @property
    def has_media(self) -> bool:
        """Whether any request brings an image, a sound or a video."""
        return bool(np.any(self.media > 0))

    @property
    def text_only_share(self) -> float:
        """Share of requests without media."""
        return float(self.weight @ (self.media == 0))

    @property
    def output_mean(self) -> float:
        """Mean output [tokens]."""
        return float(self.weight @ (self.output_weight * self.output_tokens).sum(axis=1))

    @property
    def mean_context(self) -> float:
        """Mean text context that a decode step meets [tokens]: E[osl (isl + osl/2)] / E[osl]."""
        isl, osl = self.text_tokens[:, None], self.output_tokens
        seen = (self.output_weight * osl * (isl + osl / 2)).sum(axis=1)
        return float(self.weight @ seen) / self.output_mean

    @property
    def media(self) -> Array:
        """More than 0 where there is an image, a sound or a video [S]."""
        return self.images + self.audio_s + self.video_frames


def traffic(
    workload: WorkloadSpec,
    rate_rps: float,
    folder: Path,
    *,
    percentiles: tuple[int | str, ...] = (90,),
) -> Traffic:
    """Build the request points of a workload whose trace paths are relative to `folder`.

    rate_rps: the mean over the day; the traffic's own rate is that of its busiest time.
    `percentiles` hold for classes that name none. Raises SpecError for unusable traces.
    """
    kinds = workload.kinds()
    budget = max(OUTPUT_POINTS, MAX_POINTS // len(kinds))
    parts = [class_points(kind, folder, budget) for kind in kinds]
    columns: dict[str, Any] = {
        name: np.concatenate([np.broadcast_to(part[name], part["weight"].shape) for part in parts])
        for name in parts[0]
        if not name.startswith("output")
    }
    columns["weight"] /= columns["weight"].sum()
    width = max(part["output_tokens"].shape[1] for part in parts)
    return Traffic(
        rate_rps=rate_rps * workload.peak,
        peak_factor=workload.peak,
        arrival_scv=workload.arrival_scv,
        bursts=workload.bursts,
        classes=tuple(
            RequestClass(
                kind.name, kind.share, kind.ttft, kind.tpot, kind.percentile or percentiles
            )
            for kind in kinds
        ),
        class_index=np.repeat(np.arange(len(kinds)), [part["weight"].size for part in parts]),
        output_tokens=np.concatenate([widened(p["output_tokens"], width) for p in parts]),
        output_weight=np.concatenate([widened(p["output_weight"], width, 0.0) for p in parts]),
        **columns,
    )
