"""How arrivals vary over time: bursts, and a daily profile."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from pdplan.specs.base import Seconds, Spec

SHARE_ROUNDING = 1e-9


class BurstSpec(Spec):
    """Poisson arrivals at one of two rates, each for an exponential time."""

    factor: Annotated[float, Field(gt=1, le=1000, strict=True)]
    """Rate in bursts over the mean rate."""
    share: Annotated[float, Field(gt=0, lt=1, strict=True)]
    """Share of the time that is in bursts."""
    length: Annotated[Seconds, Field(gt=0)]
    """Mean length of a burst."""

    @model_validator(mode="after")
    def _leaves_something(self) -> "BurstSpec":
        brought = self.factor * self.share
        if brought > 1 + SHARE_ROUNDING:
            message = (
                f"factor: bursts would bring {brought:.4g} times the mean; factor x share is at "
                f"most 1; got {self.factor:g} x {self.share:g}"
            )
            raise ValueError(message)
        return self


class ProfileSpec(Spec):
    """Relative rates in equal slots of a period that repeats."""

    relative: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1e9, strict=True)], ...], Field(min_length=1)
    ]
    period: Annotated[Seconds, Field(gt=0)] = 86400.0

    @model_validator(mode="after")
    def _some_arrive(self) -> "ProfileSpec":
        if not sum(self.relative) > 0:
            message = "relative: at least one must be above 0"
            raise ValueError(message)
        return self

    @property
    def peak_factor(self) -> float:
        """Rate of the busiest slot over the mean of all."""
        return max(self.relative) * len(self.relative) / sum(self.relative)


@dataclass(frozen=True, slots=True)
class Bursts:
    """Arrivals whose rate is `factor` times the mean in a share of the time.

    Bursts last `length_s` on average, exponentially; so do the calm times between them,
    length_s (1 - share) / share on average.
    """

    factor: float
    share: float
    length_s: float

    @property
    def calm_factor(self) -> float:
        """Rate between bursts over the mean: (1 - factor share) / (1 - share); 0 is silence.

        >>> Bursts(factor=4.0, share=0.1, length_s=30.0).calm_factor
        0.6666666666666666
        """
        return max(1 - self.factor * self.share, 0.0) / (1 - self.share)

    @property
    def correlation_s(self) -> float:
        """Correlation time of the rate [s]: tau = (1 - share) length_s.

        The rate leaves a burst at 1 / L and comes back at p / (L (1 - p)); its autocovariance
        falls by their sum, 1 / (L (1 - p)).
        """
        return (1 - self.share) * self.length_s

    def excess_dispersion(self, rate_rps: float) -> float:
        """What bursts add to the index of dispersion for counts, in the limit of long times [-].

        2 tau Var r / lambda,  Var r = p (1 - p) (r_burst - r_calm)^2

        rate_rps = lambda, the mean rate. Exact for any arrivals that are sped up and slowed down
        by the rate (their own squared variation comes on top).
        *Source*: Heffes and Lucantoni, IEEE J. Sel. Areas Commun. 4 (1986) 856-868, for two rates.

        >>> round(Bursts(factor=4.0, share=0.1, length_s=30.0).excess_dispersion(10.0), 9)
        540.0
        """
        step = (self.factor - self.calm_factor) * rate_rps
        variance = self.share * (1 - self.share) * step**2
        return 2 * self.correlation_s * variance / rate_rps
