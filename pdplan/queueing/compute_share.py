"""Stages that run on a share of a device's compute units, or beside each other on all of them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
ROUNDS = 200
CLOSE = 1e-13


def slowdown(share: ArrayLike, sensitivity: ArrayLike) -> FloatArray:
    """Time of a stage on a share of the compute units, over its time on all of them.

    T(x) / T(1) = 1 - s + s / x

    Parameters
    ----------
    share
        x [-], 0 < x <= 1 (0 gives infinity unless s = 0).
    sensitivity
        s [-]: 1 where compute bounds the stage, 0 where it needs no more than x.

    Notes
    -----
    *Valid for* x >= 0.1. *Error*: the source's fit of decode, .6284 / y + .3818, has R2 .9955; s =
    .6284 / 1.0102 gives its points exactly. s = 1 would say 2.0 instead of 1.622 at half the units.
    *Source*: semi-PD (arXiv 2504.19867), equations 1 and 4, figure 10.

    Examples
    --------
    >>> float(slowdown(0.5, 1.0)), round(float(slowdown(0.5, 0.6284 / 1.0102)), 3)
    (2.0, 1.622)
    """
    x, s = np.asarray(share, float), np.asarray(sensitivity, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(s > 0, s / x, 0.0)
    return np.asarray(1 - s + scaled)


def divided_sojourn_s(share: ArrayLike, rate_rps: ArrayLike, alone_s: ArrayLike) -> FloatArray:
    """Mean time in a queue whose server has a share of the compute units, service exponential.

    w = 1 / (x / l - r),  l = service on all units: M/M/1 with mu = x / l

    Parameters
    ----------
    share
        x [-].
    rate_rps
        r [1/s].
    alone_s
        l [s].

    Notes
    -----
    *Valid for* r < x / l; infinite else. *Limits*: r = 0 gives l / x.
    *Source*: semi-PD (arXiv 2504.19867), equations 1-3. Plans use the waits of real service times
    instead (`request_pool`): this form bounds them from above, as prompts vary less.

    Examples
    --------
    >>> [round(float(divided_sojourn_s(1.0, r, 0.05)), 4) for r in (4, 8, 12)]
    [0.0625, 0.0833, 0.125]
    """
    spare = np.asarray(share, float) / np.asarray(alone_s, float) - np.asarray(rate_rps, float)
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(spare > 0, 1 / np.where(spare > 0, spare, 1.0), np.inf))


def least_shares(
    ttft_s: ArrayLike,
    tpot_s: ArrayLike,
    *,
    rate_rps: ArrayLike,
    prefill_s: ArrayLike,
    step_s: ArrayLike,
    sensitivity: ArrayLike,
    overhead_s: ArrayLike = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """Least shares of prefill and decode that meet mean objectives.

    x = r l + l / (S_p - b),  y = s T / (S_d - (1 - s) T)

    Parameters
    ----------
    ttft_s, tpot_s
        Objectives S_p, S_d [s].
    rate_rps
        r [1/s].
    prefill_s
        l, prefill of a request on all compute units [s].
    step_s
        T, decode step on all of them at the batch that runs [s].
    sensitivity
        s of decode [-].
    overhead_s
        b, part of TTFT that no share changes [s].

    Notes
    -----
    Both fit on one instance where x + y <= 1. *Valid for* exponential service (M/M/1); infinite
    where no share is enough. *Source*: solved from semi-PD (arXiv 2504.19867), equation 4.

    Examples
    --------
    >>> x, y = least_shares(0.3, 0.03, rate_rps=4, prefill_s=0.05, step_s=0.02, sensitivity=0.6)
    >>> round(float(x), 3), round(float(y), 3)
    (0.367, 0.545)
    """
    alone, step = np.asarray(prefill_s, float), np.asarray(step_s, float)
    s = np.asarray(sensitivity, float)
    waiting = np.asarray(ttft_s, float) - np.asarray(overhead_s, float)
    pace = np.asarray(tpot_s, float) - (1 - s) * step
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(waiting > 0, np.asarray(rate_rps) * alone + alone / waiting, np.inf)
        y = np.where(pace > 0, s * step / pace, np.inf)
    return np.asarray(x), np.asarray(y)


def passes_busy(rate_rps: ArrayLike, base_s: ArrayLike, work_s: ArrayLike) -> FloatArray:
    """Share of time that an instance works whose passes take in all who wait.

    b = r T / (r T + exp(-r T)),  T = base + work (r T + exp(-r T)),  T = a pass

    Parameters
    ----------
    rate_rps
        r of Poisson arrivals [1/s].
    base_s
        What a pass takes before any request [s].
    work_s
        What each request adds [s].

    Notes
    -----
    An idle instance starts a pass with the next request, a busy one with all who came: passes
    begin at the rate r / (r T + exp(-r T)). *Valid for* passes without a limit, 0 < r work < 1
    (1 beyond). *Limits*: base = 0 gives r work; r -> 0 gives r (base + work).
    *Error*: within 1.5 % of simulation up to b = 0.95 (tested): T is taken to be constant.

    Examples
    --------
    >>> [round(float(passes_busy(2.0, base, 0.2)), 3) for base in (0.0, 0.2)]
    [0.4, 0.702]
    """
    rate, base, work = np.broadcast_arrays(
        *(np.asarray(x, float) for x in (rate_rps, base_s, work_s))
    )
    load = rate * work
    works = np.where(load < 1, work, 0.0)
    length = base + works
    for _ in range(ROUNDS):
        before = length
        length = base + works * (rate * length + np.exp(-rate * length))
        if np.abs(length - before).max(initial=0.0) <= CLOSE * max(length.max(initial=0.0), 1e-300):
            break
    due = rate * length
    return np.asarray(np.where(load < 1, due / (due + np.exp(-due)), 1.0))


def running_busy(mean_running: ArrayLike) -> FloatArray:
    """Share of time that at least one request decodes: 1 - exp(-N).

    Parameters
    ----------
    mean_running
        N, mean number of requests in the batch [-].

    Notes
    -----
    The number of requests is Poisson where a step's length does not depend on the batch (M/G/inf);
    steps that grow with it make the instance busier at the same N. *Valid for* decode bound by
    weights. *Limits*: 0 gives 0, many give 1.

    Examples
    --------
    >>> round(float(running_busy(2.0)), 3)
    0.865
    """
    return np.asarray(-np.expm1(-np.asarray(mean_running, float)))
