"""`solve` and `compare`: every placement tried, the best one proven, the others explained."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pdplan.errors import SpecError, UnfitError
from pdplan.placement import COVERED, Placement, parse_placement
from pdplan.plan import Alternative, Objective, Plan, SolverReport
from pdplan.planner.binding import binding
from pdplan.planner.context import Context
from pdplan.planner.describe import describe, pool_name
from pdplan.planner.fleet import Fleet, Member
from pdplan.planner.place import Placed, place
from pdplan.specs.scenario import Scenario
from pdplan.specs.write import workload_mapping


def solve(scenario: Scenario, *, system: str | None = None) -> Plan:
    """Find the fleet that serves the scenario's objective best, over all its placements.

    Returns a plan whose status is `optimal`, or `infeasible` with the reason.
    Raises SpecError or UnfitError where the scenario asks for what cannot be.
    """
    _no_system(system)
    started = time.perf_counter()
    context = Context.of(scenario)
    placed, unfit = _place_all(context)
    best = min(placed, key=_rank, default=None)
    report = _report(placed, time.perf_counter() - started)
    if best is None or best.choice is None or best.choice.columns is None:
        return _no_plan(context, placed, unfit, report)
    others = [_alternative(context, p) for p in placed if p is not best] + unfit
    return _plan(context, best, others, report)


def compare(scenario: Scenario) -> tuple[Alternative, ...]:
    """Plan every placement; each with its plan, or with the reason why there is none."""
    context = Context.of(scenario)
    placed, unfit = _place_all(context)
    found = []
    for p in placed:
        row = _alternative(context, p)
        if row.reason is None:
            row = replace(row, plan=_plan(context, p, [], None))
        found.append(row)
    return tuple(sorted([*found, *unfit], key=_order))


def _rank(placed: Placed) -> tuple[float, int, str]:
    return _order(Alternative(placement=placed.placement.text, objective=placed.objective))


def _order(row: Alternative) -> tuple[float, int, str]:
    """Best first; of equal ones that with the fewest pools."""
    worth = row.objective if row.objective is not None else np.inf
    return round(worth, 9), row.placement.count("-"), row.placement


def _no_system(system: str | None) -> None:
    if system is not None:
        message = f"unknown system '{system}': no published system is available as a preset yet"
        raise SpecError(message)


def _place_all(context: Context) -> tuple[list[Placed], list[Alternative]]:
    """Try every placement of the search; those that make no sense here say why."""
    wanted = context.scenario.search.placements or COVERED
    _check_roles(context, wanted)
    placed, unfit = [], []
    for text in wanted:
        placement = parse_placement(text)
        problem = _unsuited(context, placement)
        if problem is None:
            placed.append(place(context, placement))
        else:
            unfit.append(Alternative(placement=text, reason=problem))
    if not placed and len(wanted) < len(COVERED):
        raise UnfitError("; ".join(f"placement {u.placement}: {u.reason}" for u in unfit))
    return placed, unfit


def _check_roles(context: Context, wanted: Sequence[str]) -> None:
    """Refuse pins for a pool that no placement tried has."""
    pools = {pool for text in wanted for pool in parse_placement(text).pools}
    for stages in context.scenario.search.roles:
        if stages not in pools:
            message = f"role {stages}: no placement tried has such a pool; pools: "
            raise SpecError(message + ", ".join(sorted(pools)))


def _unsuited(context: Context, placement: Placement) -> str | None:
    media = context.demand.media.any
    if placement.encodes and not media:
        return f"no request carries media: the same as {_without_encode(placement)}"
    if media and not placement.encodes:
        return "the workload carries media and no stage encodes them"
    return None


def _without_encode(placement: Placement) -> str:
    return "-".join(p.replace("E", "") for p in placement.pools if p != "E")


def _report(placed: list[Placed], seconds: float) -> SolverReport:
    proven = all(p.choice is None or p.choice.status != "feasible" for p in placed)
    return SolverReport(
        name="HiGHS" if any(p.programs for p in placed) else "bounds alone",
        status="optimal" if proven else "feasible",
        seconds=round(seconds, 6),
        columns=sum(p.columns for p in placed),
        cuts=sum(p.cuts for p in placed),
    )


def fleet_of(context: Context, placed: Placed) -> Fleet:
    """Assemble the fleet that a placement's solution chose."""
    scenario = context.scenario
    offers = {choice.id: choice for choice in scenario.hardware}
    members = tuple(
        Member(
            name=pool_name(pool.stages),
            pool=pool,
            discipline=context.discipline(placed.variant),
            chunk_tokens=placed.variant.chunk_tokens,
            usd_per_gpu_hour=offers[pool.shape.hardware].usd_per_hour,
            price_source=offers[pool.shape.hardware].price_source,
        )
        for pool in placed.pools
    )
    return Fleet(
        placement=placed.placement,
        members=members,
        demand=context.demand,
        goals=context.goals,
        model_id=scenario.model_id,
        model=scenario.model,
        engine_id=scenario.engine_id,
        engine=scenario.engine,
        hardware=context.hardware,
        workload=workload_mapping(scenario),
        first_token_from=scenario.first_token_from,
        whole_nodes=scenario.limits.whole_nodes,
    )


def _plan(
    context: Context,
    placed: Placed,
    alternatives: list[Alternative],
    report: SolverReport | None,
) -> Plan:
    assert placed.choice is not None
    choice = placed.choice
    fleet = fleet_of(context, placed)
    if report is not None and choice.status == "feasible":
        report = replace(report, status="feasible")
    return describe(
        fleet,
        status="optimal" if choice.status == "optimal" else "feasible",
        objective=Objective(context.scenario.objective, choice.objective, choice.bound, choice.gap),
        binding=binding(context, fleet, choice),
        alternatives=sorted(alternatives, key=_order),
        solver=report,
    )


def _alternative(context: Context, placed: Placed) -> Alternative:
    if placed.choice is None or placed.choice.columns is None:
        from pdplan.planner.infeasible import reason  # only where something fails

        return Alternative(placement=placed.placement.text, reason=reason(context, placed))
    fleet = fleet_of(context, placed)
    return Alternative(
        placement=placed.placement.text,
        label=placed.placement.label(tuple(p.instances for p in placed.pools)),
        cost_usd_per_hour=fleet.usd_per_hour,
        gpus=fleet.gpus,
        objective=placed.objective,
    )


def _no_plan(
    context: Context, placed: list[Placed], unfit: list[Alternative], report: SolverReport
) -> Plan:
    from pdplan.planner.infeasible import why_none

    scenario = context.scenario
    found = why_none(context, placed)
    rows = [_alternative(context, p) for p in placed] + unfit
    return Plan(
        status="infeasible",
        placement=scenario.search.placements[0] if len(scenario.search.placements) == 1 else "auto",
        system=None,
        label="",
        objective=Objective(scenario.objective, None, None, None),
        cost_usd_per_hour=None,
        usd_per_million_output_tokens=None,
        gpus=0,
        power_w=None,
        model=scenario.model_id,
        workload=workload_mapping(scenario),
        engine=scenario.engine_id,
        pools=(),
        transfers=(),
        prediction=None,
        binding=(found.limit,),
        alternatives=tuple(sorted(rows, key=_order)),
        infeasible=found,
        provenance=(),
        solver=report,
    )
