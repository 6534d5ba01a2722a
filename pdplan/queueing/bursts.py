"""The wait that bursts of arrivals add: work that piles up while the rate is high."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.waiting import Wait

GROWTH = float(np.sqrt(0.5))
"""E[sqrt(2 s^2 t / pi)] = s sqrt(L / 2) for exponential t of mean L."""


def burst_wait(
    arrival_rps: ArrayLike,
    service_s: ArrayLike,
    service_scv: ArrayLike,
    servers: ArrayLike,
    *,
    factor: float,
    share: float,
    length_s: float,
) -> Wait:
    """Wait beyond that of Poisson arrivals, where these switch between two rates.

    Fluid: with rho the utilization, work piles up at u = f rho - 1 in bursts and drains at
    d = 1 - g rho between them, f and g the rates over the mean (g = (1 - f p) / (1 - p)). Who
    arrives meets, with probability f p + g p u / d, an exponential pile of mean M,
    1 / M = 1 / (u L) - p / ((1 - p) d L)                         (Anick, Mitra and Sondhi).
    Where bursts bring less than the pool can take, or little more, the pile is what chance makes
    of their time, m = s sqrt(L / 2), s^2 = S (1 + Cs^2) / c, and no more than what a
    queue with the bursts' rate for ever would wait longer, W_b (Sakasegawa's approximation):
    M -> sqrt(M^2 + (m W_b / (m + W_b))^2).

    Parameters
    ----------
    arrival_rps
        lambda, the mean [1/s].
    service_s, service_scv
        Time that a request takes of one server [s] and its Cs^2 [-].
    servers
        c [-].
    factor
        f > 1.
    share
        p, of the time that is in bursts; f p <= 1.
    length_s
        L, mean of the exponential length of a burst [s]. Arrays broadcast.

    Notes
    -----
    *Valid for* rho < 1; beyond, waits are endless.
    *Error* of the mean of wait plus service against simulation of bursts of 2 and 4 times the mean
    rate, 0.5 to 50 services long, one and four servers, rho 0.5 to 0.8: 7 % on average, 30 % at
    worst, of which a good part is noise of few long bursts (`test_bursts`).
    *Source*: Anick, Mitra and Sondhi, Bell System Technical Journal 61 (1982) 1871-1894, for one
    source; the joining of both parts is a choice.

    Examples
    --------
    >>> wait = burst_wait(0.7, 1.0, 0.0, 1, factor=4.0, share=0.1, length_s=50.0)
    >>> round(float(wait.probability), 3), round(float(wait.tail_mean_s), 1)
    (0.625, 144.1)
    """
    rate, service, scv, count = (
        np.asarray(x, dtype=np.float64) for x in (arrival_rps, service_s, service_scv, servers)
    )
    rho = rate * service / count
    stable = rho < 1
    rho = np.where(stable, rho, 0.5)
    calm = (1 - factor * share) / (1 - share)
    rise, fall = factor * rho - 1, 1 - calm * rho
    above = rise > -1e-9
    climb = np.where(above, np.maximum(rise, 1e-9), 1.0)
    ends = 1 / climb - share / ((1 - share) * fall)
    fluid = np.where(above, length_s / np.where(above, ends, 1.0), 0.0)
    chance_made = np.sqrt(service * (1 + scv) / count) * GROWTH * np.sqrt(length_s)
    hot = np.where(above, 0.0, rise + 1)
    power = np.sqrt(2 * (count + 1)) - 1
    settled = (hot**power / (1 - hot) - rho**power / (1 - rho)) * (1 + scv) / 2 * service / count
    bound = np.where(above, 0.0, chance_made / np.where(above, 1.0, np.maximum(settled, 1e-300)))
    limited = chance_made / (1 + bound)
    pile = np.hypot(fluid, limited)
    met = np.minimum(factor * share + calm * share * np.where(above, climb, 0.0) / fall, 1.0)
    return Wait(
        np.where(stable, met, 1.0)[()], np.asarray(np.where(stable, pile, np.inf), np.float64)[()]
    )
