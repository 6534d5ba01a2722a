"""Distributions as a few weighted points that keep the mean exactly and the tail closely."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.specs.lengths import Length, Lognormal, Uniform

Array = NDArray[np.float64]

FINE = 1024
EXACT_UNIFORM = 64
FINE_BINS = 24
AROUND = np.array([0.48, 0.52, 0.885, 0.915, 0.94, 0.96, 0.987, 0.993])
"""Edges of narrow bins around the 50th, 90th, 95th and 99th percentile."""
SECOND_MOMENT_ERROR = 0.015


@dataclass(frozen=True, slots=True)
class Points:
    """Values in rising order and their weights, which sum to one."""

    values: Array
    weights: Array

    @property
    def mean(self) -> float:
        """First moment."""
        return float(self.weights @ self.values)

    @property
    def second_moment(self) -> float:
        """Mean of the square."""
        return float(self.weights @ self.values**2)


def sample_points(values: Array) -> Points:
    """Points of a recorded sample."""
    distinct, counts = np.unique(values, return_counts=True)
    return Points(distinct, counts / counts.sum())


def fine_points(length: Length, *, floor: float = 0.0, whole: bool = False) -> Points:
    """Points of a distribution in closed form, many; `whole` splits them over the integers.

    A tail below `floor` is moved up to it and the rest drawn in, so that the mean stays.
    """
    if length.uniform is not None:
        points = _uniform(length.uniform, whole=whole)
    elif length.lognormal is not None:
        points = _lognormal(length.lognormal)
    elif length.histogram is not None:
        weights = np.array(length.histogram.weights) / sum(length.histogram.weights)
        points = _merged(np.array(length.histogram.values), weights)
    else:
        points = Points(np.array([float(length.fixed or 0)]), np.ones(1))
    if points.values[0] < floor:
        lifted = np.maximum(points.values, floor)
        excess = float(points.weights @ lifted) - floor
        scale = max(0.0, points.mean - floor) / excess if excess > 0 else 0.0
        points = _merged(floor + (lifted - floor) * scale, points.weights)
    return _on_integers(points) if whole else points


def _uniform(uniform: Uniform, *, whole: bool) -> Points:
    steps = uniform.max - uniform.min
    if steps == 0:
        return Points(np.array([float(uniform.min)]), np.ones(1))
    if whole and steps < EXACT_UNIFORM and uniform.min.is_integer() and steps.is_integer():
        count = int(steps) + 1
        return Points(np.linspace(uniform.min, uniform.max, count), np.full(count, 1 / count))
    edges = np.linspace(uniform.min, uniform.max, FINE + 1)
    return Points((edges[1:] + edges[:-1]) / 2, np.full(FINE, 1 / FINE))


def _lognormal(law: Lognormal) -> Points:
    """Cells of equal width in the logarithm; each is its conditional mean, in closed form.

    E[X; a < X <= b] = mean (Phi(z_b - sigma) - Phi(z_a - sigma)), sigma^2 = ln(1 + cv^2).
    """
    sigma = math.sqrt(math.log1p(law.cv**2))
    if sigma < 1e-6:
        return Points(np.array([law.mean]), np.ones(1))
    edges = np.linspace(-8.0, 8.0 + 2 * sigma, FINE - 1)
    weights, masses = _normal_cells(edges), law.mean * _normal_cells(edges - sigma)
    used = weights > 0
    return _merged(masses[used] / weights[used], weights[used])


def _normal_cells(edges: Array) -> Array:
    """Probability of a standard normal between edges and beyond the two ends, tails unrounded."""
    below = np.array([0.0, *(math.erfc(-x / math.sqrt(2)) / 2 for x in edges.tolist()), 1.0])
    above = np.array([1.0, *(math.erfc(x / math.sqrt(2)) / 2 for x in edges.tolist()), 0.0])
    return np.where(above[:-1] > below[1:], np.diff(below), -np.diff(above))


def _merged(values: Array, weights: Array) -> Points:
    """Sort, drop what has no weight, and join equal values."""
    used = weights > 0
    distinct, place = np.unique(values[used], return_inverse=True)
    joined = np.bincount(place.ravel(), weights=weights[used], minlength=distinct.size)
    return Points(distinct, joined / joined.sum())


def _on_integers(points: Points) -> Points:
    """Split every value over the two integers around it; the mean stays."""
    low = np.floor(points.values)
    above = points.values - low
    return _merged(
        np.concatenate((low, low + 1)),
        np.concatenate((points.weights * (1 - above), points.weights * above)),
    )


def strata(points: Points, count: int) -> NDArray[np.intp]:
    """Bin of each point, at most `count`; bins are fine where much of the second moment lies.

    Bins are equal steps of the mean of three cumulative shares: of the probability, of the first
    and of the second moment. The top tenth of requests thus gets about half of the bins. Where
    there are bins enough, a few more straddle the percentiles that are reported, so that a
    percentile falls inside a bin and not on the edge between two.
    """
    if points.values.size <= count:
        return np.arange(points.values.size, dtype=np.intp)
    share = np.zeros(points.values.size)
    for power in range(3):
        moment = points.weights * points.values**power
        total = float(moment.sum())
        share += moment / total if total > 0 else points.weights
    middle = (np.cumsum(share) - share / 2) / 3
    narrow = count >= FINE_BINS
    even = count - len(AROUND) * narrow
    bins = np.minimum((middle * even).astype(np.intp), even - 1)
    if narrow:
        below = np.cumsum(points.weights) - points.weights / 2
        bins = bins * (len(AROUND) + 1) + np.searchsorted(AROUND, below)
    return np.unique(bins, return_inverse=True)[1]


def coarse(points: Points, count: int) -> Points:
    """Join points into at most `count` conditional means."""
    bins = strata(points, count)
    weights = _sums(bins, points.weights)
    means = _sums(bins, points.weights * points.values) / weights
    return Points(np.maximum(means, points.values[0]), weights)  # rounding may end below the least


def _sums(bins: NDArray[np.intp], amounts: Array) -> Array:
    return np.asarray(np.bincount(bins, weights=amounts), dtype=np.float64)


def close_enough(points: Points, most: int, *, start: int) -> int:
    """Fewest of start, 2 start, 4 start, ... points that keep the second moment to 1.5 %."""
    count = start
    wanted = points.second_moment * (1 - SECOND_MOMENT_ERROR)
    while count < most and coarse(points, count).second_moment < wanted:
        count *= 2
    return min(count, most, points.values.size)
