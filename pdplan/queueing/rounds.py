"""Prompts served in rounds beside other work: the wait for a server whose rounds have an overhead.

A server works in rounds. Each begins with an overhead c (a decode step that prompts ride on, or
the flat part of a prefill pass) and serves prompts first come first served, up to a budget of one.
A prompt of fill phi adds w, and on a server whose rounds are full it occupies x = w + phi c.

Symbols: r arrivals [1/s], b = r E[w], rho = r E[x], Q fill present as a round begins (served:
min(Q, 1)), W = E[w] / E[phi] what a full round adds, v = 1 - E[min(Q, 1)] the unused share.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray, erlang_c
from pdplan.queueing.prompt_moments import PromptMoments
from pdplan.queueing.waiting import gigc_wait_allen_cunneen

TINY = 1e-12
"""In the place of no work and no fill, which could not be divided by."""


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """What an arrival meets, arrays of one shape."""

    utilization: FloatArray
    """rho."""
    delay_s: FloatArray
    """Mean of everything before one's own work: prompts in front and what is left of a round."""
    variance_s2: FloatArray
    """Its variance."""
    gated: FloatArray
    """How far rounds take everything that waits: 1 for tiny prompts on unused rounds."""
    gated_s2: FloatArray
    """Variance of the delay and of what other prompts add to one's own round, were that so."""
    residual_s: FloatArray
    """Mean time from an arrival to the beginning of the next round."""
    ahead: FloatArray
    """Mean fill in front at that moment [rounds]."""
    behind: FloatArray
    """Probability that there is any."""
    square_fill: FloatArray
    """E[min(Q, 1)^2]."""
    company: FloatArray
    """Other prompts that one meets at its server over those of Poisson arrivals at it."""


