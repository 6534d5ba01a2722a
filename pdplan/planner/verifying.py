"""`solve --verify`: the cheapest fleet that keeps its objectives in simulation too.

The closed form picks a fleet, a simulation checks it. Where an objective is missed beyond the
simulation's confidence interval, the closed form is asked for more, by as much as it was wrong:

    limit = objective x predicted / simulated x (1 - MARGIN)

With simulated > objective that is below what the fleet was predicted to reach, so every round
excludes the fleet before it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from pdplan.plan import Infeasible, Objective, Plan, Target
from pdplan.planner.evaluation import evaluate
from pdplan.planner.simulating import simulate
from pdplan.simulation.result import Estimate, Simulation
from pdplan.specs.base import validate
from pdplan.specs.modalities import with_options
from pdplan.specs.options import NO_OPTIONS
from pdplan.specs.plan_file import PlanFileSpec, PlanSpec
from pdplan.specs.scenario import Scenario
from pdplan.specs.source import Document
from pdplan.units import format_seconds

ROUNDS = 5
"""Fleets that are simulated at most; each costs a simulation."""
MARGIN = 0.01
"""Asked for beyond the measured ratio, so that a fleet on the edge need not be tried twice."""

Kind = tuple[str, Literal["ttft", "tpot"]]
"""A request class and the latency that it has an objective for."""


@dataclass(frozen=True, slots=True)
class Check:
    """One of the scenario's objectives, as predicted and as simulated."""

    target: Target
    simulated: Estimate

    @property
    def missed(self) -> bool:
        """Whether the whole confidence interval is above the objective."""
        return self.simulated.low > self.target.objective_s

    @property
    def excess(self) -> float:
        """Simulated over objective [-]."""
        return self.simulated.value / self.target.objective_s


@dataclass(frozen=True, slots=True)
class Round:
    """One fleet, simulated."""

    plan: Plan
    """With the scenario's own objectives."""
    simulation: Simulation
    checks: tuple[Check, ...]
    limits: Mapping[Kind, float] = field(default_factory=dict)
    """Tightened objectives that it was solved with [s]; none in the first round."""

    @property
    def missed(self) -> tuple[Check, ...]:
        """Objectives that the simulation misses beyond doubt."""
        return tuple(check for check in self.checks if check.missed)

    @property
    def held(self) -> bool:
        """Whether the simulation ran to its end and no objective is missed beyond doubt."""
        return self.simulation.complete and not self.missed

    def tightened(self) -> dict[Kind, float]:
        """Objectives [s] to solve with next: the earlier ones, and lower ones for those missed."""
        found = dict(self.limits)
        for check in self.missed:
            target = check.target
            kind: Kind = (target.request_class, target.metric)
            limit = target.objective_s * target.predicted_s / check.simulated.value * (1 - MARGIN)
            found[kind] = min(limit, found.get(kind, math.inf))
        return found


@dataclass(frozen=True, slots=True)
class Verified:
    """The answer: a plan, the simulation of its fleet, and how it was found."""

    plan: Plan
    simulation: Simulation | None
    """Of the last fleet tried; None where there was none to simulate."""
    rounds: tuple[Round, ...]

    @property
    def held(self) -> bool:
        """Whether the plan's fleet keeps its objectives in simulation."""
        return bool(self.rounds) and self.rounds[-1].held and self.plan.status != "infeasible"


def verified(
    scenario: Scenario,
    solve: Callable[[Scenario], Plan],
    *,
    requests: int | None = None,
    seed: int = 1,
    progress: Callable[[int, int | None], None] | None = None,
    told: Callable[[Round, Mapping[Kind, float]], None] | None = None,
) -> Verified:
    """Solve, simulate the winner, and solve again with tighter objectives while one is missed.

    The first round's plan is returned as it was proven if it holds. A later one is `feasible`, not
    `optimal`: it is the cheapest under tightened objectives, and a cheaper fleet that the closed
    form refuses may hold in simulation. Its bound stays that of the first round, the optimum of
    the closed form under the scenario's own objectives, so its gap is what the check costs.
    Where fleets or rounds run out the plan is `infeasible` and names the nearest miss. A run that
    is interrupted ends the search with a round that is not held. `told` hears of every round when
    it ends, and of the objectives [s] of the next if there is one.
    """
    rounds: list[Round] = []
    limits: dict[Kind, float] = {}
    while len(rounds) < ROUNDS:
        found = solve(_with_limits(scenario, limits))
        if found.status == "infeasible":
            plan = _nearest(found, rounds) if rounds else found
            return Verified(plan, rounds[-1].simulation if rounds else None, tuple(rounds))
        spec = spec_of(found, scenario)
        plan = _restored(found, evaluate(spec), rounds[0].plan, limits) if rounds else found
        simulation = simulate(spec, requests=requests, seed=seed, progress=progress)
        done = Round(plan, simulation, _checks(plan, simulation), limits)
        rounds.append(done)
        ended = done.held or not simulation.complete
        limits = {} if ended or len(rounds) == ROUNDS else done.tightened()
        if told is not None:
            told(done, limits)
        if ended:
            return Verified(plan, simulation, tuple(rounds))
    return Verified(_nearest(rounds[-1].plan, rounds), rounds[-1].simulation, tuple(rounds))


