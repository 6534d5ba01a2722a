"""Output lengths of requests, and how much of the batch's swings a stay averages out.

Symbols: a request's own steps o [-], steps of all requests O with mean E[O], recovery
x = 1 - dln tau / dln n [-].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray

POINTS = 48
"""Output lengths that stand for a distribution; more change a percentile by less than 0.1 %."""


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Output lengths of requests, in decode steps: some of equal or unequal weight, rising."""

    steps: FloatArray
    weight: FloatArray
    """Shares of requests, summing to 1."""

    @classmethod
    def of(cls, steps: ArrayLike, weight: ArrayLike, points: int = POINTS) -> Outputs:
        """Merge lengths into a few of about equal weight, each with its mean; zeros are left out.

        >>> Outputs.of([3.0, 0.0, 1.0], [0.25, 0.5, 0.25]).steps.tolist()
        [1.0, 3.0]
        """
        length = np.ravel(np.asarray(steps, dtype=np.float64))
        given = np.ravel(np.asarray(weight, dtype=np.float64))
        kept = (length > 0) & (given > 0)
        if not kept.any():
            return cls(np.ones(1), np.ones(1))
        distinct, where = np.unique(length[kept], return_inverse=True)
        share = np.asarray(np.bincount(where.ravel(), given[kept] / given[kept].sum()), float)
        if len(distinct) > points:
            place = ((np.cumsum(share) - share / 2) * points).astype(np.int64)
            mass = np.asarray(np.bincount(place, share, points), float)
            moment = np.asarray(np.bincount(place, share * distinct, points), float)
            filled = mass > 0
            distinct, share = moment[filled] / mass[filled], mass[filled]
        return cls(distinct, share)

    @property
    def mean(self) -> float:
        """E[O] [-]."""
        return float(self.weight @ self.steps)

    @property
    def scv(self) -> float:
        """Squared coefficient of variation [-]."""
        return max(float(self.weight @ self.steps**2) / self.mean**2 - 1, 0.0)

    @property
    def overlap(self) -> float:
        """E[min(O1, O2)] / E[O] of two requests [-]: 1 for constant lengths, 1/2 exponential.

        >>> Outputs.of([100.0], [1.0]).overlap
        1.0
        """
        shorter = np.minimum(self.steps[:, None], self.steps)
        return float(self.weight @ shorter @ self.weight) / self.mean

    def averaging(self, steps: ArrayLike, recovery: ArrayLike) -> FloatArray:
        """Variance of a stay's average of tau over that of one step, [..., J] for J lengths.

        f(o) = 2 x / (o^2 E[O]) E_O[ int_0^min(o, O/x) (o - t)(O / x - t) dt ]

        The number in service has the autocovariance E[(O - t)+] / E[O] of M/G/infinity, slowed
        down by x; f is its average over all pairs of steps in a stay of o.

        steps = o [J]; recovery = x [...]. *Exact* in M/G/infinity (x = 1). *Limits*: o -> 0 or
        x -> 0 gives 1; constant lengths give 1 - x / 3. *Source*: variance of a time average,
        Papoulis, Probability, Random Variables and Stochastic Processes (1965), section 9-5.

        >>> Outputs.of([100.0], [1.0]).averaging(100.0, 1.0).round(6).tolist()
        [0.666667]
        """
        own = np.atleast_1d(np.asarray(steps, dtype=np.float64))[:, None]
        slow = np.asarray(recovery, dtype=np.float64)[..., None, None]
        others = self.steps / slow
        shared = np.minimum(own, others)
        overlap = own * others - (own + others) * shared / 2 + shared**2 / 3
        scale = 2 * slow[..., 0] / (own[:, 0] ** 2 * self.mean)
        return np.minimum((shared * overlap) @ self.weight * scale, 1.0)

    def memory(self, steps: ArrayLike, recovery: ArrayLike) -> FloatArray:
        """Correlation of the step a request joins at with its stay's average, [..., J].

        g / sqrt(f),  g = 1 / (o E[O]) E_O[ int_0^min(o, O/x) (O - x t) dt ],  f = `averaging`.

        steps, recovery as there. *Limits*: o -> 0 or x -> 0 gives 1; constant lengths
        (1 - x / 2) / sqrt(1 - x / 3).

        >>> Outputs.of([100.0], [1.0]).memory(100.0, 1.0).round(4).tolist()
        [0.6124]
        """
        own = np.atleast_1d(np.asarray(steps, dtype=np.float64))[:, None]
        slow = np.asarray(recovery, dtype=np.float64)[..., None, None]
        shared = np.minimum(own, self.steps / slow)
        kept = (self.steps - slow * shared / 2) * shared @ self.weight / (own[:, 0] * self.mean)
        spread: FloatArray = np.sqrt(self.averaging(steps, recovery))
        return np.minimum(kept / spread, 1.0)


def exponential_averaging(recovery: ArrayLike, length_scv: ArrayLike) -> FloatArray:
    """Share of the variance that is left, averaged over all requests, knowing only an SCV.

    Constant lengths: 1 - x / 3; exponential ones: 2 ((1 + x) ln(1 + x) - x) / x^2; in between
    linear in the SCV, which is held above 1.

    >>> exponential_averaging(1.0, [0.0, 1.0]).round(4).tolist()
    [0.6667, 0.7726]
    """
    x = np.maximum(np.asarray(recovery, dtype=np.float64), 1e-4)
    exponential = 2 * ((1 + x) * np.log1p(x) - x) / x**2
    fixed = 1 - x / 3
    scv = np.clip(np.asarray(length_scv, dtype=np.float64), 0.0, 1.0)
    return np.asarray(fixed + (exponential - fixed) * scv)
