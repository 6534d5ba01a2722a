"""The largest rate that a queue takes within a limit on the time in it."""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.deterministic import md1_wait_tail
from pdplan.queueing.erlang import FloatArray

Queue: TypeAlias = Literal["mm1", "md1"]
ROUNDS = 60
"""Halvings of the utilization: down to rounding."""


def largest_rate(
    service_s: ArrayLike,
    limit_s: ArrayLike,
    *,
    queue: Queue = "mm1",
    level: float | None = None,
) -> FloatArray:
    """Largest arrival rate at which the time in a queue stays within a limit [1/s].

    mm1, mean        1 / S - 1 / L
    mm1, level q     1 / S - ln(1 / (1 - q)) / L   (the time in M/M/1 is exponential)
    md1, mean        2 y / (S (1 + 2 y)),  y = L / S - 1
    md1, level q     by bisection of P(W > L - S) = 1 - q

    Parameters
    ----------
    service_s
        S [s].
    limit_s
        L, on waiting plus service [s]. Arrays broadcast.
    queue
        Exponential or constant service.
    level
        Share of requests within the limit; None asks for the mean.

    Notes
    -----
    *Exact*. *Limits*: 0 where the limit is below what an empty queue takes.
    *Source*: mean of M/M/1 in PD sizing by throughput, TP_P = TP_max - L_in / (TTFT - T_overhead);
    Pollaczek-Khinchine for M/D/1; `md1_wait_tail`.

    Examples
    --------
    A prefill instance of 28,300 tokens/s and 6,144 tokens a prompt within 1.9 s:

    >>> round(float(largest_rate(6144 / 28_300, 1.9)) * 6144)
    25066
    """
    service, limit = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (service_s, limit_s))
    )
    if queue == "mm1":
        factor = 1.0 if level is None else -np.log1p(-level)
        rate = 1 / service - factor / np.maximum(limit, 1e-300)
        return np.asarray(np.maximum(rate, 0.0))
    spare = limit / service - 1
    if level is None:
        rho = np.where(spare > 0, 2 * spare / (1 + 2 * np.maximum(spare, 0.0)), 0.0)
        return np.asarray(rho / service)
    low, high = np.zeros(service.shape), np.ones(service.shape)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        late = md1_wait_tail(limit - service, middle / service, service)
        fits = late <= 1 - level
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return np.asarray(np.where(spare >= 0, low, 0.0) / service)


def pipelined_ttft_s(arrival_rps: ArrayLike, service_s: ArrayLike, stages: ArrayLike) -> FloatArray:
    """Mean time of M/D/1 whose server is a pipeline: D + R D^2 / (2 p (p - R D)).

    It takes a request every D / p and each one for D: stable while R D < p. With tensor
    parallelism of speed-up K instead, take `mg1_wait` at D / K: stable while R D < K.
    *Source*: DistServe (Zhong et al., OSDI 2024), Eq. 1 and 2, for p stages.

    >>> round(float(pipelined_ttft_s(0.5, 1.0, 2)), 5), float(pipelined_ttft_s(2.0, 1.0, 2))
    (1.08333, inf)
    """
    rate, service, count = (
        np.asarray(x, dtype=np.float64) for x in (arrival_rps, service_s, stages)
    )
    spare = count - rate * service
    stable = spare > 0
    wait = rate * service**2 / (2 * count * np.where(stable, spare, 1.0))
    return np.asarray(service + np.where(stable, wait, np.inf))
