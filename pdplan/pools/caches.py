"""Cache that requests take on candidate instances: while they run, and between turns."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.stages.machine import Machines
from pdplan.stages.memory import cache_bytes_per_sequence


def cache_bytes(
    demand: Demand, m: Machines, tokens: Floats | float, cross_tokens: Floats | float
) -> Floats:
    """Cache of sequences on one accelerator, a draft model's beside the model's [C, X]."""
    held = cache_bytes_per_sequence(demand.model, m, tokens, cross_tokens)
    if demand.draft is None:
        return held
    return held + cache_bytes_per_sequence(demand.draft, m, tokens)


def longest_bytes(stages: str, demand: Demand, m: Machines) -> Floats:
    """Cache of the longest support point [C]: its prompt, and its mean output where it decodes."""
    if stages == "E":
        return np.zeros(len(m.tp))
    tokens = demand.prompt_tokens
    if "D" in stages:
        traffic = demand.traffic
        tokens = tokens + (traffic.output_weight * traffic.output_tokens).sum(1)
    held = cache_bytes(demand, m, tokens, demand.media.cross_tokens)
    return np.asarray(held.max(axis=1))


def sequence_bytes(stages: str, demand: Demand, m: Machines) -> tuple[Floats, Floats]:
    """Mean cache of a resident request and its deviation [C]: running ones, or in prefill alone."""
    if stages == "E":
        return np.zeros(len(m.tp)), np.zeros(len(m.tp))
    context = demand.context_tokens if "D" in stages else float(demand.mean(demand.prompt_tokens))
    spread = demand.context_spread if "D" in stages else 0.0
    mean = cache_bytes(demand, m, context, demand.cross_tokens)[:, 0]
    longer = cache_bytes(demand, m, context + spread, demand.cross_tokens)[:, 0]
    return mean, longer - mean


def idle_bytes_s(stages: str, demand: Demand, m: Machines) -> Floats:
    """Cache kept between turns times how long, on one accelerator, mean per request [C].

    Pools that prefill keep it: theirs is the prefix cache.
    """
    idle = demand.weight() * demand.traffic.think_s * (demand.kept_tokens > 0)
    if "P" not in stages or not idle.any():
        return np.zeros(len(m.tp))
    held = cache_bytes(demand, m, demand.kept_tokens, 0.0)
    return np.asarray((held + np.zeros(len(idle))) @ idle)
