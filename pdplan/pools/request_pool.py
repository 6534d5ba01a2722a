"""Pools that take requests, work on them in passes and hand them on: E, P and EP."""

from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
from pdplan.pools.gateway import retried
from pdplan.pools.measured_pool import measured_pool
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import Wait, routed_arrivals
from pdplan.queueing.batching import batched_queue
from pdplan.queueing.bursts import burst_wait
from pdplan.queueing.fork_join import parallel_s
from pdplan.queueing.one_by_one import Services, request_queue
from pdplan.queueing.passes import PromptSizes

SHORT = 0.95
"""Fill of a pass up to which a prompt tells what a pass costs before its tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """How requests occupy instances that hand them on, per candidate [C]; a pipeline's time / pp.

    A pass of prompts that fill u of its token budget takes base + u (full - base), encodings
    included; only short prompts tell the base: alone_s - full_s = base (1 - u) for each of them.
    """

    base_s: Floats
    """What a pass takes before any token."""
    full_s: Floats
    """A pass whose budget is filled with requests as they come."""
    fill: Floats
    """Share of a pass's token budget that a request takes; may exceed 1."""
    sizes: PromptSizes
    """What requests take of full passes."""
    services: Services
    """A request alone."""

    def capacity_rps(self) -> Floats:
        """Rate at which full passes saturate one instance."""
        return np.asarray(1 / (self.full_s * self.fill))


def occupancy(times: Times, demand: Demand, parallel_encode: int = 1) -> Occupancy:
    """Work out how requests occupy E, P and EP instances.

    Prompts share a pass up to the token budget; one that does not fit is cut, so that a saturated
    instance runs full passes only. Encoding is one request at a time: in an EP pool before the pass
    that it belongs to; in an E pool each is a full pass, and where k instances share a request's
    media, each of them has its part of it. Pipeline stages overlap requests: each delays by
    the whole traversal and occupies by the slowest stage, 1 / pp of it.
    """
    pp = times.machines.pp
    if times.stages == "E":
        return _encoding(times, demand, parallel_encode)
    weight = demand.weight()
    chunk, dp = float(times.chunk_tokens), times.machines.dp
    tokens = np.asarray(demand.new_tokens, float)[None, :]
    fill = tokens / (chunk * dp)
    passes = np.maximum(np.ceil(tokens / chunk - 1e-9), 1.0) + 0 * fill
    last = np.clip((tokens - (passes - 1) * chunk) / (chunk * dp), 1e-9, 1.0)
    base = _base_s(times, weight, fill, passes)[:, None]
    work = np.maximum(times.prefill_s - passes * base, 0.0) + times.encode_s
    mean_fill = fill @ weight
    slope = np.maximum(work @ weight / mean_fill, 1e-12)[:, None]
    alone = (times.prefill_s + times.encode_s) / pp
    return Occupancy(
        base_s=(base / pp)[:, 0],
        full_s=((base + slope) / pp)[:, 0],
        fill=mean_fill,
        sizes=PromptSizes.of(work / slope, passes, last, weight),
        services=Services.of(alone, weight),
    )


def _base_s(times: Times, weight: Floats, fill: Floats, passes: Floats) -> Floats:
    """Pass without tokens, [C]: from the prompts that leave room in theirs, by that room."""
    room = np.where(fill < SHORT, 1 - fill, 0.0) * weight
    gained = np.where(fill < SHORT, times.prefill_s - times.full_s, 0.0) * weight
    spare = room.sum(1)
    told = np.where(spare > 0, gained.sum(1) / np.where(spare > 0, spare, 1.0), 0.0)
    others = ((times.prefill_s - times.marginal_s) / passes) @ weight
    found = np.where(spare > 0, told, others)
    return np.asarray(np.clip(found, 0.0, (times.prefill_s / passes).min(axis=1)))


def _encoding(times: Times, demand: Demand, workers: int) -> Occupancy:
    """Requests with media in an E pool, each shared by so many instances."""
    weight = demand.weight(of_media=True)
    service = shared_encode_s(times, demand, workers) / times.machines.pp
    services = Services.of(service, weight)
    ones = np.ones_like(services.mean_s)
    return Occupancy(
        base_s=0 * ones,
        full_s=services.mean_s * workers,
        fill=ones,
        sizes=PromptSizes.equal(ones),
        services=services,
    )


def shared_encode_s(
    times: Times, demand: Demand, workers: Ints | int, config: Ints | slice = slice(None)
) -> Floats:
    """Device time of a request's media where so many instances share them [C, S].

    Of some candidates if asked, one a row, with the workers of each row [K].
    """
    alone = times.encode_s[config]
    if np.ndim(workers) == 0 and workers == 1:
        return alone
    shared = np.reshape(np.asarray(workers), (-1, 1))
    return parallel_s(alone, demand.media.pieces, shared, times.encode_fixed_s[config])


