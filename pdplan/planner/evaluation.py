"""`evaluate`: what a given fleet delivers, at its own rate, at others, or at the most it takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pdplan.errors import InfeasibleError, SpecError, UnfitError
from pdplan.placement import parse_placement
from pdplan.plan import Objective, Plan
from pdplan.planner.affinity import check_pairs, paired
from pdplan.planner.binding import broken_by
from pdplan.planner.describe import describe
from pdplan.planner.fleet import Fleet, Fleets, Member
from pdplan.planner.goals import goals
from pdplan.planner.halves import joined_rows
from pdplan.planner.local_shares import with_share
from pdplan.planner.media_candidates import media_option
from pdplan.planner.overload import with_overload
from pdplan.planner.place import Selected
from pdplan.planner.shapes import default_weight_dtype, make_shape, misfit
from pdplan.planner.shared_fleet import limited, together
from pdplan.pools.demand import Demand, demand, demand_with
from pdplan.pools.load import Discipline
from pdplan.pools.needed import all_served, served
from pdplan.pools.subset import demand_of
from pdplan.pools.times import resident_at, stage_times
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.plan_file import Group, PlanSpec, PoolSpec
from pdplan.specs.write import mean_rate_text, workload_text
from pdplan.stages.machine import Shape
from pdplan.stages.pruning import uneven


def evaluate(spec: PlanSpec, *, rate_rps: float | None = None) -> Plan:
    """Predict what a fleet delivers; at another rate if asked.

    Raises UnfitError where a pool cannot hold or run the model.
    """
    return evaluated(fleets_of(spec, rate_rps))


def max_rate(spec: PlanSpec) -> Plan:
    """Evaluate a fleet at the largest rate that keeps every objective, to 0.1 %.

    Where classes have fleets of their own, all rates grow alike. Raises InfeasibleError where even
    a trickle misses an objective.
    """
    fleets = fleets_of(spec)
    rate = fleets.demand.rate_rps
    saturated = min(
        float(table.capacity_rps[0]) * rate / group.demand.rate_rps
        for group in fleets.groups
        for table in group.chain().tables
    )
    least = min(rate, saturated) * 1e-3

    def keeps(rate: float) -> bool:
        return not any(_broken(at_rate(fleets, rate)))

    if not keeps(least):
        name, broken = next(_broken(at_rate(fleets, least)))
        broken = f"{name}: {broken}" if len(fleets.groups) > 1 else broken
        message = f"no rate keeps the objectives: at {least:.3g} req/s {broken}"
        raise InfeasibleError(message)
    low, high = least, least
    while keeps(high):
        low, high = high, high * 2
    while high - low > 1e-3 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return evaluated(at_rate(fleets, low))


def at_rate(fleets: Fleets, rate_rps: float) -> Fleets:
    """Give the same fleets another rate in all, that of the busiest time of day.

    Every class keeps its share.
    """
    factor = rate_rps / fleets.demand.rate_rps
    text = mean_rate_text(rate_rps, fleets.demand.traffic.peak_factor)

    def scaled(demand: Demand) -> Demand:
        rate = demand.rate_rps * factor if demand is not fleets.demand else rate_rps
        traffic = replace(demand.traffic, rate_rps=rate)
        return replace(demand, traffic=traffic, options=all_served(demand.options))

    groups = tuple(
        replace(
            group,
            demand=scaled(group.demand),
            workload=dict(group.workload) | {"rate": text},
            known={},
        )
        for group in fleets.groups
    )
    return Fleets(groups, scaled(fleets.demand))


def _broken(fleets: Fleets) -> Iterator[tuple[str, str]]:
    """Pools and what fails there."""
    for group in fleets.groups:
        for i, member in enumerate(group.members):
            what = broken_by(group, i)
            if what is not None:
                yield member.name, what


def evaluated(fleets: Fleets) -> Plan:
    """Write down what fleets deliver, and what of their objectives they miss.

    Where more comes than they carry, that they have no steady state instead.
    """
    broken = [f"{name}: {what.replace('would be', 'is')}" for name, what in _broken(fleets)]
    plan = describe(
        fleets,
        status="infeasible" if broken else "feasible",
        objective=Objective("cost", fleets.usd_per_hour, None, None),
        binding=tuple(dict.fromkeys(broken)),
    )
    return with_overload(plan)


def fleets_from(spec: PlanSpec, rate_rps: float | None = None) -> tuple[Fleet, ...]:
    """Build the fleet of each group of classes, each with the demand of its own classes."""
    return fleets_of(spec, rate_rps).groups


def fleets_of(spec: PlanSpec, rate_rps: float | None = None) -> Fleets:
    """Build the fleets that a plan file describes, with the demand of all of them."""
    traffic = spec.traffic if rate_rps is None else replace(spec.traffic, rate_rps=rate_rps)
    whole = served(demand(spec.model, traffic, spec.speculation, spec.options))
    workload: Mapping[str, Any] = workload_text(
        spec.workload, spec.workload_id, traffic, spec.workload_folder
    )
    groups = spec.groups
    names = [kind.name for kind in traffic.classes]
    found = []
    for group in groups:
        own = [names.index(name) for name in group.classes]
        work = demand_of(whole, own) if len(groups) > 1 else whole
        found.append(_fleet(spec, group, work, workload, apart=len(groups) > 1))
    return Fleets(tuple(found), whole)


def _fleet(
    spec: PlanSpec, group: Group, work: Demand, workload: Mapping[str, Any], *, apart: bool
) -> Fleet:
    placement = parse_placement(group.placement)
    options = media_option(work.options, placement)
    work = work if options == work.options else demand_with(work, options)
    shares = [pool.options.local_prefill for pool in group.pools]
    work = with_share(work, placement, next((s for s in shares if s is not None), None))
    fleet = Fleet(
        placement=placement,
        members=_members(spec, group.pools),
        demand=work,
        goals=goals(work),
        model_id=spec.model_id,
        model=spec.model,
        engine_id=spec.engine_id,
        engine=spec.engine,
        hardware=spec.hardware,
        workload=workload,
        first_token_from=group.pools[-1].options.first_token_from,
        system=spec.system,
        whole_nodes=any(pool.options.whole_nodes for pool in spec.pools),
        apart=apart,
    )
    if paired(work.options):
        check_pairs(
            [(m.pool.stages, m.pool.shape, m.pool.instances) for m in fleet.members],
            spec.hardware,
        )
    found: dict[int, Member] = {}
    for on in fleet.placement.devices:
        members = tuple(fleet.members[i] for i in on)
        if len(members) == 1:
            found[on[0]] = _with_batch(fleet, members[0])
        else:
            found |= zip(on, _on_devices(fleet, together(members)), strict=True)
    return replace(fleet, members=tuple(found[i] for i in range(len(found))))


def _on_devices(fleet: Fleet, members: tuple[Member, ...]) -> tuple[Member, ...]:
    """Limit the batches of processes on the same devices; beside M one may be alone."""
    media = tuple(m for m in members if m.pool.stages == "M")
    others = members[len(media) :]
    if len(others) == 1:
        return (*media, _with_batch(fleet, others[0]))
    return (*media, *limited(fleet, others))


def _members(spec: PlanSpec, pools: Sequence[PoolSpec]) -> tuple[Member, ...]:
    """Pools of a group; rows of both halves of decode are one."""
    rows = joined_rows([(pool, _shape(spec, pool)) for pool in pools])
    prices = {pool.hardware: pool.options.usd_per_gpu_hour for pool in pools}
    return tuple(_member(spec, pool, shape, prices) for pool, shape in rows)


def _shape(spec: PlanSpec, pool: PoolSpec) -> Shape:
    hardware, options = spec.hardware[pool.hardware], pool.options
    weight = pool.weight_dtype or default_weight_dtype(spec.model)
    shape = make_shape(
        spec.model, pool.hardware, pool.tp, pool.pp, pool.dp, pool.ep, weight, pool.kv_dtype
    )
    if options.moe_dtype is not None:
        shape = replace(shape, moe_dtype=options.moe_dtype)
    if options.moe_tp is not None:
        shape = replace(shape, moe_tp=options.moe_tp)
    if pool.stages == "E":
        shape = Shape(pool.hardware, tp=pool.tp, kv_dtype=pool.kv_dtype)
    problem = misfit(spec.model, hardware, shape, pool.stages)
    problem = problem or uneven(spec.model, spec.options.prune, pool.pp, pool.stages)
    if problem is not None:
        message = f"pool '{pool.name}': {problem}"
        raise SpecError(message)
    return shape


def _price(hardware: HardwareSpec, price: float | None) -> tuple[float | None, str]:
    """Price of an accelerator, as told or as listed, and its source."""
    source = "user" if price is not None else ""
    listed = hardware.price()
    if price is not None and (listed is None or listed.price != price):
        listed = next((offer for offer in hardware.prices if offer.price == price), None)
    if listed is not None:
        price, source = listed.price, listed.told
    return price, source


def _member(
    spec: PlanSpec, pool: PoolSpec, shape: Shape, prices: Mapping[str, float | None]
) -> Member:
    options = pool.options
    price, source = _price(spec.hardware[pool.hardware], options.usd_per_gpu_hour)
    others = [name for name, _ in shape.parts if name != shape.hardware]
    return Member(
        name=pool.name,
        pool=Selected(pool.stages, shape, pool.instances, pool.max_batch or 0, options.extras),
        discipline=Discipline(options.routing, options.scheduler, options.parallel_encode),
        chunk_tokens=options.chunk_tokens or spec.engine.defaults.chunk_tokens,
        usd_per_gpu_hour=price,
        price_source=source,
        other_prices=tuple(
            (name, *_price(spec.hardware[name], prices.get(name))) for name in others
        ),
    )


def _with_batch(fleet: Fleet, member: Member) -> Member:
    """Limit the batch to what fits beside what sessions keep; raises UnfitError where none does.

    What is kept between turns gives way to a request that runs.
    """
    pool, most = member.pool, fleet.engine.defaults.max_batch
    times = stage_times(
        pool.stages,
        [pool.shape],
        dict(fleet.hardware),
        fleet.engine,
        fleet.demand,
        largest_batch=max(pool.max_batch, most),
        chunk_tokens=member.chunk_tokens,
    )
    if not times.fits()[0]:
        memory = times.memory
        needed = float((memory.weights + memory.activations + memory.reserve)[0, 0])
        message = (
            f"pool '{member.name}': does not fit on {pool.shape.hardware} tp={pool.shape.tp}: "
            f"{needed / 1e9:.1f} GB needed before any cache, "
            f"{float(memory.limit[0, 0]) / 1e9:.1f} GB usable"
        )
        raise UnfitError(message)
    if "D" not in times.stages:
        return replace(member, pool=replace(pool, max_batch=1))
    one: Any = np.zeros(1, np.int64)
    room = float(resident_at(times, fleet.demand, np.array([float(pool.instances)]), one)[0])
    batch = int(min(max(np.floor(room), 1), pool.max_batch or most, times.step_s.shape[1]))
    return replace(member, pool=replace(pool, max_batch=batch))
