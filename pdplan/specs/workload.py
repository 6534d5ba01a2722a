"""What arrives: how often, how long, with which media, and how fast it wants its answer."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from pdplan.specs.arrivals import Bursts, BurstSpec, ProfileSpec
from pdplan.specs.base import RequestsPerSecond, Seconds, Spec, validate
from pdplan.specs.catalog import find
from pdplan.specs.lengths import Duration, Number, Tokens
from pdplan.specs.reuse import Prefix, Session
from pdplan.specs.source import load_yaml

SHARE_TOLERANCE = 1e-6

Rate = Annotated[RequestsPerSecond, Field(gt=0, le=1e7)]
Objective = Annotated[Seconds, Field(gt=0)]
Percentile = Literal[50, 90, 95, 99, "mean"]
"""What of a latency an objective is for."""


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def _some(found: tuple[Percentile, ...]) -> tuple[Percentile, ...]:
    if not found:
        message = "needs at least one of 50, 90, 95, 99 or mean"
        raise ValueError(message)
    return tuple(sorted(set(found), key=lambda one: 0 if one == "mean" else one))


Percentiles = Annotated[tuple[Percentile, ...], BeforeValidator(_listed), AfterValidator(_some)]
Extent = Annotated[int, Field(gt=0, le=100_000, strict=True)]


class ImageSize(Spec):
    """One of several sizes that images come in."""

    width: Extent
    height: Extent
    weight: Annotated[float, Field(gt=0, strict=True)] = 1.0


class Images(Spec):
    """Still images of a request; all images of one request have the same size."""

    count: Number
    width: Extent | None = None
    height: Extent | None = None
    sizes: tuple[ImageSize, ...] = ()

    @model_validator(mode="after")
    def _sized(self) -> "Images":
        pair = (self.width, self.height)
        if (None in pair) if not self.sizes else (pair != (None, None)):
            message = "needs width and height, or sizes, and not both"
            raise ValueError(message)
        return self

    def variants(self) -> tuple[ImageSize, ...]:
        """Sizes with their weights, one or many."""
        if self.width is None or self.height is None:
            return self.sizes
        return (ImageSize(width=self.width, height=self.height),)


class Audio(Spec):
    """Sound of a request."""

    seconds: Duration


class Video(Spec):
    """Video of a request, sampled at `fps` frames a second before the encoder sees it."""

    seconds: Duration
    fps: Annotated[float, Field(gt=0, le=1000, strict=True)]
    width: Extent
    height: Extent


class Requests(Spec):
    """What one kind of request looks like and asks for."""

    isl: Tokens | None = None
    """Text tokens of the prompt; tokens of media come on top."""
    osl: Tokens | None = None
    """Tokens of the answer."""
    images: Images | None = None
    audio: Audio | None = None
    video: Video | None = None
    prefix: Prefix | None = None
    """What of the prompt is cached already; before a session's first turn, on top of `isl`."""
    session: Session | None = None
    """Requests are turns of sessions: `isl` and `osl` are what one turn adds."""
    ttft: Objective | None = None
    """Time to first token to stay within; none is no constraint."""
    tpot: Objective | None = None
    """Mean time per output token after the first to stay within; `itl` is another name for it."""
    percentile: Percentiles | None = None
    """Percentiles of both objectives; none is the scenario's."""

    @model_validator(mode="before")
    @classmethod
    def _itl_is_tpot(cls, data: Any) -> Any:  # noqa: ANN401  (raw YAML)
        return itl_is_tpot(data)

    @model_validator(mode="after")
    def _prefix_of_a_session(self) -> "Requests":
        if self.session is not None and self.prefix is not None and self.prefix.hit is not None:
            message = (
                "prefix: takes tokens only where there is a session; how much of its history is "
                "found is the session's 'cached'"
            )
            raise ValueError(message)
        return self


def itl_is_tpot(data: Any) -> Any:  # noqa: ANN401  (raw YAML)
    """Let `itl` stand for `tpot` in a mapping of keys."""
    if not isinstance(data, Mapping) or "itl" not in data:
        return data
    if "tpot" in data:
        message = "itl: is another name for tpot, which is given too"
        raise ValueError(message)
    return {"tpot" if key == "itl" else key: value for key, value in data.items()}