def rounds(
    prompts: PromptMoments,
    arrival_rps: FloatArray,
    overhead_s: FloatArray,
    rounds_rps: FloatArray,
    *,
    pause_s: FloatArray | float = 0.0,
    pauses: FloatArray | float = 0.0,
    spread: FloatArray | float | None = None,
    running: FloatArray | float = 1.0,
    paused: FloatArray | None = None,
    servers: ArrayLike = 1.0,
    arrival_scv: ArrayLike = 1.0,
    own_scv: ArrayLike = 1.0,
    met: FloatArray | float = 1.0,
    wobble: FloatArray | float = 0.0,
) -> Rounds:
    """Work out the delay in front of a prompt's own work.

    For Poisson arrivals at one server, by decomposition of the unfinished work: measured in x it
    is that of an M/G/1 queue of services x plus what is there during a vacation, and vacations are
    the unused shares (1 - Q)+ c, put first in their rounds. With
    u = E[Q (1 - Q)+] / E[(1 - Q)+] the mean delay is
    r E[x^2] / (2 (1 - rho)) + u (c + W) + (1 - u) c / 2,
    and rounds last E[h^2] = E[h]^2 + W^2 v (1 - v - u) in square mean, of which an arrival meets
    R = E[h^2] / (2 E[h]); what is left of the delay are V rounds' worth of prompts in front.
    All exact but for u: where rounds run back to back u = q (1 - b) / (1 - b + X), q = 1 - v,
    X = 6 E[phi] (E[phi] + k) / (E[phi] + K), K = 1.3 / (1 + 1.4 Cphi^2),
    k = K (1 + Cphi^2) / (6 (1 + b) v): right for small fills (gated service without a limit:
    u = q - Var Q / v) and large ones (their last round is evenly filled: 1 / (6 E[phi]));
    1.3 and 1.4 are fitted to the chain of rounds in between.

    Several servers, regular arrivals: a prompt alone at its server stays s = c / 2 + w + rounds c.
    Another one finds company there in proportion e = C(n, n a) / a times `company_within`(r s),
    a = min(r s, 1); that scales what came before and after it in the same round and how often it
    meets a round with prompts in it. Prompts that earlier rounds left over scale as the mean waits
    of GI/G/n and M/G/1 do. The variance is Takacs' for the queue, `_gated_s2` for rounds that take
    everything, and that of a uniform rest of a round, of which half counts: an exponential tail
    of so much variance would reach too far.

    Parameters
    ----------
    prompts
        Moments.
    arrival_rps
        r into one server [1/s].
    overhead_s
        c [s].
    rounds_rps
        Rounds per second.
    pause_s, pauses
        Other vacations, which only begin where nothing waits: their length [s] and the share of
        time in them.
    spread
        Var min(Q, 1) where it is known, which gives u.
    running
        Share of arrivals to a server that is in a round or a pause at all.
    paused
        The same of arrivals to a server without prompts, if that differs.
    servers, arrival_scv
        Servers that share one queue, and the SCV of gaps between arrivals into it.
    own_scv
        SCV of gaps at one server.
    met
        Rest of a round with prompts that an arrival meets over that by chance: up to 2 where the
        router prefers servers that have just begun one.
    wobble
        Variance of rho by what varies slowly beside the queue; raises the queue by
        1 + wobble / (1 - rho)^2.

    Notes
    -----
    *Limits*: rho >= 1 gives an endless delay. *Measured error*: see `pools.interleave`.
    *Source*: Fuhrmann and Cooper, Oper. Res. 33 (1985) 1117-1129 (decomposition); Boxma and
    Groenendijk, J. Appl. Probab. 24 (1987) 949-964 (work); Takacs, Oper. Res. 11 (1963) 261-264
    (second moment of the wait); Asmussen (2003), chapter V (renewal function).

    Examples
    --------
    Gated service without a limit, c = 10 ms, w = 20 ms, r = 25: rounds of 20 ms in mean; an
    arrival meets the last 16.67 ms of one, and prompts of 25 x 16.67 ms x 20 ms came before it.

    >>> tiny = PromptMoments.of([[0.02]], [[1e-9]], [[1.0]], [1.0])
    >>> found = rounds(tiny, np.array([25.0]), np.array([0.01]), np.array([50.0]))
    >>> [round(1e3 * float(x[0]), 3) for x in (found.residual_s, found.delay_s)]
    [16.667, 25.0]
    """
    rate, c = arrival_rps, overhead_s
    p = prompts
    busy = rate * p.w
    x1, x2, x3 = (np.maximum(x, TINY**k) for k, x in enumerate(p.occupancy(c), 1))
    fills = np.maximum(p.f, TINY)
    rho = rate * x1
    stable = rho < 1
    spare = np.where(stable, 1 - rho, 1.0)
    full = p.w / fills
    fill = np.clip(rate * fills / rounds_rps, 1e-12, 1.0)
    free = np.maximum(1 - fill, 1e-9)
    thin = np.zeros_like(rho)
    if spread is None:
        thin = _thinned(p, np.minimum(busy, 0.999), free)
        unused = fill * thin
        spread = free * np.maximum(fill - unused, 0.0)
    else:
        spread = np.clip(spread, 0.0, fill * free)
        unused = fill - spread / free
    count = np.asarray(servers, float)
    wait = gigc_wait_allen_cunneen(rate * count, x1, x2 / x1**2 - 1, count, arrival_scv)
    count = np.asarray(servers, float)
    raised = 1 + np.minimum(np.asarray(wobble) / spare**2, 1.0)
    alone = np.maximum(rate * x2 / (2 * spare), TINY**3)
    wait = gigc_wait_allen_cunneen(rate * count, x1, x2 / x1**2 - 1, count, arrival_scv)
    queue = np.where(stable, np.asarray(wait.mean_s), 0.0) * raised
    tail = np.where(stable, np.asarray(wait.tail_mean_s), 0.0) * raised
    second = 1 + (rho * (1 + rate * x3 / (6 * spare * alone**2)) - 1) / count
    share = np.clip(rounds_rps * free * c / spare, 0.0, 1.0)
    pausing, pause = np.asarray(pauses), np.asarray(pause_s)
    begun = share * (unused * (c + full) + (1 - unused) * c / 2) + pausing / spare * pause / 2
    level = c + full * fill
    by_chance = rounds_rps * (level**2 + full**2 * spread) / 2 + pausing * pause / 2
    begun, by_chance = begun * running, by_chance * running
    ahead = np.maximum(alone * raised + begun - by_chance, 0.0) / (c + full)
    recent = np.minimum(rate * by_chance * fills, ahead)
    quiet = np.where(pausing > 0, pause, c) * (running if paused is None else paused) / 2
    lone = quiet + p.w + c * np.maximum(p.rounds, p.f)
    present = np.clip(rate * lone, 1e-12, 1.0)
    meets = erlang_c(count, count * present) * company_within(rate * lone, own_scv)
    company = meets / present
    residual = (1 - meets) * quiet
    residual = residual + company * met * np.maximum(by_chance - (1 - present) * quiet, 0.0)
    ahead = (ahead - recent) * queue / (alone * raised) + recent * company
    few = company * (1 - spare / (1 + rate * by_chance * spare))
    uneven = share * np.minimum(unused * p.ff / fills, unused * (1 - unused) / 2)
    variance = 2 * queue * tail * second * raised - queue**2
    variance = variance + company * (c + full) ** 2 * uneven * running
    return Rounds(
        utilization=rho,
        delay_s=np.where(stable, residual + ahead * (c + full), np.inf),
        variance_s2=np.where(stable, variance, np.inf) + (1 + np.minimum(rho, 1)) * residual**2 / 6,
        gated=thin,
        gated_s2=company * _gated_s2(p, rate, c) + residual**2 / 6,
        residual_s=residual,
        ahead=ahead,
        behind=np.clip(few, np.minimum(np.maximum(ahead / 50, 1e-12), 1.0), 1.0),
        square_fill=fill**2 + spread,
        company=company,
    )


