"""M/D/1: the wait in front of one server whose service never varies, exactly.

Symbols: arrival rate lambda [1/s], service D [s], rho = lambda D.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray

EXACT_SERVICES = 24
"""Waits shorter than this many service times are computed exactly, longer ones asymptotically."""


def md1_tail_decay_per_s(arrival_rps: ArrayLike, service_s: ArrayLike) -> FloatArray:
    """Decay rate eta of the M/D/1 waiting-time tail, P(W > t) ~ exp(-eta t).

    lambda (exp(eta D) - 1) = eta,  the positive root.

    Parameters
    ----------
    arrival_rps
        lambda [1/s].
    service_s
        D [s]. Arrays broadcast.

    Notes
    -----
    *Valid for* 0 < rho < 1; *limits*: rho = 0 gives inf, rho >= 1 gives 0.
    Newton from 2 ln(1/rho) / D, which lies right of the root of a convex function.
    *Source*: Asmussen, Applied Probability and Queues, 2nd ed. (2003), chapter XIII.

    Examples
    --------
    >>> round(float(md1_tail_decay_per_s(0.5, 1.0)), 6)
    1.256431
    """
    service = np.asarray(service_s, dtype=np.float64)
    utilization = np.asarray(arrival_rps, dtype=np.float64) * service
    regular = (utilization > 0) & (utilization < 1)
    rho = np.where(regular, utilization, 0.5)
    exponent = -2 * np.log(rho)
    for _ in range(2000):
        slope = rho * np.exp(exponent) - 1
        step = (rho * np.expm1(exponent) - exponent) / slope
        exponent = exponent - step
        if np.all(np.abs(step) <= 1e-14 * exponent):
            break
    limit = np.where(utilization < 1, np.inf, 0.0)
    decay: FloatArray = np.where(regular, exponent / np.where(regular, service, 1.0), limit)[()]
    return decay


def md1_wait_tail(t: ArrayLike, arrival_rps: ArrayLike, service_s: ArrayLike) -> FloatArray:
    """P(W > t) in M/D/1.

    With k D the first multiple of D above t and v = lambda (k D - t),
    P(W <= t) = exp(-v) sum_{j<k} P(N <= k - j) v^j / j!,  N = number in system,
    a sum of positive terms (Erlang's own series alternates and cancels). P(N = n) follows from
    balancing the flow across each cut of the departure chain, positive terms again:
    P(n+1) a_0 = P(0) A(n) + sum_{i=1..n} P(i) A(n - i + 1),  a_0 = exp(-rho),
    A(n) = P(more than n Poisson(rho) arrivals).
    Beyond 24 D the Cramer-Lundberg asymptote (1 - rho) / (rho exp(eta D) - 1) exp(-eta t).

    Parameters
    ----------
    t
        Time [s]; negative gives 1.
    arrival_rps
        lambda [1/s].
    service_s
        D [s]. Arrays broadcast.

    Notes
    -----
    *Valid for* rho < 1; absolute error < 1e-12 below 24 D. At the change-over the two forms
    agree within 1e-9 (tested, rho 0.1 to 0.99). *Limits*: rho >= 1 gives 1; rho = 0 gives 0.
    *Source*: Franx, Operations Research Letters 29 (2001) 221-223, with c = 1; Asmussen (2003).

    Examples
    --------
    >>> round(float(md1_wait_tail(0.0, 0.5, 1.0)), 12), round(float(md1_wait_tail(1, 0.5, 1)), 6)
    (0.5, 0.175639)
    """
    time, rate, service = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (t, arrival_rps, service_s))
    )
    utilization = rate * service
    regular = (utilization > 0) & (utilization < 1)
    rho = np.where(regular, utilization, 0.5)
    scaled = np.maximum(np.where(regular, time / np.where(regular, service, 1.0), 0.0), 0.0)
    exponent = md1_tail_decay_per_s(rho, 1.0)
    far = (1 - rho) / (rho * np.exp(exponent) - 1) * np.exp(-exponent * scaled)
    near = scaled < EXACT_SERVICES
    exact = 1 - _md1_wait_cdf(np.where(near, scaled, 0.0), rho)
    late = np.where(near, np.clip(exact, 0.0, 1.0), far)
    tail: FloatArray = np.where(
        time < 0, 1.0, np.where(regular, late, np.where(utilization < 1, 0.0, 1.0))
    )[()]
    return tail


def _md1_wait_cdf(services: FloatArray, rho: FloatArray) -> FloatArray:
    """P(W <= services x D), 0 <= services < EXACT_SERVICES, 0 < rho < 1."""
    at_most = np.cumsum(_md1_number_in_system(rho), axis=-1)
    blocks = np.floor(services).astype(np.int64) + 1
    mean = rho * (blocks - services)
    weight = np.exp(-mean)
    total = np.zeros(np.shape(mean))
    for j in range(int(np.max(blocks, initial=0))):
        index = np.maximum(blocks - j, 0)
        share = np.take_along_axis(at_most, index[..., None], axis=-1)[..., 0]
        total = total + np.where(j < blocks, weight * share, 0.0)
        weight = weight * mean / (j + 1)
    return total


def _md1_number_in_system(rho: FloatArray) -> FloatArray:
    """P(N = n) for n = 0..EXACT_SERVICES, on a new last axis."""
    arrivals = np.arange(EXACT_SERVICES + 40)
    steps = np.where(arrivals > 0, rho[..., None] / np.maximum(arrivals, 1), 1.0)
    poisson = np.exp(-rho)[..., None] * np.cumprod(steps, axis=-1)
    above = np.cumsum(poisson[..., ::-1], axis=-1)[..., ::-1][..., 1:]
    states = np.zeros((*np.shape(rho), EXACT_SERVICES + 1))
    states[..., 0] = 1 - rho
    for n in range(EXACT_SERVICES):
        rising = states[..., 0] * above[..., n]
        rising = rising + np.sum(states[..., 1 : n + 1] * above[..., n:0:-1], axis=-1)
        states[..., n + 1] = rising / poisson[..., 0]
    return states