def spec_of(plan: Plan, scenario: Scenario) -> PlanSpec:
    """Give the fleet of a plan to `evaluate` and `simulate`, under the scenario it was solved for.

    As if the plan had been written to a file and read back, but with the model, engine and
    hardware that the scenario holds, wherever they came from.
    """
    document = Document("plan", plan.to_dict())
    file = validate(document, PlanFileSpec)
    names = {each.name for each in fields(PlanSpec)}
    shared: dict[str, Any] = {
        each.name: getattr(scenario, each.name) for each in fields(scenario) if each.name in names
    }
    offers = {choice.id: choice.spec for choice in scenario.hardware}
    rate = scenario.traffic.mean_rate_rps
    return PlanSpec(
        **shared
        | {
            "placement": file.placement,
            "system": file.system,
            "options": file.options or NO_OPTIONS,
            "traffic": with_options(scenario.traffic, file.options or NO_OPTIONS),
            "pools": file.pools,
            "workload": scenario.workload.model_copy(update={"rate": rate}),
            "hardware": {pool.hardware: offers[pool.hardware] for pool in file.pools},
            "alternatives": (),
        }
    )


def _with_limits(scenario: Scenario, limits: Mapping[Kind, float]) -> Scenario:
    """Put other objectives in the place of those of some classes; the workload's text stays."""
    traffic = with_options(scenario.traffic, scenario.options)
    classes = tuple(
        replace(
            kind,
            ttft_s=limits.get((kind.name, "ttft"), kind.ttft_s),
            tpot_s=limits.get((kind.name, "tpot"), kind.tpot_s),
        )
        for kind in traffic.classes
    )
    return replace(scenario, traffic=replace(traffic, classes=classes))


def _checks(plan: Plan, simulation: Simulation) -> tuple[Check, ...]:
    """Every objective beside what its class saw in the simulation."""
    assert plan.prediction is not None
    seen = {kind.name: kind for kind in simulation.classes}
    found = []
    for target in plan.prediction.targets:
        kind = seen.get(target.request_class)
        if kind is not None:
            latency = kind.ttft_s if target.metric == "ttft" else kind.tpot_s
            found.append(Check(target, latency.at(target.percentile)))
    return tuple(found)


def _restored(found: Plan, evaluated: Plan, first: Plan, limits: Mapping[Kind, float]) -> Plan:
    """Give a plan that was solved under tightened objectives the scenario's own back."""
    value, bound = found.objective.value, first.objective.bound
    assert value is not None
    gap = max(value / bound - 1, 0.0) if bound else None
    told = (f"simulation: solved with {limit_text(k, s)}" for k, s in limits.items())
    return replace(
        found,
        status="feasible",
        objective=Objective(found.objective.name, value, bound, gap),
        prediction=evaluated.prediction,
        binding=(*found.binding, *told),
        solver=None if found.solver is None else replace(found.solver, status="feasible"),
    )


def _nearest(found: Plan, rounds: list[Round]) -> Plan:
    """No fleet holds in simulation: the plan that says so, with the one that came nearest."""
    near = min(rounds, key=lambda each: max(check.excess for check in each.missed))
    worst = max(near.missed, key=lambda check: check.excess)
    tried = "1 fleet tried, and it" if len(rounds) == 1 else f"{len(rounds)} fleets tried, and each"
    asked = ", ".join(limit_text(kind, s) for kind, s in rounds[-1].tightened().items())
    ended = f"; no fleet is predicted to reach {asked}" if found.status == "infeasible" else ""
    name = f"{near.plan.placement} {near.plan.label}"
    needed: dict[Kind, float] = {}
    for check in near.missed:
        kind: Kind = (check.target.request_class, check.target.metric)
        needed[kind] = max(check.simulated.high, needed.get(kind, 0.0))
    looser = " and ".join(limit_text(kind, s) for kind, s in needed.items())
    return replace(
        found,
        status="infeasible",
        label="",
        objective=Objective(found.objective.name, None, None, None),
        cost_usd_per_hour=None,
        usd_per_million_output_tokens=None,
        gpus=0,
        power_w=None,
        pools=(),
        transfers=(),
        prediction=None,
        binding=(worst.target.metric,),
        infeasible=Infeasible(
            reason=f"simulation: {tried} misses an objective{ended}",
            limit=worst.target.metric,
            nearest=f"{name}: {'; '.join(check_text(check) for check in near.missed)}",
            relaxation=f"objectives of {looser}: {name} at {_worth(near.plan)}",
        ),
    )


def check_text(check: Check) -> str:
    """Write an objective as simulated: `TTFT p90 simulated 512 ms (500 ms to 523 ms) > 450 ms`."""
    target, seen = check.target, check.simulated
    sign = ">" if seen.value > target.objective_s else "<="
    span = f"{format_seconds(seen.low)} to {format_seconds(seen.high)}"
    return (
        f"{_of(target.request_class)}{target.what} simulated "
        f"{format_seconds(seen.value)} ({span}) {sign} {format_seconds(target.objective_s)}"
    )


def limit_text(kind: Kind, limit_s: float) -> str:
    """Write an objective.

    >>> limit_text(("chat", "ttft"), 0.396), limit_text(("all", "tpot"), 0.04)
    ('chat TTFT of 396 ms', 'TPOT of 40 ms')
    """
    return f"{_of(kind[0])}{kind[1].upper()} of {format_seconds(limit_s)}"


def _of(request_class: str) -> str:
    """Name a class, unless it is the one of a workload without classes."""
    return "" if request_class == "all" else f"{request_class} "


def _worth(plan: Plan) -> str:
    if plan.cost_usd_per_hour is None:
        return f"{plan.gpus} GPUs"
    return f"{plan.cost_usd_per_hour:.2f} USD/h"
