"""A pool of instances that take waiting prompts into passes: waits under a routing rule."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray, erlang_c
from pdplan.queueing.passes import Passes, PromptSizes, pass_queue
from pdplan.queueing.shapes import ShapedWait, shaped_wait
from pdplan.queueing.waiting import kimura_factor, routed_arrivals

NEARLY = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class Fit:
    """Constants of several instances, fitted to simulations of 2 to 64 (see `batched_queue`)."""

    sharp: float = 38.0
    """Power mean that joins the load of single prompts and 1; smaller, less sharp, by scv^0.66."""
    relief: float = 1.2
    """How soon, with more instances, sharing no longer relieves busy ones."""
    step: float = 55.0
    """Sharpness of the change to instances that are always busy, at unit load of single prompts."""
    meeting: float = 0.25
    """Power of c with which arrivals come to meet the beginning of a pass, not its middle."""
    apart: float = 1.7
    """How variable prompts must be for that; equal ones are dealt in turn."""
    few: float = 7.0
    """Requests in a pass below which equal prompts do, too."""
    cut: float = 0.7
    """Share of prompts that are cut at unit utilization, per budget of their length."""
    cutting: float = 4.6
    """Power of the utilization with which that grows."""
    blind: float = 0.65
    """Part of a pass that who waits loses, for routing sees tokens and not the time left."""
    seen: float = 0.31
    """Power of c with which that part falls, for equal prompts."""


FIT = Fit()


@dataclass(frozen=True, slots=True, eq=False)
class BatchedQueue:
    """Steady state of a pool whose instances take all who wait, up to a budget, into one pass."""

    batch: FloatArray
    """Mean requests that a pass serves [-]."""
    utilization: FloatArray
    """Rate over the rate at which full passes saturate the instances [-]."""
    shared_s: FloatArray
    """Mean by which others lengthen a request's own last pass [s]; part of the wait."""
    wait: ShapedWait
    """Time in the pool beyond that of a request alone."""


def batched_queue(
    arrival_rps: ArrayLike,
    base_s: ArrayLike,
    full_s: ArrayLike,
    sizes: PromptSizes,
    servers: ArrayLike,
    routing: str = "least_loaded",
    dispersion: ArrayLike = 1.0,
    fit: Fit = FIT,
) -> BatchedQueue:
    """Time that a request spends in a pool beyond the time it would take alone.

    One instance: `pass_queue`, mean Y1. Several that share arrivals: with A the time of a prompt
    alone, t one of its passes, l = r A the load if no pass were shared, D = a / (1 - r s E[x]) the
    pass where all are always busy, and P the chance that all are busy,
    Y = P b(c) + P / (c busy) (Y1 - busy b(1)),
    b(c) = D (1 + h(c) + 0.7 rho^4.6 E[x]) - A  where l > 1,  0.65 t c^-g  where l < 1:
    a queue that c instances work off together, and what they do not: passes that run, and passes
    that wait for their end. h rises from 1/2 to 1 with c: the router sees tokens, so an instance
    whose pass has ended is filled up at once, and who comes there waits for the whole next pass.
    P is Erlang's C at l, joined to 1, lower for few instances, that sharing relieves.
    The wait of those who wait has the scv 0.11 c^-0.2 + k Q, Q its share outside b (1 where
    l < 1, less what comes behind them in their pass), k = 1 + (k1 - 1) / sqrt(c),
    k1 = 2 rho + 4 (1 - rho) E[x^3] E[x] / (3 E[x^2]^2) - 1 as in M/G/1 (Takacs). `random` and
    `round_robin` split the arrivals: one instance each.

    Parameters
    ----------
    arrival_rps
        lambda into the pool [1/s].
    base_s, full_s
        A pass of no tokens, and one filled to the budget [s].
    sizes
        Moments of prompts as shares of a full pass.
    servers
        c [-], whole numbers >= 1.
    routing
        least_loaded (by tokens not yet through), central, round_robin or random.
    dispersion
        Index of dispersion of the pool's arrivals, over the time that its queue remembers [-].
    fit
        Constants of several instances; arrays broadcast.

    Notes
    -----
    *Valid for* rho < 1; beyond, waits are endless.
    *Error* of the time in the pool against simulation (`test_batching`), shares 0.02 to 4 of a
    budget, cv 0 to 2, a / T 0.02 to 0.6, rho 0.3 to 0.9, Poisson arrivals, on average and at worst:
    mean 2 % and 9 % (one instance), 3 % and 18 % (up to 64); p50 4 % and 24 %, p90 4 % and 24 %,
    p99 7 % and 31 %. Worst where l is near 1 or a / T above 0.3, for equal prompts just over a
    budget, and for cv 2. `random` is as one instance; `central` 6 % and 34 % in the mean (worst for
    prompts below a tenth of a budget), `round_robin` 9 % and 57 % (worst for equal prompts).
    *Source*: the limits above; Takacs, Introduction to the Theory of Queues (1962), chapter 1.

    Examples
    --------
    >>> one = batched_queue(0.5, 0.1, 1.0, PromptSizes.equal(1.0), 1)  # M/D/1, that waits 0.5
    >>> float(one.utilization), round(float(one.wait.mean_s), 2)
    (0.5, 0.5)
    """
    rate, count, spread = routed_arrivals(routing, arrival_rps, servers, dispersion)
    base, full = (np.asarray(x, dtype=np.float64) for x in (base_s, full_s))
    each = rate / count
    utilization = each * sizes.mean * full
    stable = utilization < 1
    one = pass_queue(each, base, full, sizes, spread)
    probability, common, queue, always, shared = _several(
        each, base, full, sizes, count, one, central=routing == "central", fit=fit
    )
    mean = np.where(stable, common + queue, np.inf)
    k = _narrowed(sizes, np.minimum(utilization, 1.0), count)
    outside = 1 - always * common / np.maximum(common + queue, 1e-300)
    behind = np.minimum(one.behind_s / np.maximum(common + queue, 1e-300), 0.5)
    scv = 0.11 * count**-0.2 + k * outside * (1 - behind * (1 - always))
    return BatchedQueue(
        batch=one.batch,
        utilization=utilization,
        shared_s=np.asarray(shared),
        wait=shaped_wait(np.where(stable, probability, 1.0), mean, scv),
    )


