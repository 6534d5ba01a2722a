"""Pools of a closed loop as its requests visit them."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from pdplan.physics.roofline import Floats
from pdplan.planner.closed_colocated import ClosedInstance
from pdplan.planner.closed_stations import Station, host_s, step_at
from pdplan.planner.evaluation import at_rate
from pdplan.planner.fleet import Fleet, Fleets, Member
from pdplan.planner.place import network_load
from pdplan.pools.table import PoolTable


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One pool of a fleet, timed."""

    member: Member
    table: PoolTable
    instance: ClosedInstance | None
    station: Station

    def stay_s(self, fleet: Fleet) -> float:
        """Mean time in the queue and in service of a pool that hands on, in an open loop."""
        chain, demand = fleet.chain(), fleet.demand
        table = chain.tables[fleet.members.index(self.member)]
        waits = sum(float(np.asarray(wait.mean_s)[0]) for wait in table.waits)
        media = table.stages == "E"
        spent = table.encode_s + table.prefill_s - host_s(self.member, table.times, demand)
        if not media:
            spent = spent - table.times.machines.request_s
        return waits + float(demand.mean(spent, of_media=media)[0])


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """The fleet of a group of classes."""

    fleet: Fleet
    share: float
    """Of all requests."""
    parts: tuple[Part, ...]

    def visits(self, part: Part) -> float:
        """Visits of a pool for each request of the whole loop."""
        only_media = part.table.stages == "E"
        return self.share * (self.fleet.demand.media_share if only_media else 1.0)

    def transfers_s(self, rate_rps: float) -> tuple[Floats, Floats]:
        """Time on the way to prefill and to decode, at each support point."""
        chain = at_rate(Fleets.one(self.fleet), rate_rps).first.chain()
        moved, cached = chain.transfers_s(np.zeros((1, len(chain.tables)), np.int64))
        return moved[0], cached[0]

    @property
    def apart(self) -> bool:
        """Whether the last pool only decodes."""
        return self.fleet.placement.decode_apart


def carried_rps(fleet: Fleet) -> float:
    """Rate of a fleet's requests at which its network is full."""
    chain = fleet.chain()
    loads = [float(network_load(fleet.demand, fleet.placement, t).max()) for t in chain.tables]
    busiest = max(loads)
    return fleet.demand.rate_rps / busiest if busiest > 0 else np.inf


def step_left_s(lane: Lane, rate_rps: float, requests: int) -> float:
    """Mean time until the running step of a pool that only decodes ends; 0 for others."""
    if not lane.apart:
        return 0.0
    part = lane.parts[-1]
    batch = decoding(lane, rate_rps * (requests - 1) / requests)
    step = float(step_at(part.table, lane.fleet.demand, np.array(max(batch, 1.0))))
    return step / 2 * min(batch, 1.0)


def decoding(lane: Lane, rate_rps: float) -> float:
    """Requests in decode at an instance at a throughput, the time that prompts take left out."""
    demand, part = lane.fleet.demand, lane.parts[-1]
    each = rate_rps / part.member.pool.instances * demand.decode_steps
    batch = 0.0
    for _ in range(50):
        step = float(step_at(part.table, demand, np.array(max(batch, 1.0))))
        batch = min(each * step, part.member.pool.max_batch)
    return batch


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """A pool as the loop's requests meet it."""

    here: Floats
    """Numbers of requests there."""
    at: Floats
    """Their probabilities at any time."""
    seen: Floats
    """Those that an arriving request finds, itself left out."""
    serving: Floats
    """Of how many of them, none included, are not waiting."""
    rate_rps: float

    @classmethod
    def of(cls, part: Part, at: Floats, seen: Floats, lump: float, rate_rps: float) -> "Visit":
        """Read off a network that moves lumps."""
        serving = np.append(0.0, part.station.serving)
        return cls(
            lump * np.arange(len(at), dtype=np.float64), at, np.append(seen, 0.0), serving, rate_rps
        )

    @property
    def stay_s(self) -> float:
        """Mean time of a visit, by Little's law."""
        return float(self.at @ self.here) / self.rate_rps

    @property
    def in_service(self) -> float:
        """Mean number of requests that do not wait."""
        return float(self.at @ self.serving)

    def waits_s(self, scv: float, mean_s: float, place: Floats, noise: Floats) -> Floats:
        """Waits of a given mean: for as many services as requests are found waiting."""
        reached = np.cumsum(self.seen) - self.seen / 2
        free = (self.serving >= self.here) & (self.here < self.serving[-1])
        waiting = np.where(free, 0.0, self.here + 1 / 2 - self.serving)
        ahead = np.maximum(np.interp(place, reached, waiting), 0.0)
        shape = np.maximum(ahead + np.sqrt(scv * ahead) * ndtri(noise), 0.0)
        mean = float(shape.mean())
        return shape * (mean_s / mean) if mean > 0 else np.full(len(place), max(mean_s, 0.0))
