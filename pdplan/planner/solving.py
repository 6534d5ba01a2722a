"""`solve` and `compare`: every placement tried, the best one proven, the others explained."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pdplan.errors import PdplanError, SpecError, UnfitError
from pdplan.placement import COVERED, Placement, parse_placement, without_media
from pdplan.plan import Alternative, Objective, Plan, SolverReport
from pdplan.planner.assembly import alternative, fleet_of, fleets_of_split, split_row
from pdplan.planner.binding import binding
from pdplan.planner.context import Context
from pdplan.planner.describe import describe
from pdplan.planner.fleet import Fleets
from pdplan.planner.place import Placed, place
from pdplan.planner.reallocation import most_rate
from pdplan.planner.splitting import Split, Splits, may_split, splits_of
from pdplan.solver.problem import less
from pdplan.specs.scenario import Scenario
from pdplan.specs.system import SystemSpec, load_system
from pdplan.specs.write import workload_mapping
from pdplan.systems import applied


def solve(scenario: Scenario, *, system: str | None = None) -> Plan:
    """Find the fleet that serves the scenario's objective best, over all its placements.

    Where there are several classes of requests, also over who shares with whom.

    Returns a plan whose status is `optimal` (`feasible` where a limit of the search was reached),
    or `infeasible` with the reason. Raises SpecError or UnfitError where the scenario asks for
    what cannot be.
    """
    if system is not None:
        scenario = applied(scenario, system, load_system(system))
    if scenario.objective == "rate":
        return most_rate(scenario, carries=_carries, solve=solve)
    started = time.perf_counter()
    context = Context.of(scenario)
    answer = _answer(context)
    report = _report(answer, time.perf_counter() - started)
    if answer.split is not None:
        return _split_plan(context, answer, report)
    if answer.shared is None:
        return _no_plan(context, answer, report)
    return _plan(context, answer.shared, answer.rows(context, answer.shared), report, answer.splits)


def compare(
    scenario: Scenario, systems: Mapping[str, SystemSpec] | None = None
) -> tuple[Alternative, ...]:
    """Plan every placement, and every system; each with its plan, or why there is none.

    Where there are several classes of requests, the best split of them is one row more.
    """
    if scenario.objective == "rate":
        message = "objective: 'rate' is for solve; compare needs what each fleet costs"
        raise SpecError(message)
    context = Context.of(scenario)
    rows = _compared(context)
    for name, system in (systems or {}).items():
        rows.append(_of_system(context, name, system))
    return tuple(sorted(rows, key=_order))


def _of_system(whole: Context, name: str, system: SystemSpec) -> Alternative:
    """The best of a system's placements as one row."""
    try:
        scenario = applied(whole.scenario, name, system)
        context = whole.asked(scenario)
        best = min(_compared(context), key=_order)
    except PdplanError as error:
        reason = "; ".join(str(error).splitlines())
        reason = reason.removeprefix(f"placement {system.placements}: ")
        return Alternative(placement=system.placements, reason=reason, system=name)
    return replace(best, system=name)


def _compared(context: Context) -> list[Alternative]:
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
    return [*found, *answer.unfit]


def _carries(scenario: Scenario) -> bool:
    """Whether any fleet within the limits keeps the objectives."""
    answer = _answer(Context.of(scenario))
    return answer.shared is not None or answer.split is not None


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


def _rank(placed: Placed) -> tuple[float, bool, int, str]:
    return _order(Alternative(placement=placed.placement.text, objective=placed.objective))


def _order(row: Alternative) -> tuple[float, bool, int, str]:
    """Best first; of equal ones that with the fewest pools."""
    worth = row.objective if row.objective is not None else np.inf
    return round(worth, 9), row.system is not None, row.placement.count("-"), row.placement


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
    if not placed and context.scenario.search.placements:
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
        return f"no request carries media: the same as {without_media(placement.text)}"
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
        system=scenario.system,
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