def _narrowed(sizes: PromptSizes, rho: FloatArray, count: FloatArray) -> FloatArray:
    """Squared coefficient of variation of the wait of those who wait for work."""
    one = 2 * rho + 4 * (1 - rho) * sizes.third * sizes.mean / (3 * sizes.second**2) - 1
    return np.asarray(1 + (one - 1) / np.sqrt(count))


def _several(
    rate: FloatArray, base: FloatArray, full: FloatArray, sizes: PromptSizes, count: FloatArray,
    one: Passes, *, central: bool, fit: Fit,
) -> tuple[FloatArray, ...]:  # fmt: skip
    """Parts of the wait of those who wait.

    P(all busy), what is not worked off together, what is, whether l > 1, and what others add to a
    request's own pass.
    """
    m, scv = sizes.mean, sizes.scv
    slope = full - base
    alone = sizes.passes * base + m * slope
    rho = np.minimum(rate * m * full, NEARLY)
    single = rate * alone
    capped = np.minimum(single, 1e3)
    stepped = capped ** (fit.step / (1 + scv))
    always = stepped / (1 + stepped)
    cycle = base / (1 - rho * slope / full)
    shares = np.where(sizes.last < NEARLY, fit.blind, 0.0)
    equal = (fit.few / np.maximum(rate * cycle, 1.0)) ** 4
    dealt = -np.expm1(-(fit.apart * scv + equal))

    def common(instances: FloatArray) -> FloatArray:
        late = 0.5 + 0.5 * (1 - instances**-fit.meeting) * dealt
        if central:
            late = 0.4 + 0.1 / instances
        seen = fit.seen / (1 if central else 1 + 3.8 * scv)
        saturated = cycle * (1 + late + fit.cut * rho**fit.cutting * m) - alone
        running = shares * alone / sizes.passes * instances**-seen * busy**2
        return np.asarray(always * np.maximum(saturated, 0.0) + (1 - always) * running)

    power = fit.sharp * (1 + scv) ** -0.66
    joined = capped * (1 + capped**power) ** (-1 / power)
    relieved = one.busy ** (fit.relief * (np.sqrt(2 * (count + 1)) - 2))
    relieved = np.where(count > 1, relieved * (scv + 0.37) / (scv + 1), 1.0)
    busy = joined + (np.minimum(one.busy, joined) - joined) * relieved
    busy = np.minimum(busy, NEARLY)
    probability = np.where(count > 1, erlang_c(count, count * busy), one.met)
    each = one.extra_s / one.met
    mine = np.minimum(common(np.ones_like(count)), each)
    several = np.where(count > 1, common(count), mine)
    varied = scv * (m * slope / alone) ** 2
    light = kimura_factor(count, count * busy, varied)
    queue = np.maximum(each - mine, 0.0) * light / count
    grown = np.maximum(cycle - alone / sizes.passes, 0.0)
    shared = probability * np.maximum(grown, one.shared_s / one.met * count**-0.75)
    return probability, several, queue, always, np.where(count > 1, shared, one.shared_s)
