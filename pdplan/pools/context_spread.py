"""How much decode steps vary because running requests have contexts of different lengths."""

from functools import lru_cache

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.attention_ffn import step_s
from pdplan.pools.demand import Demand
from pdplan.pools.drafting import passing
from pdplan.pools.table import PoolTable
from pdplan.pools.times import Times


def context_variance(table: PoolTable, demand: Demand) -> Floats:
    """Variance of a decode step at a given batch, from the contexts in it, per column [K].

    (tau(n, c + s) - tau(n, c))^2 / n  at the mean batch n

    c, s = mean and standard deviation of a running request's context: the mean of n of them varies
    by s / sqrt(n). Valid for: contexts that are independent, steps linear in context. Of measured
    steps it is not known, and none.
    """
    if demand.options.measured is not None:
        return np.zeros(len(table))
    batch = _mean_batch(table)
    knots, longer = _longer(table.times, demand)
    config = table.columns.config
    above = np.clip(np.searchsorted(knots, batch), 1, len(knots) - 1)
    share = (batch - knots[above - 1]) / (knots[above] - knots[above - 1])
    low, high = longer[config, above - 1], longer[config, above]
    slow = np.broadcast_to(table.times.slowdown, len(table.times))[config]
    return np.asarray((slow * (low + share * (high - low))) ** 2 / batch)


def context_skew(table: PoolTable, demand: Demand) -> Floats:
    """Skewness of the mean context of a batch, per column [K]: 2 s / (c sqrt(n)), a gamma law's."""
    spread = demand.context_spread / max(demand.context_tokens, 1e-9)
    return np.asarray(2 * spread / np.sqrt(_mean_batch(table)))


def _mean_batch(table: PoolTable) -> Floats:
    most = table.times.step_s.shape[1]
    batch = np.clip(np.nan_to_num(table.mean_batch, nan=1.0), 1.0, most)
    cycles = table.times.cycles
    return batch if cycles is None else passing(cycles, table.columns.config, batch)


@lru_cache(maxsize=16)
def _longer(times: Times, demand: Demand) -> tuple[Floats, Floats]:
    """What a step lasts longer when all contexts are one standard deviation longer [C, knots]."""
    most = times.step_s.shape[1]
    knots = np.unique(np.append(2 ** np.arange(most.bit_length()), [most, most + 1]))
    context = demand.context_tokens + np.array([[0.0], [demand.context_spread]])
    mean, long = (
        step_s(
            demand,
            times.machines,
            times.bundles,
            sequences=knots.astype(float),
            context_tokens=float(tokens[0]),
        )
        for tokens in context
    )
    return knots.astype(float), np.asarray(np.maximum(long - mean, 0.0))
