"""Put a demand on columns: loads, waits and the latencies that requests feel."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.interleave import PromptWork, interleave
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import (
    DecodeStates,
    batched_queue,
    decode_states,
    routed_arrivals,
    routed_wait,
    tpot_quantile_s,
)


@dataclass(frozen=True, slots=True)
class Discipline:
    """How requests are spread over instances and interleaved on one."""

    routing: str = "least_loaded"
    scheduler: Literal["chunked", "prefill_first"] = "chunked"


def pool_table(times: Times, columns: Columns, demand: Demand, discipline: Discipline) -> PoolTable:
    """Work out load, waits and latencies of every column of a pool."""
    if "D" not in times.stages:
        return _request_pool(times, columns, demand, discipline)
    if times.stages == "D":
        return _decode_pool(times, columns, demand)
    return _colocated_pool(times, columns, demand, discipline)


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """How requests occupy instances that hand them on: means per candidate [C]."""

    alone_s: Floats
    added_s: Floats
    """What one more request adds to a pass."""
    fill: Floats
    """Share of a pass's token budget that a request takes."""
    alone_scv: Floats

    def capacity_rps(self) -> Floats:
        """Rate at which full passes saturate one instance."""
        return np.asarray(1 / (self.added_s + (self.alone_s - self.added_s) * self.fill))


def occupancy(times: Times, demand: Demand) -> Occupancy:
    """Work out how requests occupy E, P and EP instances.

    Prompts that fit together into the token budget share a pass: what one more adds is set so
    that a full pass takes what physics gives it. Encoding is one request at a time. Pipeline
    stages overlap requests: each delays by the whole traversal and occupies by the slowest stage,
    1 / pp of it.
    """
    only_media = times.stages == "E"
    pp = times.machines.pp
    alone = (times.encode_s + times.prefill_s) / pp
    mean = demand.mean(alone, of_media=only_media)
    full = demand.mean((times.encode_s + times.full_s) / pp, of_media=only_media)
    budget = times.chunk_tokens * times.machines.dp
    fill = demand.mean(np.minimum(demand.prompt_tokens / budget, 1.0))
    most = np.where("P" in times.stages, 1 / np.clip(fill, 1e-9, 1.0), 1.0)
    shared = most > 1 + 1e-9
    added = (most * full - mean) / np.where(shared, most - 1, 1.0)
    return Occupancy(
        alone_s=mean,
        added_s=np.where(shared, np.clip(added, 0.0, mean), mean),
        fill=1 / most,
        alone_scv=demand.scv(alone, of_media=only_media),
    )


def _request_pool(
    times: Times, columns: Columns, demand: Demand, discipline: Discipline
) -> PoolTable:
    """Pools that take requests, work on them in passes and hand them on: E, P and EP."""
    only_media = times.stages == "E"
    c, n = columns.config, columns.instances
    rate = demand.rate_rps * (demand.media_share if only_media else 1.0)
    occupied = occupancy(times, demand)
    arrivals, servers, scv = routed_arrivals(
        discipline.routing, rate, n, demand.traffic.arrival_scv
    )
    queue = batched_queue(
        arrivals,
        occupied.alone_s[c],
        occupied.added_s[c],
        occupied.fill[c],
        occupied.alone_scv[c],
        servers,
        scv,
    )
    shared = (queue.pass_s - occupied.alone_s[c]) * times.machines.pp[c, 0]
    prompt = times.prefill_s[c] + shared[:, None] + times.machines.request_s[c]
    nothing = np.zeros((len(columns), 0))
    return PoolTable(
        times=times,
        columns=columns,
        encode_s=(times.encode_s + times.host_s)[c],
        prefill_s=prompt * ("P" in times.stages),
        encode_wait=queue.wait if only_media else None,
        prefill_wait=None if only_media else queue.wait,
        decode_wait=None,
        utilization=queue.utilization,
        capacity_rps=demand.rate_rps / queue.utilization,
        step_s=nothing,
        tpot_mean_s=np.full(len(columns), np.nan),
        mean_batch=queue.batch,
        stable=queue.utilization < 1,
    )


def _decode_pool(times: Times, columns: Columns, demand: Demand) -> PoolTable:
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
        capacity_rps=n * cap / (demand.decode_steps * _at(step, cap)),
        step_s=step,
        tpot_mean_s=np.asarray(states.tpot_mean_s),
        mean_batch=np.asarray(states.mean_batch),
        stable=np.asarray(states.stable),
    )


def _colocated_pool(
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
    full_step = _at(step, cap)
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


def _at(step_s: Floats, batch: Ints) -> Floats:
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
