"""Pools that prefill (and encode) and decode in one process."""

import numpy as np

from pdplan.pools.decode_pool import at_batch
from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
from pdplan.pools.interleave import PromptWork, interleave
from pdplan.pools.table import Columns, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import routed_wait


def colocated_pool(
    times: Times, columns: Columns, demand: Demand, discipline: Discipline
) -> PoolTable:
    """Pools that prefill (and encode) and decode in one process."""
    c, n, cap = columns.config, columns.instances, columns.max_batch
    chunked = discipline.scheduler == "chunked"
    own = times.marginal_s if chunked else times.prefill_s
    filled = np.minimum(demand.prompt_tokens / times.chunk_tokens, times.passes) * chunked
    prompts = PromptWork(
        alone_s=times.prefill_s[c],
        added_s=(own + times.encode_s)[c],
        encode_s=times.encode_s[c],
        rides=times.passes[c] * chunked,
        filled=filled[c],
    )
    step = times.step_s[c, : cap.max(initial=1)]
    mixed = interleave(
        prompts,
        step,
        weight=demand.weight(),
        arrival_rps=demand.rate_rps / n,
        decode_steps=demand.decode_steps,
        cap=cap,
    )
    wait = routed_wait(
        discipline.routing,
        demand.rate_rps,
        demand.mean(mixed.occupancy_s),
        demand.scv(mixed.occupancy_s),
        n,
        demand.traffic.arrival_scv,
    )
    full_step = at_batch(step, cap)
    mean_work = demand.mean(prompts.added_s)
    decode_limit = 1 / (mean_work + demand.decode_steps * full_step / cap)
    prefill_limit = 1 / (mean_work + demand.mean(prompts.filled) * full_step)
    capacity = np.asarray(n * np.minimum(decode_limit, prefill_limit), float)
    states = mixed.states
    return PoolTable(
        times=times,
        columns=columns,
        encode_s=(times.encode_s + times.host_s)[c],
        prefill_s=mixed.prompt_s + times.machines.request_s[c],
        encode_wait=None,
        prefill_wait=wait,
        decode_wait=states.wait,
        utilization=demand.rate_rps / capacity,
        capacity_rps=capacity,
        step_s=mixed.step_s,
        tpot_mean_s=np.asarray(states.tpot_mean_s),
        mean_batch=np.asarray(states.mean_batch),
        stable=np.asarray(states.stable) & (mixed.busy < 1) & np.isfinite(wait.tail_mean_s),
    )
