"""`solve` and `compare`: every placement tried, the best one proven, the others explained."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pdplan.errors import SpecError, UnfitError
from pdplan.placement import COVERED, Placement, parse_placement
from pdplan.plan import Alternative, Objective, Plan, SolverReport
from pdplan.planner.assembly import alternative, fleet_of, fleets_of_split, split_row
from pdplan.planner.binding import binding
from pdplan.planner.blocks import without_encode
from pdplan.planner.context import Context
from pdplan.planner.describe import describe
from pdplan.planner.fleet import Fleets
from pdplan.planner.place import Placed, place
from pdplan.planner.splitting import Split, Splits, may_split, splits_of
from pdplan.solver.problem import less
from pdplan.specs.scenario import Scenario
from pdplan.specs.write import workload_mapping


def solve(scenario: Scenario, *, system: str | None = None) -> Plan:
    """Find the fleet that serves the scenario's objective best, over all its placements.

    Where there are several classes of requests, also over who shares with whom.

    Returns a plan whose status is `optimal` (`feasible` where a limit of the search was reached),
    or `infeasible` with the reason. Raises SpecError or UnfitError where the scenario asks for
    what cannot be.
    """
    _no_system(system)
    started = time.perf_counter()
    context = Context.of(scenario)
    answer = _answer(context)
    report = _report(answer, time.perf_counter() - started)
    if answer.split is not None:
        return _split_plan(context, answer, report)
    if answer.shared is None:
        return _no_plan(context, answer, report)
    return _plan(context, answer.shared, answer.rows(context, answer.shared), report, answer.splits)


def compare(scenario: Scenario) -> tuple[Alternative, ...]:
    """Plan every placement; each with its plan, or with the reason why there is none.

    Where there are several classes of requests, the best split of them is one row more.
    """
    context = Context.of(scenario)
    answer = _answer(context)
    found = []
    for p in answer.placed:
        row = alternative(context, p)
        if row.reason is None:
            row = replace(row, plan=_plan(context, p, [], None))
        found.append(row)
    splits = answer.splits
    if splits is not None:
        row = split_row(splits)
        if splits.best is not None:
            row = replace(row, plan=_split_plan(context, replace(answer, split=splits.best), None))
        found.append(row)
    return tuple(sorted([*found, *answer.unfit], key=_order))


@dataclass(frozen=True, slots=True)
class _Answer:
    """Everything that was tried, and what is best."""

    placed: list[Placed]
    unfit: list[Alternative]
    splits: Splits | None
    shared: Placed | None
    """The best fleet that all classes share."""
    split: Split | None
    """The best split, where it is the answer."""

    def rows(self, context: Context, winner: Placed | None) -> list[Alternative]:
        """What else was tried."""
        found = [alternative(context, p) for p in self.placed if p is not winner] + self.unfit
        if self.splits is not None and self.split is None:
            found.append(split_row(self.splits))
        return sorted(found, key=_order)


def _answer(context: Context) -> _Answer:
    placed, unfit = _place_all(context)
    best = min(placed, key=_rank, default=None)
    shared = best if best is not None and np.isfinite(best.objective) else None
    if not may_split(context):
        return _Answer(placed, unfit, None, shared, None)
    splits = splits_of(context, np.inf if shared is None else shared.objective)
    always = context.scenario.search.split == "always"
    wins = splits.best is not None and (
        always or shared is None or less(splits.best.objective, shared.objective)
    )
    return _Answer(placed, unfit, splits, None if always else shared, splits.best if wins else None)


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
        return f"no request carries media: the same as {without_encode(placement.text)}"
    if media and not placement.encodes:
        return "the workload carries media and no stage encodes them"
    return None


def _report(answer: _Answer, seconds: float) -> SolverReport:
    placed = [*answer.placed, *(answer.splits.placed if answer.splits else ())]
    proven = all(p.choice is None or p.choice.status != "feasible" for p in placed)
    if answer.splits is not None:
        proven &= answer.splits.proven and answer.splits.complete
    return SolverReport(
        name="HiGHS" if any(p.programs for p in placed) else "bounds alone",
        status="optimal" if proven else "feasible",
        seconds=round(seconds, 6),
        columns=sum(p.columns for p in placed),
        cuts=sum(p.cuts for p in placed),
    )


def _plan(
    context: Context,
    placed: Placed,
    alternatives: list[Alternative],
    report: SolverReport | None,
    splits: Splits | None = None,
) -> Plan:
    assert placed.choice is not None
    choice = placed.choice
    fleets = Fleets.one(fleet_of(context, placed))
    if report is not None and choice.status == "feasible":
        report = replace(report, status="feasible")
    bound = choice.bound if splits is None else min(choice.bound, splits.bound)
    objective = _objective(context, choice.objective, bound)
    return describe(
        fleets,
        status="feasible" if objective.gap else "optimal",
        objective=objective,
        binding=binding(context, fleets, choice.binding),
        alternatives=alternatives,
        solver=report,
    )


def _split_plan(context: Context, answer: _Answer, report: SolverReport | None) -> Plan:
    splits, split = answer.splits, answer.split
    assert splits is not None
    assert split is not None
    fleets = fleets_of_split(context, split)
    bound = splits.bound
    if context.scenario.search.split != "always":
        shared = (p.choice.bound for p in answer.placed if p.choice is not None)
        bound = min(bound, *shared, np.inf)
    objective = _objective(context, split.objective, bound)
    return describe(
        fleets,
        status="feasible" if objective.gap else "optimal",
        objective=objective,
        binding=binding(context, fleets, split.binding(context)),
        alternatives=answer.rows(context, None) if report is not None else (),
        solver=report,
    )


def _objective(context: Context, value: float, bound: float) -> Objective:
    """What was minimised; a bound as good as the value is the value."""
    bound = bound if less(bound, value) else value
    return Objective(context.scenario.objective, value, bound, (value - bound) / (abs(value) or 1))


def _no_plan(context: Context, answer: _Answer, report: SolverReport) -> Plan:
    from pdplan.planner.infeasible import why_none

    scenario = context.scenario
    found = why_none(context, answer.placed, answer.splits)
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
        alternatives=tuple(answer.rows(context, None)),
        infeasible=found,
        provenance=(),
        solver=report,
    )
