"""Waiting time before service, for the common queues and the common routings.

Every wait is an atom at zero plus an exponential tail, so waits can be added in closed form
(`sojourn.py`). Symbols: arrival rate lambda [1/s], mean service S [s], squared coefficients of
variation Ca^2 (gaps between arrivals) and Cs^2 (service) [-], servers c, rho = lambda S / c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray, erlang_c

Routing: TypeAlias = Literal["central", "least_loaded", "round_robin", "random"]


@dataclass(frozen=True, slots=True)
class Wait:
    """A waiting time: zero, or with some probability exponential.

    P(W > t) = probability exp(-t / tail_mean_s).

    Attributes
    ----------
    probability
        Probability of waiting at all [-].
    tail_mean_s
        Mean wait of those who wait [s]; inf for a queue without a steady state.
    follows
        Whether only those meet this wait who met the one before it in a list of waits; of all
        others it is independent. The probability is over all arrivals either way.

    Examples
    --------
    >>> wait = Wait(np.float64(0.5), np.float64(2.0))
    >>> float(wait.mean_s), round(float(wait.quantile_s(0.9)), 4), float(wait.quantile_s(0.4))
    (1.0, 3.2189, 0.0)
    """

    probability: FloatArray
    tail_mean_s: FloatArray
    follows: bool = False

    @property
    def mean_s(self) -> FloatArray:
        """Mean wait over all arrivals [s]."""
        waits = self.probability > 0
        mean: FloatArray = np.where(
            waits, self.probability * np.where(waits, self.tail_mean_s, 0.0), 0.0
        )[()]
        return mean

    def cdf(self, t: ArrayLike) -> FloatArray:
        """P(W <= t), t in [s]; broadcasts with the fields."""
        elapsed = np.asarray(t, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            decay = np.exp(-np.maximum(elapsed, 0.0) / self.tail_mean_s)
        decay = np.where(self.tail_mean_s > 0, decay, 0.0)
        share: FloatArray = np.where(elapsed >= 0, 1 - self.probability * decay, 0.0)[()]
        return share

    def quantile_s(self, level: ArrayLike) -> FloatArray:
        """Smallest t with P(W <= t) >= level [s]; 0 up to level = 1 - probability."""
        late = 1 - np.asarray(level, dtype=np.float64)
        waits = self.probability > late
        with np.errstate(divide="ignore"):
            logarithm = np.log(np.where(waits, self.probability, 1.0) / np.where(waits, late, 1.0))
        tail = np.where(waits, self.tail_mean_s, 0.0)
        nonzero = tail > 0
        quantile: FloatArray = np.where(nonzero, tail * np.where(nonzero, logarithm, 1.0), 0.0)[()]
        return quantile


def mg1_wait(arrival_rps: ArrayLike, service_mean_s: ArrayLike, service_scv: ArrayLike) -> Wait:
    """Wait in front of one server, Poisson arrivals, any service law.

    P(W > 0) = rho,  E[W] = rho S (1 + Cs^2) / (2 (1 - rho))   (Pollaczek-Khinchine).

    Parameters
    ----------
    arrival_rps
        lambda [1/s].
    service_mean_s
        S [s].
    service_scv
        Cs^2 [-]. Arrays broadcast.

    Notes
    -----
    *Valid for* rho < 1; the mean and P(W > 0) are exact, the exponential tail shape is exact for
    M/M/1 and an approximation otherwise. *Limits*: rho >= 1 gives probability 1, tail mean inf.
    *Source*: Gross et al. (2008), chapter 5, M/G/1.

    Examples
    --------
    DistServe (OSDI 2024), Eq. 1: prefill of time D = 1 s at R D = 0.5 takes 1.5 D in all.

    >>> 1.0 + float(mg1_wait(0.5, 1.0, 0.0).mean_s)
    1.5
    """
    return gigc_wait_allen_cunneen(arrival_rps, service_mean_s, service_scv, 1)


def gigc_wait_allen_cunneen(
    arrival_rps: ArrayLike,
    service_mean_s: ArrayLike,
    service_scv: ArrayLike,
    servers: ArrayLike,
    arrival_scv: ArrayLike = 1.0,
) -> Wait:
    """Wait in one first-come-first-served queue in front of c equal servers.

    P(W > 0) = C(c, lambda S),  E[W] = (Ca^2 + Cs^2) / 2 * C * S / (c (1 - rho))  * k,
    k = (1 + g) / (1 + g Cs^2),  g = min(0.24, (1 - rho)(c - 1)(sqrt(4 + 5 c) - 2) / (16 c rho)).

    The first factor is Allen and Cunneen's; k is Kimura's interpolation between M/D/c
    (Cosmetatos' correction g, with Whitt's cap) and M/M/c, which matters at low load.

    Parameters
    ----------
    arrival_rps
        lambda into the whole queue [1/s].
    service_mean_s
        S [s].
    service_scv
        Cs^2 [-].
    servers
        c [-], whole numbers >= 1.
    arrival_scv
        Ca^2 [-], 1 for Poisson arrivals. Arrays broadcast.

    Notes
    -----
    *Exact* for M/M/c, and in the mean for M/G/1. *Limits*: rho >= 1 gives probability 1 and tail
    mean inf.
    *Measured error* of the mean for Poisson arrivals, servers 2 to 64, against simulation where
    P(W > 0) > 1 %: within 6 % for Cs^2 <= 1, 12 % for Cs^2 <= 4 (without k: 27 % and 76 %).
    P(W > 0) is within 0.03 of simulation. For Ca^2 < 1 the wait is overstated, most at low load.
    *Source*: Allen, Probability, Statistics and Queueing Theory, 2nd ed. (1990), section 5.3;
    Kimura, Queueing Systems 2 (1987) 1-31; Whitt, Production and Operations Management 2 (1993)
    114-161 (the cap 0.24).

    Examples
    --------
    >>> round(float(gigc_wait_allen_cunneen(1.0, 1.0, 1.0, 2).mean_s), 6)  # M/M/2: 1/3
    0.333333
    """
    rate = np.asarray(arrival_rps, dtype=np.float64)
    mean = np.asarray(service_mean_s, dtype=np.float64)
    count = np.asarray(servers, dtype=np.float64)
    scv = np.asarray(service_scv, dtype=np.float64)
    load = rate * mean
    utilization = load / count
    stable = utilization < 1
    spare = np.where(stable, 1 - utilization, 1.0)
    variability = (np.asarray(arrival_scv) + scv) / 2 * kimura_factor(count, load, scv)
    tail_mean = np.where(stable, variability * mean / (count * spare), np.inf)
    waiting = np.broadcast_to(erlang_c(count, load), tail_mean.shape)
    return Wait(waiting[()], tail_mean[()])


def kimura_factor(
    servers: ArrayLike, offered_load: ArrayLike, service_scv: ArrayLike
) -> FloatArray:
    """Correct Allen and Cunneen's mean wait at low load: k in `gigc_wait_allen_cunneen`.

    1 for one server, for exponential service and in heavy traffic.

    >>> float(kimura_factor(1, 0.5, 0.0)), float(kimura_factor(8, 4.0, 1.0))
    (1.0, 1.0)
    """
    count, load = np.asarray(servers, dtype=np.float64), np.asarray(offered_load, np.float64)
    scv = np.asarray(service_scv, dtype=np.float64)
    spare = np.maximum(1 - load / count, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        light = spare * (count - 1) * (np.sqrt(4 + 5 * count) - 2) / (16 * load)
    light = np.where(count > 1, np.minimum(0.24, light), 0.0)
    return np.asarray((1 + light) / (1 + light * scv))


def routed_wait(
    routing: str,
    arrival_rps: ArrayLike,
    service_mean_s: ArrayLike,
    service_scv: ArrayLike,
    servers: ArrayLike,
    arrival_scv: ArrayLike = 1.0,
) -> Wait:
    """Wait in a pool of n equal one-request-at-a-time instances under a routing rule.

    central       one shared queue: GI/G/n
    least_loaded  treated as central
    round_robin   n queues GI/G/1 at lambda / n, arrival SCV Ca^2 / n
    random        n queues GI/G/1 at lambda / n, arrival SCV 1 + (Ca^2 - 1) / n

    Parameters
    ----------
    routing
        One of the four names above.
    arrival_rps
        lambda into the pool [1/s].
    service_mean_s
        S [s].
    service_scv
        Cs^2 [-].
    servers
        n [-], instances in the pool.
    arrival_scv
        Ca^2 of the pool's arrivals [-]. Arrays broadcast.

    Notes
    -----
    *Valid for* renewal arrivals; both splits are exact for those, the queues behind them carry
    the error of `gigc_wait_allen_cunneen`. Sending each request to the instance with the least
    work left is the same as a central queue. Joining the shortest queue *by count* waits longer:
    P(W > 0) is up to 0.16 lower, but the mean is up to 0.25 S above `least_loaded` (measured,
    n = 2 to 16, rho = 0.5 to 0.9, Cs^2 <= 1), mostly at large n: it cannot see remaining work.
    *Source*: Whitt, Bell System Technical Journal 62 (1983) 2779-2815 (splitting).

    Examples
    --------
    >>> waits = [routed_wait(r, 3.2, 1.0, 0.0, 4).mean_s for r in ("central", "random")]
    >>> [round(float(w), 3) for w in waits]
    [0.385, 2.0]
    """
    rate, count, scv = routed_arrivals(routing, arrival_rps, servers, arrival_scv)
    return gigc_wait_allen_cunneen(rate, service_mean_s, service_scv, count, arrival_scv=scv)


def routed_arrivals(
    routing: str, arrival_rps: ArrayLike, servers: ArrayLike, arrival_scv: ArrayLike = 1.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rate, servers and arrival SCV of one queue of a pool under a routing rule.

    See `routed_wait` for the rules; raises ValueError for an unknown one.

    >>> rate, count, scv = routed_arrivals("round_robin", 8.0, 4, 1.0)
    >>> float(rate), float(count), float(scv)
    (2.0, 1.0, 0.25)
    """
    rate, count, scv = (
        np.asarray(x, dtype=np.float64) for x in (arrival_rps, servers, arrival_scv)
    )
    if routing in ("central", "least_loaded"):
        return rate, count, scv
    if routing == "round_robin":
        return rate / count, np.ones_like(count), scv / count
    if routing == "random":
        return rate / count, np.ones_like(count), 1 + (scv - 1) / count
    msg = f"routing must be one of {', '.join(get_args(Routing))}; got {routing!r}"
    raise ValueError(msg)
