"""Requests of a decode pool that lose their cache because the running ones outgrow it."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.decode_pool import table_states
from pdplan.pools.demand import Demand
from pdplan.pools.table import PoolTable
from pdplan.queueing.preemption import preemption_share

WORTH_SAYING = 0.01
"""Losses of cache per request above which a plan should warn: recomputing is not priced in."""


def preemptions(table: PoolTable, demand: Demand) -> Floats:
    """Losses of cache per request in every column [K]; see `preemption_share` for its error."""
    times, config = table.times, table.columns.config
    each = np.maximum(times.sequence_bytes[config], 1e-9)
    return preemption_share(
        table_states(table, demand),
        times.memory.cache[config, 0] * times.machines.dp[config, 0] / each,
        times.spread_bytes[config] / each,
        demand.decode_steps * demand.tokens_per_step,
        float(demand.mean(demand.prompt_tokens)),
    )
