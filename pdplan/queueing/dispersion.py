"""Arrivals that come in bursts: how variable their counts are, and the crowds they make.

Symbols: index of dispersion for counts I(t) = Var N(t) / E N(t) [-], its limit I, the correlation
time tau of the rate [s]; Poisson arrivals have I(t) = 1. A rate that switches at random between a
high value in a share p of the time and a low one has Var r = p (1 - p) (r_high - r_low)^2 and
I = 1 + 2 tau Var r / lambda.
"""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray


def index_of_dispersion(
    elapsed_s: ArrayLike, scv: ArrayLike, limit: ArrayLike, correlation_s: ArrayLike = 0.0
) -> FloatArray:
    """Index of dispersion for counts over intervals of a length.

    I(t) = Ca^2 + (I - Ca^2) (1 - (1 - exp(-t / tau)) / (t / tau))

    elapsed_s = t [s]; scv = Ca^2, what neighbouring gaps show [-]; limit = I [-];
    correlation_s = tau [s], 0 for dispersion that is there at once. Arrays broadcast.
    Exact for a Poisson process whose rate has an exponential autocovariance (Ca^2 = 1), as that of
    two-state bursts. *Source*: Heffes and Lucantoni, IEEE J. Sel. Areas Commun. 4 (1986) 856-868.

    >>> float(index_of_dispersion(10.0, 1.0, 5.0)), float(index_of_dispersion(0.0, 1.0, 5.0, 2.0))
    (5.0, 1.0)
    """
    elapsed, tau = np.asarray(elapsed_s, float), np.asarray(correlation_s, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ages = np.where(tau > 0, elapsed / np.where(tau > 0, tau, 1.0), np.inf)
        grown = np.where(ages > 0, 1 + np.expm1(-ages) / np.where(ages > 0, ages, 1.0), 0.0)
    scv = np.asarray(scv, float)
    return np.asarray(scv + (np.asarray(limit, float) - scv) * grown)


def peakedness(
    holding_s: ArrayLike, limit: ArrayLike, correlation_s: ArrayLike = 0.0
) -> FloatArray:
    """Variance over mean of the number in service where nobody ever waits.

    z = 1 + (I - 1) / (2 (1 + tau / s))

    holding_s = s, mean time in service [s]; limit = I [-]; correlation_s = tau [s].
    Exact for exponential times in service and a rate of exponential autocovariance.
    *Source*: Eckberg, Proc. 10th International Teletraffic Congress (1983), generalised peakedness.

    >>> float(peakedness(1.0, 3.0)), float(peakedness(1.0, 3.0, 1.0))
    (2.0, 1.5)
    """
    ratio = np.asarray(correlation_s, float) / np.maximum(np.asarray(holding_s, float), 1e-12)
    return np.asarray(1 + (np.asarray(limit, float) - 1) / (2 * (1 + ratio)))
