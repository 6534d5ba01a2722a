"""Pools that only decode: state-dependent processor sharing."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import DecodeStates, decode_states, tpot_quantile_s


def decode_pool(times: Times, columns: Columns, demand: Demand) -> PoolTable:
    """Pools that only decode: state-dependent processor sharing."""
    c, n, cap = columns.config, columns.instances, columns.max_batch
    step = times.step_s[c, : cap.max(initial=1)]
    states = decode_states(step, demand.rate_rps / n, demand.decode_steps, cap)
    none = np.zeros((len(columns), len(demand.prompt_tokens)))
    return PoolTable(
        times=times,
        columns=columns,
        encode_s=none,
        prefill_s=none,
        encode_wait=None,
        prefill_wait=None,
        decode_wait=states.wait,
        utilization=np.asarray(states.utilization),
        capacity_rps=n * cap / (demand.decode_steps * at_batch(step, cap)),
        step_s=step,
        tpot_mean_s=np.asarray(states.tpot_mean_s),
        mean_batch=np.asarray(states.mean_batch),
        stable=np.asarray(states.stable),
    )


def at_batch(step_s: Floats, batch: Ints) -> Floats:
    """Step time at a batch [K]."""
    return np.take_along_axis(step_s, batch[:, None] - 1, axis=1)[:, 0]


def tpot_quantiles_s(table: PoolTable, demand: Demand, levels: Floats) -> Floats:
    """Percentiles of the requests' TPOT in every column [K, L]."""
    states = _states(table, demand)
    return np.asarray(tpot_quantile_s(states, table.step_s, levels, demand.output_scv))


def _states(table: PoolTable, demand: Demand) -> DecodeStates:
    columns = table.columns
    return decode_states(
        table.step_s, demand.rate_rps / columns.instances, demand.decode_steps, columns.max_batch
    )
