"""How requests reach one of several decode instances, and how much their number swings there.

Symbols: squared coefficient of variation of gaps Ca^2 [-], limit I of the index of dispersion for
counts [-], mean number in service M [-], recovery x = 1 - dln tau / dln n [-] (a batch that grew
by 1 % is too large for its arrivals by x %), time in service s [s].
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray
from pdplan.queueing.waiting import routed_arrivals

UNEVEN = 0.25
"""Variance of the number at an instance that is kept level: it is one of two neighbours."""


def _number(value: float) -> FloatArray:
    return np.asarray(value, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Arrivals at one decode instance, arrays of one shape; by default Poisson.

    Attributes
    ----------
    scv
        Ca^2 of the stream that a queue in front of it sees [-].
    dispersion
        I of the same [-].
    correlation_s
        Time over which the rate stays what it is [s].
    settling_s
        Time over which neighbouring gaps make their part of the dispersion [s].
    level
        Instances that are kept equally full by sending each request to the least loaded [-].
    """

    scv: FloatArray = field(default_factory=lambda: _number(1.0))
    dispersion: FloatArray = field(default_factory=lambda: _number(1.0))
    correlation_s: FloatArray = field(default_factory=lambda: _number(0.0))
    settling_s: FloatArray = field(default_factory=lambda: _number(0.0))
    level: FloatArray = field(default_factory=lambda: _number(1.0))

    def excess(self, relaxation_s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Dispersion above Poisson's that builds up in a time: of gaps, and of the rate [-]."""
        memory = np.maximum(np.asarray(relaxation_s, float), 1e-300)
        gaps = (self.scv - 1) / (1 + self.settling_s / memory)
        rate = (self.dispersion - self.scv) / (1 + self.correlation_s / memory)
        return np.asarray(gaps), np.asarray(rate)

    def swing(
        self, batch: ArrayLike, recovery: ArrayLike, relaxation_s: ArrayLike, overlap: ArrayLike
    ) -> FloatArray:
        """Variance of the number in service over that with Poisson arrivals at a lone instance.

        z / n + (1 - 1 / n) min(x / (4 M), 1),  z = 1 + g sum of `excess`,  at least that floor.

        batch = M, recovery = x, relaxation_s = s / x [s], overlap = g (see `Outputs.overlap`);
        n = level. All n instances together hold z times the Poisson variance, shared evenly; one
        of them then holds one of two neighbouring whole numbers, of variance 1/4 at most.
        *Exact* for Poisson arrivals and n = 1, and for M/G/infinity (x = 1) with GI arrivals of
        exponential autocovariance. *Source*: generalised peakedness, Eckberg, Proc. 10th ITC
        (1983); the level is join-the-shortest-queue with many servers.

        >>> float(Stream().swing(20.0, 1.0, 5.0, 0.5))
        1.0
        >>> round(float(Stream(level=np.float64(16.0)).swing(20.0, 1.0, 5.0, 0.5)), 4)
        0.0742
        """
        gaps, rate = self.excess(relaxation_s)
        whole = np.minimum(UNEVEN * np.asarray(recovery) / np.maximum(batch, 1e-300), 1.0)
        together = 1 + np.asarray(overlap) * (gaps + rate)
        return np.asarray(np.maximum(together / self.level + (1 - 1 / self.level) * whole, whole))


POISSON = Stream()


def instance_stream(
    routing: str,
    arrival_rps: ArrayLike,
    instances: ArrayLike,
    scv: ArrayLike = 1.0,
    dispersion: ArrayLike | None = None,
    correlation_s: ArrayLike = 0.0,
) -> Stream:
    """Arrivals at one instance of a pool under a routing rule (see `routed_wait` for the rules).

    arrival_rps into the whole pool [1/s]; scv, dispersion (by default the same) and correlation_s
    of the pool's arrivals. Arrays broadcast; raises ValueError for an unknown rule.

    Gaps of SCV c build up their part of the dispersion over (1 + c) / (2 rate) for c > 1: exact
    for balanced hyper-exponential gaps; over (1 + c) / (6 rate) for c < 1: exact for constant
    gaps in the limit of long times in service.

    >>> stream = instance_stream("round_robin", 8.0, 4)
    >>> float(stream.scv), float(stream.level)
    (0.25, 1.0)
    """
    rate, count = np.asarray(arrival_rps, float), np.asarray(instances, float)
    own_rate, _, own = routed_arrivals(routing, rate, count, scv)
    limit = np.asarray(scv if dispersion is None else dispersion, float)
    _, _, own_limit = routed_arrivals(routing, rate, count, limit)
    pool = np.asarray(scv, float)
    gap = own_rate if routing == "round_robin" else rate
    base = own if routing == "round_robin" else pool
    settling = (1 + base) / np.where(base > 1, 2.0, 6.0) / np.maximum(gap, 1e-300)
    return Stream(
        scv=np.asarray(own),
        dispersion=np.asarray(own_limit),
        correlation_s=np.asarray(correlation_s, float),
        settling_s=np.asarray(settling),
        level=count if routing in ("central", "least_loaded") else np.ones_like(count),
    )
