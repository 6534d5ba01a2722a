"""Cache that requests take on candidate instances: while they run, and between turns."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.local_prefill import kept_tokens
from pdplan.pools.pruned import trimmed_longest, trimmed_spread
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
        answers, share = demand.answers
        tokens = tokens + (share * answers).sum(1)
    held = cache_bytes(demand, m, tokens, demand.media.cross_tokens)
    if demand.options.prune is not None:
        held = held + trimmed_longest(demand, m, tokens)
    return np.asarray(held.max(axis=1))


def sequence_bytes(stages: str, demand: Demand, m: Machines) -> tuple[Floats, Floats]:
    """Mean cache of a resident request and its deviation [C]: running ones, or in prefill alone."""
    if stages == "E":
        return np.zeros(len(m.tp)), np.zeros(len(m.tp))
    context = demand.context_tokens if "D" in stages else float(demand.mean(demand.prompt_tokens))
    spread = demand.context_spread if "D" in stages else 0.0
    mean = cache_bytes(demand, m, context, demand.cross_tokens)[:, 0]
    longer = cache_bytes(demand, m, context + spread, demand.cross_tokens)[:, 0]
    if demand.options.prune is not None:
        longer = longer + trimmed_spread(demand, m)
    return mean, longer - mean


def idle_bytes_s(stages: str, demand: Demand, m: Machines) -> Floats:
    """Cache kept between turns times how long, on one accelerator, mean per request [C].

    Pools that prefill keep it: theirs is the prefix cache. Where decode instances prefill later
    turns, or give the history back, they do.
    """
    kept = kept_tokens(stages, demand)
    idle = demand.weight() * demand.traffic.think_s * (kept > 0)
    if not idle.any():
        return np.zeros(len(m.tp))
    held = cache_bytes(demand, m, kept, 0.0)
    return np.asarray((held + np.zeros(len(idle))) @ idle)
