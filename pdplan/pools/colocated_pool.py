"""Pools that prefill (and encode) and decode in one process."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.beside import PromptEffect
from pdplan.pools.decode_pool import DecodeTable, at_batch, outputs
from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
from pdplan.pools.drafting import saturated_rps, taken
from pdplan.pools.interleave import Interleaved, PromptWork, interleave
from pdplan.pools.local_prefill import prompts_at
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import (
    PromptMoments,
    Stream,
    Wait,
    instance_stream,
    saturated_shares,
)
from pdplan.queueing.dispersion import index_of_dispersion

BLOCK = 256
"""Columns worked out at once: what is computed on them stays in cache."""
ROOM = 0.05
"""Share of its last pass that a prompt leaves free to tell what the pass costs without it."""


def colocated_pool(
    times: Times, columns: Columns, demand: Demand, discipline: Discipline
) -> PoolTable:
    """Pools that prefill (and encode) and decode in one process.

    Where only some requests are prefilled here, the others meet the rest of a running step.
    """
    share, weight = prompts_at(times.stages, demand)
    work = prompt_work(times, demand, discipline.scheduler)
    moments = PromptMoments.of(work.added_s, work.filled, work.rides, weight)
    capacity = columns.instances * _capacity_rps(times, columns, demand, discipline, work, moments)
    order = np.argsort(columns.max_batch, kind="stable")
    parts = [
        _block(times, columns, demand, discipline, work, moments, capacity, order[i : i + BLOCK])
        for i in range(0, len(order), BLOCK)
    ]
    back = np.argsort(order, kind="stable")

    def joined(values: list[Floats]) -> Floats:
        return np.concatenate(values)[back] if values else np.zeros(0)

    c, most = columns.config, columns.max_batch.max(initial=1)
    step = np.empty((len(columns), most))
    prefill = np.empty((len(columns), len(weight)))
    for i, part in enumerate(parts):
        rows = order[i * BLOCK : (i + 1) * BLOCK]
        size = part.step_s.shape[1]
        step[rows, :size] = part.step_s
        step[rows, size:] = part.step_s[:, -1:]
        prefill[rows] = part.prompt_s
    waiting = joined([np.broadcast_to(p.wait.probability, p.busy.shape) for p in parts])
    tail = joined([np.broadcast_to(p.wait.tail_mean_s, p.busy.shape) for p in parts])
    admission = [p.states.wait for p in parts]
    own = prefill - times.encode_s[c] + times.machines.request_s[c]
    if share < 1:
        own = np.where(weight > 0, own, joined([p.rounds.residual_s for p in parts])[:, None])
    effect = PromptEffect(
        *(
            joined([getattr(p.effect, name) for p in parts])
            for name in PromptEffect.__dataclass_fields__
        )
    )
    return DecodeTable(
        times=times,
        columns=columns,
        encode_s=(times.encode_s + times.host_s)[c],
        prefill_s=own,
        encode_wait=None,
        prefill_wait=Wait(waiting, tail),
        decode_wait=Wait(
            joined([np.asarray(w.probability) for w in admission]),
            joined([np.asarray(w.tail_mean_s) for w in admission]),
        ),
        utilization=demand.rate_rps / capacity,
        capacity_rps=capacity,
        step_s=step,
        tpot_mean_s=joined([p.tpot_mean_s for p in parts]) / demand.tokens_per_step,
        mean_batch=joined([np.asarray(p.states.mean_batch) for p in parts]),
        stable=(demand.rate_rps < capacity)
        & np.isfinite(tail)
        & joined([np.asarray(p.states.stable) for p in parts]).astype(bool),
        routing=discipline.routing,
        effect=effect,
    )


def prompt_work(times: Times, demand: Demand, scheduler: str) -> PromptWork:
    """Work out what prompts ask of every candidate [C, S] under a scheduler.

    chunked: chunks add what a running step does not have yet; layered: so does one whole pass,
    spread over a step per group of layers. prefill_first: what a prompt takes beside the passes,
    P (alone_s - passes base), base = (alone - its share of full passes) / the room it leaves.
    """
    tokens = np.asarray(demand.new_tokens, float)
    fill = tokens / (times.chunk_tokens * times.machines.dp) + 0 * times.passes
    rides = np.maximum(times.passes, 1.0)
    alone, own = times.prefill_s, times.marginal_s
    if scheduler == "prefill_first":
        weight = prompts_at(times.stages, demand)[1]
        own = alone - rides * _base_s(times, weight, fill, rides)[:, None]
    elif scheduler == "layered":
        own, fill = times.whole_s, rides
    own = np.minimum(own, alone)
    return PromptWork(
        alone_s=alone,
        added_s=own + times.encode_s,
        encode_s=times.encode_s,
        rides=rides,
        filled=fill,
    )


def _base_s(times: Times, weight: Floats, fill: Floats, rides: Floats) -> Floats:
    """Pass without tokens [C]; from what prompts add to steps where none leaves room in a pass."""
    room = np.where(rides - fill > ROOM, rides - fill, 0.0) * weight
    gained = np.where(rides - fill > ROOM, times.prefill_s - times.full_s, 0.0) * weight
    spare = room.sum(1)
    told = np.where(spare > 0, gained.sum(1) / np.where(spare > 0, spare, 1.0), 0.0)
    others = ((times.prefill_s - times.marginal_s) / rides) @ weight
    found = np.where(spare > 0, told, others)
    return np.asarray(np.clip(found, 0.0, (times.prefill_s / rides).min(axis=1)))


def _capacity_rps(
    times: Times, columns: Columns, demand: Demand, discipline: Discipline, work: PromptWork,
    moments: PromptMoments,
) -> Floats:  # fmt: skip
    """Rate at which one instance saturates [K].

    1 / (E[w] + m tau(n) / n) at the largest n that prompts let there be: min(cap, m B / (p + m))
    where a budget of B tokens is shared by prompts of p tokens, min(cap, m / E[groups]) where each
    step carries one group of layers. Where prefill goes first, see `saturated_shares`.
    """
    share, weight = prompts_at(times.stages, demand)
    c, cap, m = columns.config, columns.max_batch, demand.decode_steps / share
    step = times.step_s[:, : cap.max(initial=1)]
    some = moments.take(c)
    if discipline.scheduler == "prefill_first":
        beside = work.alone_s + work.encode_s - work.added_s
        base = np.maximum((beside / work.rides) @ weight, 0.0)[c]
        taken = sum(saturated_shares(some, np.ones(len(c)), base, step[c], m, cap))
        return np.asarray(1 / taken / share)
    most = m / some.f
    if discipline.scheduler == "chunked":
        budget = times.chunk_tokens * times.machines.dp[c, 0]
        most = m * budget / (some.f * budget + m)
    running = np.clip(most, 1.0, cap)
    low = at_batch(step[c], running.astype(np.int64))
    above = np.minimum(running.astype(np.int64) + 1, cap)
    full = low + (at_batch(step[c], above) - low) * (running - np.floor(running))
    used = m * full / np.minimum(most, cap)
    if times.cycles is not None:
        return saturated_rps(times.cycles, c, cap, m, some.w) / share
    return np.asarray(1 / (some.w + used) / share)


def _block(
    times: Times, columns: Columns, demand: Demand, discipline: Discipline, work: PromptWork,
    moments: PromptMoments, capacity: Floats, rows: Ints,
) -> Interleaved:  # fmt: skip
    """Some columns."""
    c, n, cap = (x[rows] for x in (columns.config, columns.instances, columns.max_batch))
    lengths = outputs(demand)
    share, weight = prompts_at(times.stages, demand)
    return interleave(
        PromptWork(*(getattr(work, name)[c] for name in PromptWork.__dataclass_fields__)),
        times.step_s[c, : cap.max(initial=1)],
        weight=weight,
        arrival_rps=demand.rate_rps / n,
        decode_steps=demand.decode_steps,
        cap=cap,
        scheduler=discipline.scheduler,
        budget_tokens=times.chunk_tokens * times.machines.dp[c, 0],
        moments=moments.take(c),
        outputs=lengths,
        stream=_stream(demand, discipline, n, capacity[rows], moments.w[c]),
        central=discipline.routing == "central",
        prompt_share=share,
        cycles=taken(times.cycles, c, cap.max(initial=1)),
    )


def _stream(
    demand: Demand, discipline: Discipline, instances: Ints, capacity: Floats, work_s: Floats
) -> Stream:
    """Arrivals at an instance; a queue sees the dispersion of the time it remembers.

    t = S / (n (1 - rho)^2), S = E[w].
    """
    traffic = demand.traffic
    scv: Floats | float = traffic.arrival_scv
    if traffic.dispersion != traffic.arrival_scv:
        spare = np.maximum(1 - demand.rate_rps / capacity, 0.01)
        memory = work_s / (instances * spare**2)
        scv = index_of_dispersion(
            memory, traffic.arrival_scv, traffic.dispersion, traffic.dispersion_s
        )
    return instance_stream(
        discipline.routing,
        demand.rate_rps,
        instances,
        scv,
        traffic.dispersion,
        traffic.dispersion_s,
    )