def _thinned(p: PromptMoments, busy: FloatArray, free: FloatArray) -> FloatArray:
    """The ratio u / q where rounds run back to back."""
    fill = np.maximum(p.f, TINY)
    scv = np.maximum(p.ff / fill**2 - 1, 0.0)
    knee = 1.3 / (1 + 1.4 * scv)
    small = knee * (1 + scv) / (6 * (1 + busy) * free)
    lumps = 6 * fill * (fill + small) / (fill + knee)
    return np.asarray((1 - busy) / (1 - busy + lumps))


def company_within(expected: ArrayLike, scv: ArrayLike) -> FloatArray:
    """Arrivals expected within a time after (or before) one of them, over those at any time.

    1 + (Ca^2 - 1) / 2 (1 - exp(-r t / g)) / (r t), at least 0,
    g = (1 + Ca^2) / 2 for Ca^2 > 1, (1 + Ca^2) / 6 below:
    as in renewal theory r t + (Ca^2 - 1) / 2 arrivals in a long time, reached over g / r.
    expected = r t; scv = Ca^2 of gaps, both [-].
    Exact for Poisson arrivals and balanced hyperexponential gaps, within 0.05 arrivals for gamma
    gaps of SCV 1/8 to 1 (tested). *Source*: Cox, Renewal Theory (1962), section 4.

    >>> company_within([0.0, 5.0], 0.5).round(3).tolist()
    [0.0, 0.95]
    """
    mean = np.maximum(np.asarray(expected, float), TINY)
    spread = np.asarray(scv, float)
    reached = -np.expm1(-mean * np.where(spread > 1, 2.0, 6.0) / (1 + spread))
    return np.asarray(np.maximum(1 + (spread - 1) / 2 * reached / mean, 0.0))


def room_after(
    fill: FloatArray, least: FloatArray, ahead: FloatArray, behind: FloatArray
) -> FloatArray:
    """Mean unused part of the last round of a prompt, were nobody after it.

    A prompt of fill phi behind V ends in round ceil(V + phi), or `least` if that is more, so it
    leaves ceil(V + phi) - V - phi. V is zero, or with probability `behind` exponential:
    g - m + exp(-g / m) / (1 - exp(-1 / m)) with g = ceil(phi) - phi, m = ahead / behind.
    """
    left = np.maximum(np.ceil(fill - 1e-9), least) - fill
    mean = np.clip(ahead / behind, 1e-9, 1e6)
    within = left - np.floor(left)
    waited = within - mean + np.exp(-within / mean) / -np.expm1(-1 / mean)
    waited = waited + np.floor(left)
    return np.asarray((1 - behind) * left + behind * waited)


def _gated_s2(p: PromptMoments, rate: FloatArray, overhead_s: FloatArray) -> FloatArray:
    """Variance of the delay by other prompts in gated rounds without a limit.

    The round h* that an arrival falls into is longer than the mean one; what is left of it is
    U h*, its arrivals add r h* w: Var = Var(h*) (1/3 + b + b^2) + E[h*]^2 / 12 + r E[w^2] E[h*],
    with the cumulants of h: k1 = c / (1 - b), k2 = r E[w^2] k1 / (1 - b^2),
    k3 = (r E[w^3] k1 + 3 b r E[w^2] k2) / (1 - b^3). E[h*]^2 / 12, of U alone, is left out.
    """
    busy = np.minimum(rate * p.w, 0.999)
    first = np.maximum(overhead_s, 1e-12) / (1 - busy)
    second = rate * p.ww * first / (1 - busy**2)
    third = (rate * p.www * first + 3 * busy * rate * p.ww * second) / (1 - busy**3)
    met = first + second / first
    spread = np.maximum(third / first + second - (second / first) ** 2, 0.0)
    return np.asarray(spread * (1 / 3 + busy + busy**2) + rate * p.ww * met)
