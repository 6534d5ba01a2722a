"""Two-rate Poisson arrivals with the dispersion that a trace shows.

Symbols: index of dispersion for counts I(w) over intervals of length w, its limit I, the
correlation time tau of the rate [s], lambda the mean rate; theta = w / tau.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdplan.specs.arrivals import Bursts
from pdplan.specs.points import Array
from pdplan.specs.trace_fit.counts import Window

LEAST_NUMBER = 20
"""Intervals of a length that its index must come from; its error is then about 30 %."""
LEAST_MEAN = 0.2
"""Arrivals in an interval; below that every process looks like Poisson."""
MOST_WEIGHT = 200
"""Intervals beyond which an index counts no more: the model is not that exact."""
BURSTY = 1.5
"""Limit of the index over its value at short times from which on arrivals come in bursts."""
LEAST_ARRIVALS = 5.0
"""Arrivals in a correlation time; with fewer it is clumps, which variation alone describes.

Also in an interval whose index is that of long times where nothing bursts."""
TAUS = 120
MOST_FACTOR = 1000.0
"""That a workload can state."""


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Index of dispersion over time, I(w) = scv + (limit - scv) (1 - (1 - exp(-theta)) / theta)."""

    scv: float
    """Index at short times."""
    limit: float
    correlation_s: float
    """Correlation time of the rate; 0 where the index does not grow."""

    def at(self, window_s: float) -> float:
        """Index over intervals of a length [s]."""
        if self.correlation_s <= 0:
            return self.limit
        return self.scv + (self.limit - self.scv) * float(
            _grown(np.array([window_s / self.correlation_s]))[0]
        )


def _grown(theta: Array) -> Array:
    return np.asarray(1 + np.expm1(-theta) / theta)


def fit_dispersion(windows: Sequence[Window]) -> Dispersion | None:
    """Dispersion that is nearest to what intervals of several lengths show; None for too few.

    Least squares of the relative errors, weighted by the number of intervals (200 at most), over
    scv >= 0, limit >= scv and a grid of correlation times from a third of the shortest interval to
    three times the longest. Intervals must be 20 at least, with 0.2 arrivals in the mean.
    """
    used = [w for w in windows if w.number >= LEAST_NUMBER and w.mean >= LEAST_MEAN]
    used = [w for w in used if w.dispersion > 0]
    if len(used) < 3:
        return None
    lengths = np.array([w.length_s for w in used])
    weight = np.minimum([float(w.number) for w in used], MOST_WEIGHT)
    index = np.array([w.dispersion for w in used])
    taus = np.geomspace(lengths[0] / 3, 3 * lengths[-1], TAUS)[:, None]
    ones, grown = 1 / index + 0 * taus, _grown(lengths / taus) / index
    a11, a12, a22 = (
        (weight * x * y).sum(axis=1) for x, y in ((ones, ones), (ones, grown), (grown, grown))
    )
    b1, b2 = (weight * ones).sum(axis=1), (weight * grown).sum(axis=1)
    determinant = a11 * a22 - a12**2
    scv = np.where(determinant > 1e-12 * a11 * a22, (b1 * a22 - b2 * a12) / determinant, b1 / a11)
    scv = np.clip(scv, 0.0, b1 / a11)
    rise = np.maximum(0.0, (b2 - a12 * scv) / a22)
    errors = (weight * (scv[:, None] * ones + rise[:, None] * grown - 1) ** 2).sum(axis=1)
    best = int(np.argmin(errors))
    if rise[best] <= 0:
        flat = float(b1[best] / a11[best])
        return Dispersion(flat, flat, 0.0)
    return Dispersion(float(scv[best]), float(scv[best] + rise[best]), float(taus[best, 0]))


def steady_dispersion(windows: Sequence[Window]) -> float | None:
    """Mean index over intervals of five arrivals and more, by their number; None where too few.

    Of gaps that are independent, the index over many arrivals is the squared variation of a gap.
    """
    used = [w for w in windows if w.number >= LEAST_NUMBER and w.mean >= LEAST_ARRIVALS]
    number = sum(w.number for w in used)
    return sum(w.number * w.dispersion for w in used) / number if used else None


def bursts_of(dispersion: Dispersion, windows: Sequence[Window], rate_rps: float) -> Bursts | None:
    """Two-rate bursts with that dispersion; None where arrivals do not come in bursts.

    Var r / lambda^2 = v = (I - scv) / (2 tau lambda);  share p from the skewness s of the rate,
    p = (1 - s / sqrt(4 + s^2)) / 2, and at most 1 / (1 + v), where calm times are silent;
    factor = 1 + sqrt(v (1 - p) / p);  length = tau / (1 - p).
    s = mu_3 / Var^(3/2), where the third factorial cumulant of counts in w is
    6 mu_3 tau^3 (theta - 2 + (theta + 2) exp(-theta)), the mean over intervals of tau / 5 to 2 tau.
    Exact for two-rate Poisson arrivals (moments of a rate with two states).
    """
    limit, tau = dispersion.limit, dispersion.correlation_s
    if tau * rate_rps < LEAST_ARRIVALS or limit < BURSTY * max(dispersion.scv, 0.5):
        return None
    variance = (limit - dispersion.scv) * rate_rps / (2 * tau)
    v = variance / rate_rps**2
    near = [w for w in windows if tau / 5 <= w.length_s <= 2 * tau and w.number >= LEAST_NUMBER]
    skews = [_third_moment(w, tau) / variance**1.5 for w in near]
    skew = max(0.0, sum(skews) / len(skews)) if skews else 0.0
    share = min((1 - skew / math.sqrt(4 + skew**2)) / 2 if skews else 1.0, 1 / (1 + v))
    share = max(share, v / (v + (MOST_FACTOR - 1) ** 2))
    return Bursts(1 + math.sqrt(v * (1 - share) / share), share, tau / (1 - share))


def _third_moment(window: Window, tau_s: float) -> float:
    """Third central moment of the rate that counts in intervals of a length tell of."""
    theta = window.length_s / tau_s
    return window.third / (6 * tau_s**3 * (theta - 2 + (theta + 2) * math.exp(-theta)))
