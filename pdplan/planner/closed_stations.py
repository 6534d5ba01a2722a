"""A fleet's pools as stations of a closed network: how fast they work on k requests.

Pools that take requests work in passes: with j at an instance, half as many wait as are in its
pass, b = j / 1.5, and it finishes b / (alone + (b - 1) added) a second. Pools that decode have
mu(k) = k / (m tau(k / n)) up to their batch limit. `closed_colocated` has pools that do both.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.planner.closed_colocated import ClosedInstance
from pdplan.planner.fleet import Member
from pdplan.pools.demand import Demand
from pdplan.pools.load import occupancy
from pdplan.pools.request_pool import shared_host_s
from pdplan.pools.table import PoolTable
from pdplan.pools.times import Times
from pdplan.queueing.closed_network import spread_rates

LONGEST = 512
"""Longest queue of one server in `open_stay_s`."""

GATHERED = 1.5
"""Requests at an instance over those in its pass: a pass takes all who wait, and as many come
while it lasts, half of them in mean."""
SEVERAL = 2.0
"""Requests at least from which passes are full; longer prompts leave no pass half empty."""


def host_s(member: Member, times: Times, demand: Demand) -> Floats:
    """Host time to prepare media before a pool [S]."""
    together = member.discipline.together(member.pool.stages, member.pool.instances)
    found: Floats = shared_host_s(times, demand, together)[0]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Passes:
    """Instances of an E, P or EP pool."""

    servers: int
    """Instances, or groups that share a request's images."""
    alone_s: float
    added_s: float
    """What one more request adds to a pass, so that full ones take what physics gives them."""
    most: float
    """Requests in a full pass."""
    scv: float
    traversal_s: float
    """Time that a request is under way beyond what it occupies: other stages of a pipeline."""

    @classmethod
    def of(cls, member: Member, times: Times, demand: Demand) -> "Passes":
        """Read off the occupancy of a pool of one column."""
        workers = member.discipline.together(member.pool.stages, member.pool.instances)
        found = occupancy(times, demand, workers)
        alone, pp = float(found.services.mean_s[0]), float(times.machines.pp[0, 0])
        most = max(1 / float(found.fill[0]), SEVERAL)
        full = most / float(found.capacity_rps()[0])
        lone = times.stages == "E"
        return cls(
            servers=max(member.pool.instances // workers, 1),
            alone_s=alone,
            added_s=alone if lone else max((full - alone) / (most - 1), 0.0),
            most=1.0 if lone else most,
            scv=float(found.services.scv[0]),
            traversal_s=(pp - 1) * alone,
        )

    def together(self, here: Floats) -> Floats:
        """Requests in a pass while so many are at the instance."""
        return np.clip(here / GATHERED, 1.0, self.most)

    def rate_rps(self, here: Floats) -> Floats:
        """Rate while so many are at the instance."""
        batch = self.together(here)
        return np.asarray(batch / (self.alone_s + (batch - 1) * self.added_s))


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """A pool in a closed network of requests."""

    rates: Floats
    """mu at each of the numbers of requests asked for [1/s], of requests that visit it."""
    serving: Floats
    """Mean number of requests that do not wait, at each of them."""
    servers: float
    """Requests up to which nobody waits."""
    passes: Passes | None = None
    """Of pools that take requests; the others share their time between requests."""

    @property
    def level(self) -> bool:
        """Whether its requests wait in one line."""
        return self.passes is not None and np.isfinite(self.servers)


def step_at(table: PoolTable, demand: Demand, batch: Floats) -> Floats:
    """Decode step of a pool of one column at any batch [s], undisturbed by prompts."""
    step = table.times.step_s[0]
    return np.asarray(np.interp(batch, np.arange(1.0, len(step) + 1), step))


def station(
    member: Member, table: PoolTable, demand: Demand, counts: Floats,
    instance: ClosedInstance | None,
) -> Station:  # fmt: skip
    """Make a station of a pool, at numbers of requests of 1 and more."""
    n, cap, routing = member.pool.instances, member.pool.max_batch, member.discipline.routing
    if "D" not in table.stages:
        passes = Passes.of(member, table.times, demand)
        rates = pooled(passes.rate_rps, counts, routing, passes.servers)
        in_line = one_line(routing, passes.servers)
        serving = np.minimum(counts, np.minimum(rates * passes.alone_s, passes.servers))
        return Station(rates, serving, passes.servers if in_line else np.inf, passes)
    batches = np.minimum(np.arange(1.0, cap + 1), cap)
    if instance is not None:
        each = instance.rate_rps(batches)
    else:
        each = batches / (demand.decode_steps * step_at(table, demand, batches))
    rates = pooled(lambda here: np.interp(here, batches, each), counts, routing, n)
    serving = np.full(len(counts), float(n * cap))
    if not one_line(routing, n):
        known = n * np.interp(rates / n, np.maximum.accumulate(each), batches)
        short = cap / float(np.interp(cap, counts, known)) - 1
        serving = known * (1 + short * np.minimum(cap / counts, 1.0))
        serving = np.where(counts <= cap, counts, serving)
    return Station(rates, np.minimum(serving, counts), n * cap)


def one_line(routing: str, instances: int) -> bool:
    """Whether the router keeps instances at the same number of requests."""
    return instances == 1 or routing in ("least_loaded", "central")


def pooled(one: Callable[[Floats], Floats], counts: Floats, routing: str, instances: int) -> Floats:
    """Rate of a pool from that of an instance with any number of requests from 1.

    Kept level by the router, instances hold k / n each; else requests choose them by chance.
    """
    if one_line(routing, instances):
        each = counts / instances
        alone = counts * one(np.ones(1))
        return np.asarray(np.where(each < 1, alone, instances * one(np.maximum(each, 1.0))))
    lump = float(counts[0])
    return lump * spread_rates(one(counts) / lump, instances)


def open_stay_s(passes: Passes, rate_rps: float) -> float:
    """Mean time at a level pool in product form with Poisson arrivals."""
    counts = np.arange(1.0, LONGEST + 16 * passes.servers)
    rates = pooled(passes.rate_rps, counts, "central", passes.servers)
    logs = np.concatenate([[0.0], np.cumsum(np.log(rate_rps) - np.log(rates))])
    share = np.exp(logs - logs.max())
    return float(share[1:] @ counts / share.sum()) / rate_rps