def shared_host_s(
    times: Times, demand: Demand, workers: Ints | int, config: Ints | slice = slice(None)
) -> Floats:
    """Host time to prepare a request's media where each instance prepares those it encodes [C, S].

    Whole images and frames are shared, as `shared_encode_s` shares tiles of them.
    """
    alone = times.host_s[config]
    if np.ndim(workers) == 0 and workers == 1:
        return alone
    return parallel_s(alone, demand.media.items + demand.media.frames, np.reshape(workers, (-1, 1)))


def request_pool(
    times: Times, columns: Columns, demand: Demand, discipline: Discipline
) -> PoolTable:
    """Pools that take requests, work on them in passes and hand them on: E, P and EP."""
    if times.stages == "E":
        return _encode_pool(times, columns, demand, discipline)
    if demand.options.measured is not None:
        return measured_pool(times, columns, demand)
    c, n = columns.config, columns.instances
    occupied = occupancy(times, demand)
    sizes, full = occupied.sizes.take(c), occupied.full_s[c]
    capacity = n * occupied.capacity_rps()[c]
    queue = batched_queue(
        np.asarray(demand.rate_rps),
        occupied.base_s[c],
        full,
        sizes,
        n,
        discipline.routing,
        _dispersion(demand),
    )
    work = sizes.mean * full
    pp = times.machines.pp
    piped = 1 - (1 - 1 / np.maximum(times.passes, 1.0)) * (1 - 1 / pp)
    felt = queue.wait.offset_s + queue.shared_s * (pp[c, 0] - 1)
    own = (times.prefill_s * piped + times.machines.request_s)[c]
    return PoolTable(
        times=times,
        columns=columns,
        encode_s=(times.encode_s + times.host_s)[c],
        prefill_s=own + felt[:, None],
        encode_wait=None,
        prefill_wait=retried(queue.wait.first, demand),
        decode_wait=None,
        utilization=demand.rate_rps / capacity,
        capacity_rps=capacity,
        step_s=np.zeros((len(columns), 0)),
        tpot_mean_s=np.full(len(columns), np.nan),
        mean_batch=queue.batch,
        stable=demand.rate_rps < capacity,
        prefill_more=queue.wait.more,
        burst_wait=_bursts(demand, demand.rate_rps, work, sizes.scv, n, discipline.routing),
    )


def _encode_pool(
    times: Times, columns: Columns, demand: Demand, discipline: Discipline
) -> PoolTable:
    """One request at a time on each instance, or on each group that shares its media.

    A group has no more instances than there are; instances beyond whole groups stay idle.
    """
    c = columns.config
    workers = np.minimum(discipline.parallel_encode, columns.instances)
    groups = columns.instances // workers
    weight = demand.weight(of_media=True)
    if discipline.parallel_encode == 1:
        shared = times.encode_s
        found = Services.of(shared / times.machines.pp, weight)
        mine = Services(found.mean_s[c], found.scv[c], found.skew[c])
        shared, host = shared[c], times.host_s[c]
    else:
        shared = shared_encode_s(times, demand, workers, c)
        host = shared_host_s(times, demand, workers, c)
        mine = Services.of(shared / times.machines.pp[c], weight)
    rate = demand.rate_rps * demand.media_share
    wait = request_queue(
        rate, mine, groups, discipline.routing, _dispersion(demand, demand.media_share)
    )
    busy = np.maximum(rate * mine.mean_s, 1e-300)
    capacity = groups / busy * demand.rate_rps
    own = shared + host
    return PoolTable(
        times=times,
        columns=columns,
        encode_s=own + wait.offset_s[:, None] * demand.media.present,
        prefill_s=np.zeros_like(own),
        encode_wait=wait.first,
        prefill_wait=None,
        decode_wait=None,
        utilization=demand.rate_rps / capacity,
        capacity_rps=capacity,
        step_s=np.zeros((len(columns), 0)),
        tpot_mean_s=np.full(len(columns), np.nan),
        mean_batch=np.ones(len(columns)),
        stable=demand.rate_rps < capacity,
        encode_more=wait.more,
        burst_wait=_bursts(demand, rate, mine.mean_s, mine.scv, groups, discipline.routing),
    )


def _dispersion(demand: Demand, picked: float = 1.0) -> float:
    """Variability of the arrivals but for bursts; of a share picked at random, that of its excess.

    Bursts come on top as a wait of their own.
    """
    return 1 + picked * (float(demand.traffic.arrival_scv) - 1)


def _bursts(
    demand: Demand,
    rate_rps: float,
    service_s: Floats,
    service_scv: Floats,
    servers: Ints,
    routing: str,
) -> Wait | None:
    """Wait that bursts add to a pool [K]; where requests are dealt out, every instance has it."""
    bursts = demand.traffic.bursts
    if bursts is None:
        return None
    rate, count, _ = routed_arrivals(routing, rate_rps, servers)
    return burst_wait(
        rate,
        service_s,
        service_scv,
        count,
        factor=bursts.factor,
        share=bursts.share,
        length_s=bursts.length_s,
    )
