"""A closed loop on a fleet: N requests are always in it, a new one comes when one leaves.

Pools are stations of a closed network (`closed_stations`); host times and transfers are delays.
The network gives the throughput X and, by Little's law, the mean time at every station; what an
arrival finds there, and all percentiles, are in `closed_requests`.
"""

from dataclasses import dataclass, replace

import numpy as np

from pdplan.errors import SpecError
from pdplan.physics.roofline import Floats
from pdplan.plan import Plan, PoolPlan, Prediction, Target
from pdplan.planner.closed_colocated import ClosedInstance
from pdplan.planner.closed_requests import serve
from pdplan.planner.closed_stations import Passes, host_s, open_stay_s, station
from pdplan.planner.closed_visits import Lane, Part, Visit, carried_rps, decoding, step_left_s
from pdplan.planner.evaluation import at_rate, evaluated, fleets_of
from pdplan.planner.fleet import Fleet, Fleets
from pdplan.planner.sampled import predicted
from pdplan.planner.settings import refuse_unfollowed
from pdplan.pools.decode_pool import outputs
from pdplan.queueing.closed_network import ClosedNetwork, regular_network
from pdplan.specs.plan_file import PlanSpec
from pdplan.specs.write import mean_rate_text
from pdplan.units import format_seconds

MOST_COUNTS = 2048
"""Numbers of requests that are told apart; where there are more, they move in lumps."""
ROUNDS = 4
"""Of throughput and delays, which hardly depend on it."""
NEARLY = 0.97
"""Load at which times that depend on it are read where the pools are saturated."""
OPEN = 0.9
"""Load up to which an open queue tells how much services vary."""
SCVS = (0.0, 4.0)
FULL = 0.98
"""Load from which a pool counts as saturated."""


def evaluate_closed(spec: PlanSpec, concurrency: int) -> Plan:
    """Predict what a fleet delivers while `concurrency` requests are always in it.

    Steady state; the rate of the answer is the throughput, X = N / E[E2E]. Raises UnfitError where
    a pool cannot hold or run the model, SpecError for less than one request.

    *Error* against simulation (`test_closed_fleet`; every placement but cross-attention, prompts
    and answers of cv 0.5 to 0.8, 1 to 600 requests): throughput within 2.5 %, mean TTFT 10 %, mean
    TPOT 1.5 %, its p90 5 %; TTFT p90 mostly within 15 %, up to 40 % where random routing fills one
    instance before another. Mean TTFT is 20 % low in pools that do both where N is just their
    batch limit. *Limits*: where all prompts and answers are of one length, requests stay in the
    groups that they came in: throughput holds, but in pools that do both TTFT is several times as
    long and TPOT a tenth shorter than said, and before prefill pools waits are up to 40 % too long.
    """
    if concurrency < 1:
        message = f"concurrency must be 1 or more; got {concurrency}"
        raise SpecError(message)
    fleets = fleets_of(spec)
    placements = [fleet.placement for fleet in fleets.groups]
    refuse_unfollowed("a closed loop", spec.options, placements, spec.model)
    loop = Loop.of(fleets, concurrency)
    prediction = loop.prediction()
    plan = evaluated(at_rate(loop.fleets, min(prediction.rate_rps, NEARLY * loop.capacity_rps)))
    pools = tuple(_pools(plan.pools, loop))
    several = len(prediction.classes) > 1
    binding = [
        f"{pool.name}: saturated at {pool.capacity_rps:.4g} req/s"
        for pool in pools
        if pool.utilization >= FULL
    ]
    binding += [
        f"network: carries {most:.4g} req/s of group {lane.fleet.placement.text}, fewer than these"
        for lane in loop.lanes
        if (most := carried_rps(lane.fleet)) < lane.share * prediction.rate_rps
    ]
    missed = [missed_words(t, several=several) for t in prediction.targets if not t.met]
    name = str(plan.workload.get("name") or "traffic")
    rate = mean_rate_text(prediction.rate_rps, loop.fleets.demand.traffic.peak_factor)
    tokens = prediction.output_tokens_per_s_per_gpu * plan.gpus * 3600
    cost = plan.cost_usd_per_hour
    return replace(
        plan,
        status="infeasible" if missed else "feasible",
        prediction=prediction,
        pools=pools,
        usd_per_million_output_tokens=None if cost is None else cost / tokens * 1e6,
        binding=(*binding, *missed),
        workload=dict(plan.workload)
        | {"name": f"{name}, {concurrency} in flight", "rate": rate}
        | {"concurrency": concurrency},
    )


