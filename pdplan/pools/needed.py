"""How many measured instances a rate takes, as a fraction, and what whole numbers of them carry."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.measured import measured_step_s, overhead_s, service_s
from pdplan.pools.measured_pool import POOLED, serial
from pdplan.queueing import sojourn_cdf, sojourn_mean_s
from pdplan.specs.options import Options
from pdplan.specs.options.measured import Measured

BUSIEST = 0.995
"""Utilization beyond which no instance is planned."""
MOST = 4096
"""Instances with a common queue that are tried."""
HALVINGS = 50


@dataclass(frozen=True, slots=True)
class Needed:
    """Instances of each phase that a rate takes within its objectives, not rounded."""

    prefill: float
    decode: float


def needed(demand: Demand) -> Needed:
    """Instances that a demand takes: its rate over what one instance carries within objectives.

    N_P = r / r_P,  N_D = r m / max {n / tau(n): tau(n) <= TPOT}

    r_P: the largest rate at which TTFT, overhead included, keeps every class's objectives; for
    M/M/1 and a mean it is r_P L = throughput - L / (TTFT - overhead). With one queue for all
    instances, rates of whole numbers of them are joined by straight lines. Endless where even an
    idle instance is too slow. m decode steps of a request, tau the curve.
    """
    option = demand.options.measured
    assert option is not None
    rate = demand.rate_rps
    paces = _paces(option, demand)
    each = float(paces.max(initial=0.0)) / demand.decode_steps
    prefill, first = np.inf, _largest_rps(option, demand, 1)
    if POOLED[option.queue] == "random":
        prefill = rate / first if first > 0 else np.inf
    elif _largest_rps(option, demand, MOST) >= rate:
        low, high = 0, MOST  # rates that `low` and `high` instances carry enclose this one
        while high - low > 1:
            middle = (low + high) // 2
            enough = _largest_rps(option, demand, middle) >= rate
            low, high = (low, middle) if enough else (middle, high)
        below = _largest_rps(option, demand, low) if low else 0.0
        prefill = low + (rate - below) / (_largest_rps(option, demand, high) - below)
    return Needed(prefill, rate / each if each > 0 else np.inf)


def served(demand: Demand) -> Demand:
    """Demand that a fleet is planned for: all of it, or the share that rounding leaves.

    `nearest`: the share that the nearest whole numbers of instances carry.
    """
    option = demand.options.measured
    if option is None or option.rounding == "ceil":
        return demand
    share = option.served_share or nearest_share(demand)
    traffic = replace(demand.traffic, rate_rps=demand.traffic.rate_rps * share)
    return replace(demand, traffic=traffic)


def all_served(options: Options) -> Options:
    """Options of a fleet whose rate is what it carries: nothing is left out any more."""
    if options.measured is None or options.measured.rounding == "ceil":
        return options
    update = {"rounding": "ceil", "served_share": None}
    return options.model_copy(update={"measured": options.measured.model_copy(update=update)})


def nearest_share(demand: Demand) -> float:
    """Share of the rate that the nearest whole numbers of instances carry; 1 at most."""
    option = demand.options.measured
    assert option is not None
    raw = needed(demand)
    if not np.isfinite([raw.prefill, raw.decode]).all():
        return 1.0
    prefill, decode = (max(round(n), 1) for n in (raw.prefill, raw.decode))
    carried = prefill / raw.prefill
    if POOLED[option.queue] != "random":
        carried = _largest_rps(option, demand, prefill) / demand.rate_rps
    return min(carried, decode * BUSIEST / raw.decode, 1.0)


def _paces(option: Measured, demand: Demand) -> Floats:
    """Steps a second at every batch whose TPOT is within all objectives [n]."""
    step = measured_step_s(option.decode, 2**31)
    limits = [kind.tpot_s for kind in demand.traffic.classes if kind.tpot_s is not None]
    batch = np.arange(1, len(step) + 1)
    most = min(limits, default=np.inf) * demand.tokens_per_step * (1 + 1e-9)
    return np.asarray((batch / step)[step <= most])


@lru_cache(maxsize=256)
def _largest_rps(option: Measured, demand: Demand, instances: int) -> float:
    """Largest rate that so many prefill instances carry within every TTFT objective, by halving."""
    weight, service = demand.weight(), service_s(option, demand)
    full = instances / float(service @ weight)
    low, high = 0.0, BUSIEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        keeps = _keeps(option, demand, instances, middle * full)
        low, high = (middle, high) if keeps else (low, middle)
    return low * full


def _keeps(option: Measured, demand: Demand, instances: int, rate_rps: float) -> bool:
    weight, traffic = demand.weight(), demand.traffic
    found = serial(
        option.queue, rate_rps, service_s(option, demand), weight, np.array([instances]),
        float(traffic.arrival_scv),
    )  # fmt: skip
    fixed = found.fixed_s[0] + overhead_s(option, demand)
    chances = np.array([np.ravel(w.probability)[0] for w in found.waits])
    tails = np.array([np.ravel(w.tail_mean_s)[0] for w in found.waits])
    follows = tuple(w.follows for w in found.waits)
    for i, kind in enumerate(traffic.classes):
        mine = np.where(traffic.class_index == i, weight, 0.0)
        mine = mine / mine.sum()
        limit = kind.ttft_s
        if limit is None:
            continue
        for percentile in kind.percentiles:
            if isinstance(percentile, int):
                reached = float(sojourn_cdf(limit, mine, fixed, chances, tails, follows))
                kept = reached >= percentile / 100 - 1e-12
            else:
                kept = float(sojourn_mean_s(mine, fixed, chances, tails)) <= limit
            if not kept:
                return False
    return True
