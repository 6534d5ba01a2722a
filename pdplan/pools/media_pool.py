"""The stage M under load: video decoders or CPU cores on the devices of the pool that encodes."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import Wait
from pdplan.queueing.one_by_one import Services, request_queue
from pdplan.stages.media import MediaTimes, decode_s

EPS = 1e-9
SATURATED = 0.995
"""Utilization of the engines that a plan may come to at most."""


def media_pool(times: Times, columns: Columns, demand: Demand) -> PoolTable:
    """Wait and time of media before they are encoded; what it runs on is paid for by others.

    One queue, first come first served. `nvdec`: every decoder is a server that takes a clip whole.
    `flashcodec`: the accelerators of all instances form even groups of at most K, each one fast
    server: a clip occupies it for G t_gop / (K e), for a decoder that is done goes on with the next
    clip, and takes ceil(G / (K e)) t_gop. `cpu`: the cores of an instance are one fast server.
    Images and sound beside a video decoder are a delay that occupies nothing. Where only some media
    are video the wait is spread over all requests with media: its mean is exact.

    *Measured error* of `flashcodec`'s mean time against a simulation of single GOPs on single
    decoders (4 to 90 GOPs, constant and mixed, 5 to 40 decoders, utilization 0.3 to 0.9): 3 % on
    average, 7 % at worst.
    """
    found = times.media
    assert found is not None
    c = columns.config
    servers, occupied, own = _services(found.take(c), columns.instances)
    queued = np.asarray(demand.traffic.weight, float) * found.queued
    share = float(queued.sum())
    present = demand.media_share > 0 and share > 0
    weight = queued / share if present else np.full(len(queued), 1 / len(queued))
    services = Services.of(occupied, weight)
    rate = demand.rate_rps * share
    scv = 1 + share * (float(demand.traffic.arrival_scv) - 1)
    wait = request_queue(rate, services, servers, "central", scv)
    busy = np.maximum(rate * services.mean_s, 1e-300)
    capacity = servers / busy * demand.rate_rps
    met = share / demand.media_share if present else 1.0
    nothing = np.zeros(len(columns))
    return PoolTable(
        times=times,
        columns=columns,
        encode_s=own + wait.offset_s[:, None] * found.queued,
        prefill_s=np.zeros_like(own),
        encode_wait=_met(wait.first, met),
        prefill_wait=None,
        decode_wait=None,
        utilization=demand.rate_rps / capacity,
        capacity_rps=capacity,
        step_s=np.zeros((len(columns), 0)),
        tpot_mean_s=nothing + np.nan,
        mean_batch=nothing + 1,
        stable=demand.rate_rps < capacity,
        encode_more=_met(wait.more, met),
    )


def _services(found: MediaTimes, instances: Ints) -> tuple[Ints, Floats, Floats]:
    """Servers [K], how long a request occupies one and how long it takes alone [K, S]."""
    n = np.asarray(instances, np.int64)
    if found.engine == "cpu":
        cores = found.engines[:, None]
        rest = found.host_s - found.frames_s
        return n, found.host_s / cores, rest + found.frames_s / cores
    work = found.gops * found.gop_s
    each = found.engines / found.accelerators
    if found.engine == "nvdec":
        servers = n * found.engines.astype(np.int64)
        return servers, np.broadcast_to(work, found.host_s.shape), found.host_s + work
    total = n * found.accelerators
    groups = np.ceil(total / found.group - EPS)
    together = total / groups
    alone = decode_s(found.gops, found.gop_s, (np.floor(together + EPS) * each)[:, None])
    return groups.astype(np.int64), work / (together * each)[:, None], found.host_s + alone


def _met(wait: Wait, share: float) -> Wait:
    """The same wait of only a share of the requests."""
    return Wait(np.asarray(wait.probability) * share, wait.tail_mean_s, wait.follows)


def least_instances(times: Times, demand: Demand) -> Ints:
    """Instances of each candidate at which the engines bear the load [C]."""
    columns = Columns.of(np.arange(len(times)), np.ones(len(times), np.int64))
    one = media_pool(times, columns, demand).capacity_rps
    return np.asarray(np.floor(demand.rate_rps / (SATURATED * one)).astype(np.int64) + 1)
