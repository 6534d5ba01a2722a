"""Pools that take requests, work on them in passes and hand them on: E, P and EP."""

from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
from pdplan.pools.table import Columns, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import batched_queue, routed_arrivals


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


def request_pool(
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