def missed_words(target: Target, *, several: bool) -> str:
    """Write an objective that is missed."""
    whose = f" of {target.request_class}" if several else ""
    return (
        f"{target.what}{whose} is "
        f"{format_seconds(target.predicted_s)} (objective {format_seconds(target.objective_s)})"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Fleets with N requests in them."""

    fleets: Fleets
    requests: int
    lump: float
    """Requests that move as one."""
    lanes: tuple[Lane, ...]
    network: ClosedNetwork
    capacity_rps: float
    """Rate at which the first pool saturates."""

    @classmethod
    def of(cls, fleets: Fleets, requests: int) -> "Loop":
        """Make the network and solve it."""
        lump = max(requests / MOST_COUNTS, 1.0)
        size = round(requests / lump)
        counts = lump * np.arange(1.0, size + 1, dtype=np.float64)
        total = fleets.demand.rate_rps
        lanes = tuple(_lane(f, f.demand.rate_rps / total, counts) for f in fleets.groups)
        capacity = min(
            min(carried_rps(lane.fleet), *(float(p.table.capacity_rps[0]) for p in lane.parts))
            / lane.share
            for lane in lanes
        )
        visited = [
            (lane, part, share) for lane in lanes for part in lane.parts
            if (share := lane.visits(part)) > 0
        ]  # fmt: skip
        rates = [part.station.rates / share / lump for _, part, share in visited]
        line = [part.station for _, part, _ in visited]
        servers = [s.servers / lump if s.level else size + 1.0 for s in line]
        rate = capacity / 2
        for _ in range(ROUNDS):
            read = min(rate, NEARLY * capacity)
            delay = sum(lane.share * _delay_s(lane, read * lane.share, requests) for lane in lanes)
            scvs = [_scvs(lane, part, read * lane.share) for lane, part, _ in visited]
            network, _ = regular_network(
                [*rates, np.arange(1, size + 1) / max(delay, 1e-9)], size,
                [*servers, size + 1.0], [*(a for a, _ in scvs), 1.0], [*(s for _, s in scvs), 1.0],
            )  # fmt: skip
            rate = network.throughput_rps * lump
        return cls(fleets, requests, lump, lanes, network, capacity)

    @property
    def rate_rps(self) -> float:
        """Throughput of the network."""
        return self.network.throughput_rps * self.lump

    def visits(self) -> list[list[Visit | None]]:
        """Visits of every lane's pools; None where nobody comes."""
        found: list[list[Visit | None]] = []
        column = 0
        for lane in self.lanes:
            found.append([])
            for part in lane.parts:
                share = lane.visits(part)
                if share == 0:
                    found[-1].append(None)
                    continue
                at, seen = self.network.at[column], self.network.seen[column]
                found[-1].append(Visit.of(part, at, seen, self.lump, self.rate_rps * share))
                column += 1
        return found

    def prediction(self) -> Prediction:
        """Latencies, at the rate that Little's law gives with them."""
        read = min(self.rate_rps, NEARLY * self.capacity_rps)
        served = [
            serve(lane, visits, lane.share * self.rate_rps, lane.share * read, self.requests)
            for lane, visits in zip(self.lanes, self.visits(), strict=True)
        ]
        mean = sum(s.share * float(s.draws.weight @ s.e2e_s) for s in served)
        return predicted(self.fleets, served, self.requests / mean)


def _lane(fleet: Fleet, share: float, counts: Floats) -> Lane:
    chain = fleet.chain()
    parts = []
    for member, table in zip(fleet.members, chain.tables, strict=True):
        both = "P" in table.stages and "D" in table.stages
        instance = ClosedInstance.of(member, table.times, fleet.demand) if both else None
        made = station(member, table, fleet.demand, counts, instance)
        parts.append(Part(member, table, instance, made))
    return Lane(fleet, share, tuple(parts))


def _scvs(lane: Lane, part: Part, rate_rps: float) -> tuple[float, float]:
    """Variability of arrivals at a pool and of its services.

    Answers of different lengths end in another order than they began: with g the deviation of the
    time in decode over the time between two arrivals, Ca^2 = g^2 / (1 + g^2). What services vary
    is read off the same pool in an open loop: (1 + Cs^2) / 2 times as long in its queue as if they
    were exponential.
    """
    passes = part.station.passes
    if passes is None or not part.station.level:
        return 1.0, 1.0
    demand = lane.fleet.demand
    here = lane.parts[-1].member.pool.instances * decoding(lane, rate_rps)
    gaps = float(np.sqrt(outputs(demand).scv)) * here
    visits = lane.visits(part) / lane.share
    load = min(rate_rps, OPEN * float(part.table.capacity_rps[0]))
    stay = part.stay_s(at_rate(Fleets.one(lane.fleet), load).first) - passes.traversal_s
    chance = open_stay_s(passes, load * visits)
    spread = (stay - passes.alone_s) / max(chance - passes.alone_s, 1e-12)
    return gaps**2 / (1 + gaps**2), float(np.clip(2 * spread - 1, *SCVS))


def _delay_s(lane: Lane, rate_rps: float, requests: int) -> float:
    """Mean time of a request at no station."""
    demand = lane.fleet.demand
    found = sum(float(demand.mean(x)) for x in lane.transfers_s(rate_rps))
    for part in lane.parts:
        times = part.table.times
        found += float(demand.mean(host_s(part.member, times, demand)))
        if "P" in times.stages:
            found += float(times.machines.request_s[0, 0])
        if "D" not in times.stages:
            share = demand.media_share if times.stages == "E" else 1.0
            found += share * Passes.of(part.member, times, demand).traversal_s
    return found + step_left_s(lane, rate_rps, requests)


def _pools(pools: tuple[PoolPlan, ...], loop: Loop) -> list[PoolPlan]:
    parts = [part for lane in loop.lanes for part in lane.parts]
    visits = [visit for lane in loop.visits() for visit in lane]
    shares = [lane.share for lane in loop.lanes for _ in lane.parts]
    found = []
    for pool, part, visit, share in zip(pools, parts, visits, shares, strict=True):
        load = min(loop.rate_rps * share / pool.capacity_rps, 1.0)
        batch = pool.mean_batch
        if visit is not None and batch is not None:
            batch = visit.in_service / part.member.pool.instances
            if part.instance is not None:
                batch = float(part.instance.at(batch).batch[0]) * min(batch, 1.0)
        found.append(replace(pool, utilization=load, mean_batch=batch))
    return found