class ClassSpec(Requests):
    """One of several classes of requests."""

    name: Annotated[str, Field(min_length=1)]
    share: Annotated[float, Field(gt=0, le=1, strict=True)]
    isl: Tokens
    osl: Tokens


class WorkloadSpec(Requests):
    """Traffic: one class of requests at the top level, or several under `classes`."""

    name: str = ""
    description: str = ""
    source: str = ""
    rate: Rate | None = None
    arrival_scv: Annotated[float, Field(ge=0, le=1000, strict=True)] = 1.0
    """Squared coefficient of variation of the time between arrivals; Poisson is 1."""
    burst: BurstSpec | None = None
    profile: ProfileSpec | None = None
    """Over the day; `rate` is its mean, and plans are made for the busiest slot."""
    peak_factor: Annotated[float, Field(ge=1, le=1000, strict=True)] | None = None
    """Busiest rate over the mean, in place of a profile."""
    classes: tuple[ClassSpec, ...] = ()

    @field_validator("classes")
    @classmethod
    def _named_and_whole(cls, classes: tuple[ClassSpec, ...]) -> tuple[ClassSpec, ...]:
        listed = [item.name for item in classes]
        if len(set(listed)) < len(listed):
            message = f"a name is used twice: {', '.join(listed)}"
            raise ValueError(message)
        total = sum(item.share for item in classes)
        if classes and abs(total - 1) > SHARE_TOLERANCE:
            message = f"shares must sum to 1; got {total:.6g}"
            raise ValueError(message)
        return classes

    @model_validator(mode="after")
    def _one_peak(self) -> "WorkloadSpec":
        if self.profile is not None and self.peak_factor is not None:
            message = "peak_factor: follows from the profile, which is given too"
            raise ValueError(message)
        return self

    @property
    def peak(self) -> float:
        """Busiest rate over the mean [-]."""
        return self.profile.peak_factor if self.profile is not None else self.peak_factor or 1.0

    @property
    def bursts(self) -> Bursts | None:
        """How arrivals burst."""
        found = self.burst
        return None if found is None else Bursts(found.factor, found.share, found.length)

    @model_validator(mode="after")
    def _one_or_many(self) -> "WorkloadSpec":
        given = [key for key in Requests.model_fields if getattr(self, key) is not None]
        missing = [key for key in ("isl", "osl") if key not in given]
        if not self.classes and missing:
            message = f"needs {' and '.join(missing)}, or classes"
            raise ValueError(message)
        if self.classes and given:
            message = f"{', '.join(given)}: belong into each class where there are classes"
            raise ValueError(message)
        return self

    def kinds(self) -> tuple[ClassSpec, ...]:
        """Classes with shares that sum to one; a workload without classes is a single one."""
        if self.classes:
            total = sum(item.share for item in self.classes)
            return tuple(
                item.model_copy(update={"share": item.share / total}) for item in self.classes
            )
        fields = {key: getattr(self, key) for key in Requests.model_fields}
        return (ClassSpec.model_construct(name="all", share=1.0, **fields),)

    def replace(
        self,
        *,
        ttft: float | None = None,
        tpot: float | None = None,
        percentile: tuple[Percentile, ...] | None = None,
    ) -> "WorkloadSpec":
        """Put other objectives (seconds) in the place of those stated, in every class."""
        given = {"ttft": ttft, "tpot": tpot, "percentile": percentile}
        update = {key: value for key, value in given.items() if value is not None}
        if not self.classes:
            return self.model_copy(update=update)
        return self.model_copy(
            update={"classes": tuple(item.model_copy(update=update) for item in self.classes)}
        )


@cache
def load_workload(name: str, specs_dir: Path | None = None) -> WorkloadSpec:
    """Read a workload by id or path; raises SpecError."""
    return validate(load_yaml(find("workload", name, specs_dir)), WorkloadSpec)
