"""`evaluate`: what a given fleet delivers, at its own rate, at others, or at the most it takes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pdplan.errors import InfeasibleError, SpecError, UnfitError
from pdplan.placement import parse_placement
from pdplan.plan import Objective, Plan
from pdplan.planner.binding import broken_by
from pdplan.planner.describe import describe
from pdplan.planner.fleet import Fleet, Member
from pdplan.planner.goals import goals
from pdplan.planner.place import Selected
from pdplan.planner.shapes import default_weight_dtype, make_shape, misfit
from pdplan.pools.demand import demand
from pdplan.pools.load import Discipline
from pdplan.pools.times import stage_times
from pdplan.specs.plan_file import PlanSpec, PoolSpec
from pdplan.specs.write import rate_text, workload_text
from pdplan.stages.machine import Shape


def evaluate(spec: PlanSpec, *, rate_rps: float | None = None) -> Plan:
    """Predict what a fleet delivers; at another rate if asked.

    Raises UnfitError where a pool cannot hold or run the model.
    """
    return evaluated(fleet_from(spec, rate_rps))


def max_rate(spec: PlanSpec) -> Plan:
    """Evaluate a fleet at the largest rate that keeps every objective, to 0.1 %.

    Raises InfeasibleError where even a trickle misses an objective.
    """
    fleet = fleet_from(spec)
    saturated = min(float(table.capacity_rps[0]) for table in fleet.chain().tables)
    least = min(fleet.demand.rate_rps, saturated) * 1e-3

    def keeps(rate: float) -> bool:
        trial = at_rate(fleet, rate)
        return all(broken_by(trial, i) is None for i in range(len(trial.members)))

    if not keeps(least):
        trial = at_rate(fleet, least)
        broken = next(b for i in range(len(trial.members)) if (b := broken_by(trial, i)))
        message = f"no rate keeps the objectives: at {least:.3g} req/s {broken}"
        raise InfeasibleError(message)
    low, high = least, least
    while keeps(high):
        low, high = high, high * 2
    while high - low > 1e-3 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return evaluated(at_rate(fleet, low))


def at_rate(fleet: Fleet, rate_rps: float) -> Fleet:
    """Give the same fleet another rate."""
    traffic = replace(fleet.demand.traffic, rate_rps=rate_rps)
    workload = dict(fleet.workload) | {"rate": rate_text(rate_rps)}
    return replace(fleet, demand=replace(fleet.demand, traffic=traffic), workload=workload)


def evaluated(fleet: Fleet) -> Plan:
    """Write down what a fleet delivers, and what of its objectives it misses."""
    broken = []
    for i, member in enumerate(fleet.members):
        what = broken_by(fleet, i)
        if what is not None:
            broken.append(f"{member.name}: {what.replace('would be', 'is')}")
    worth = fleet.usd_per_hour
    return describe(
        fleet,
        status="infeasible" if broken else "feasible",
        objective=Objective("cost", worth, None, None),
        binding=tuple(dict.fromkeys(broken)),
    )


def fleet_from(spec: PlanSpec, rate_rps: float | None = None) -> Fleet:
    """Build the fleet that a plan file describes."""
    traffic = spec.traffic if rate_rps is None else replace(spec.traffic, rate_rps=rate_rps)
    work = demand(spec.model, traffic)
    workload: Mapping[str, Any] = workload_text(
        spec.workload, spec.workload_id, traffic, spec.workload_folder
    )
    fleet = Fleet(
        placement=parse_placement(spec.placement),
        members=tuple(_member(spec, pool) for pool in spec.pools),
        demand=work,
        goals=goals(work),
        model_id=spec.model_id,
        model=spec.model,
        engine_id=spec.engine_id,
        engine=spec.engine,
        hardware=spec.hardware,
        workload=workload,
        first_token_from=spec.pools[-1].options.first_token_from,
        system=spec.system,
        whole_nodes=any(pool.options.whole_nodes for pool in spec.pools),
    )
    return replace(fleet, members=tuple(_with_batch(fleet, member) for member in fleet.members))


def _member(spec: PlanSpec, pool: PoolSpec) -> Member:
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
    if problem is not None:
        message = f"pool '{pool.name}': {problem}"
        raise SpecError(message)
    price = options.usd_per_gpu_hour
    source = "user" if price is not None else ""
    listed = hardware.price()
    if price is not None and (listed is None or listed.price != price):
        listed = next((offer for offer in hardware.prices if offer.price == price), None)
    if listed is not None:
        price, source = listed.price, listed.told
    return Member(
        name=pool.name,
        pool=Selected(pool.stages, shape, pool.instances, pool.max_batch or 0),
        discipline=Discipline(options.routing, options.scheduler),
        chunk_tokens=options.chunk_tokens or spec.engine.defaults.chunk_tokens,
        usd_per_gpu_hour=price,
        price_source=source,
    )


def _with_batch(fleet: Fleet, member: Member) -> Member:
    """Limit the batch to what fits; raises UnfitError where not even one request does."""
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
    if "D" not in pool.stages:
        return replace(member, pool=replace(pool, max_batch=1))
    batch = int(min(np.floor(times.resident[0]), pool.max_batch or most))
    return replace(member, pool=replace(pool, max_batch=batch))
