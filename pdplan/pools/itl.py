"""Gaps between the tokens of an answer (ITL) in pools that decode."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.beside import PromptEffect, normal_quantile
from pdplan.pools.decode_pool import effect_of
from pdplan.pools.demand import Demand
from pdplan.pools.step_spread import step_spread
from pdplan.pools.table import PoolTable
from pdplan.queueing import mixed_quantiles_s

NODES = (np.arange(24) + 0.5) / 24
"""Levels at which a distribution stands for itself inside another."""


def itl_quantiles_s(table: PoolTable, demand: Demand, levels: Floats) -> Floats:
    """Percentiles of the gaps between tokens in every column [K, L], all gaps counting alike.

    A gap is a decode step; the tokens of one step come together. Long answers have more gaps, and
    all are spread over the same steps: no class has gaps of its own.
    *Measured error* against simulation: see `step_quantile_s`.
    """
    effect = effect_of(table)
    if effect is None:
        return step_spread(table, demand, levels).quantiles_s * demand.tokens_per_step
    steps = step_spread(table, demand, NODES)
    pace = steps.mean_s * demand.tokens_per_step
    alone = (1 - effect.riding_s / pace)[:, None] * steps.quantiles_s * demand.tokens_per_step
    return lengthened_gaps_s(alone, effect, levels)


def lengthened_gaps_s(alone_s: Floats, effect: PromptEffect, levels: Floats) -> Floats:
    """Percentiles [K, L] of gaps of which prompts lengthen some.

    alone_s: decode steps at NODES [K, NODES]. What prompts add where they do is a gamma law of the
    mean and second moment that `PromptEffect` has (percentiles after Wilson and Hilferty).
    *Measured error* against simulation: see `pools.interleave`.
    """
    mean = effect.riding_s / effect.carrying
    shape = mean**2 / np.maximum(effect.carried_s2 - mean**2, 1e-12 * mean**2 + 1e-300)
    shape = np.clip(shape, 1e-3, 1e12)[:, None]
    root = np.maximum(1 - 1 / (9 * shape) + normal_quantile(NODES) / (3 * np.sqrt(shape)), 0.0)
    added = mean[:, None] * root**3
    found = np.empty((len(mean), len(levels)))
    each = np.full(len(NODES), 1 / len(NODES))
    for k, often in enumerate(effect.carrying):
        both = (alone_s[k][:, None] + added[k]).ravel()
        weight = np.concatenate([(1 - often) * each, often * np.outer(each, each).ravel()])
        found[k] = mixed_quantiles_s(np.concatenate([alone_s[k], both]), weight, levels)
    return found


def itl_mean_s(table: PoolTable, demand: Demand) -> Floats:
    """Mean gap between tokens in every column [K]: all decode time over all steps.

    What prompts leave behind a request's own counts once a request, whose TPOT it lengthens by its
    share of few or many steps.
    """
    effect = effect_of(table)
    if effect is None:
        return np.asarray(table.tpot_mean_s * demand.tokens_per_step)
    pace = step_spread(table, demand, NODES).mean_s * demand.tokens_per_step
    return np.asarray(pace + effect.late_s / demand.decode_steps)
