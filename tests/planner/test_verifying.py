"""Solve, simulate, tighten, solve again."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from pdplan import evaluate, solve
from pdplan.planner import verifying
from pdplan.planner.verifying import MARGIN, ROUNDS, check_text, spec_of, verified
from pdplan.simulation.result import Estimate
from pdplan.specs.scenario import scenario_from

_SPEC = importlib.util.spec_from_file_location(
    "simulated_by_hand", Path(__file__).parents[1] / "report" / "simulated_by_hand.py"
)
by_hand = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(by_hand)

QUESTION = {
    "model": "llama-3.1-8b",
    "workload": {
        "rate": "40 req/s", "isl": 1000, "osl": 200, "ttft": "150 ms", "tpot": "15 ms",
    },
    "hardware": [{"id": "h100-sxm"}],
    "search": {"tp": [1, 2], "placements": ["PD", "P-D"]},
}  # fmt: skip


@pytest.fixture
def scenario():
    return scenario_from(QUESTION)


@pytest.fixture
def simulating(monkeypatch):
    """Answer simulations with the closed form, off by something else in each round."""

    def install(*rounds):
        seen = []

        def simulate(spec, **asked):
            seen.append((spec, asked))
            return by_hand.off_by(evaluate(spec), rounds[min(len(seen), len(rounds)) - 1])

        monkeypatch.setattr(verifying, "simulate", simulate)
        return seen

    return install


@pytest.mark.parametrize("seed", [0, 1, 2, 5, 9, 18])
def test_a_plan_in_memory_is_the_plan_read_back(seed, random_question):
    scenario = scenario_from(random_question(seed, limits=False))
    plan = solve(scenario)
    if plan.status == "infeasible":
        pytest.skip("no plan to read back")
    read = evaluate(spec_of(plan, scenario)).to_dict()
    for key in ("prediction", "pools", "transfers", "workload", "label", "gpus", "placement"):
        assert read[key] == plan.to_dict()[key], key


def test_a_plan_that_holds_is_returned_as_proven(scenario, simulating):
    asked = simulating({})
    found = verified(scenario, solve, requests=5000, seed=7)
    assert found.held
    assert found.plan.status == "optimal"
    assert found.plan.prediction == solve(scenario).prediction
    assert len(found.rounds) == 1
    assert found.rounds[0].limits == {}
    assert found.simulation is found.rounds[0].simulation
    (spec, options) = asked[0]
    assert spec.traffic is scenario.traffic
    assert (options["requests"], options["seed"]) == (5000, 7)


def test_a_miss_is_solved_again_with_less_and_told_as_asked(scenario, simulating):
    first = solve(scenario)
    predicted = {t.metric: t.predicted_s for t in first.prediction.targets}
    simulating({"over_tpot": 1.2}, {})
    told = []
    found = verified(scenario, solve, told=lambda done, limits: told.append((done, limits)))
    assert found.held
    assert len(found.rounds) == len(told) == 2
    limit = told[0][1][("all", "tpot")]
    assert limit == pytest.approx(predicted["tpot"] / 1.2 * (1 - MARGIN))
    assert [round(check.excess, 6) for check in told[0][0].missed] == [1.2]
    assert told[1][1] == {}
    assert found.rounds[1].limits == told[0][1]
    targets = {t.metric: t for t in found.plan.prediction.targets}
    assert targets["ttft"].objective_s == 0.15
    assert targets["tpot"].objective_s == 0.015
    assert targets["tpot"].predicted_s <= limit
    assert found.plan.workload == first.workload
    assert found.plan.workload["tpot"] == "0.015 s"


def test_a_tightened_plan_is_feasible_with_the_bound_of_the_question(scenario, simulating):
    simulating({"over_tpot": 1.2}, {})
    found, first = verified(scenario, solve).plan, solve(scenario)
    assert found.status == "feasible"
    assert found.solver.status == "feasible"
    assert found.objective.bound == first.objective.bound
    assert found.objective.value > first.objective.value
    assert found.objective.gap == pytest.approx(found.objective.value / first.objective.value - 1)
    assert not found.given
    assert any(line.startswith("simulation: solved with TPOT of ") for line in found.binding)
    again = evaluate(spec_of(found, scenario))
    assert again.prediction == found.prediction


def test_an_estimate_that_straddles_the_objective_holds(scenario, simulating):
    simulating({"over_tpot": 1.01, "width": 0.02})
    assert len(verified(scenario, solve).rounds) == 1
    simulating({"over_tpot": 1.01, "width": 0.005}, {})
    assert len(verified(scenario, solve).rounds) == 2


def test_each_class_is_tightened_for_itself(simulating):
    kinds = [
        {"name": "chat", "share": 0.5, "isl": 500, "osl": 100, "ttft": "150 ms", "tpot": "20 ms"},
        {"name": "bulk", "share": 0.5, "isl": 2000, "osl": 50, "ttft": "10 s"},
    ]
    workload = {"rate": "10 req/s", "classes": kinds}
    scenario = scenario_from(QUESTION | {"workload": workload})
    seen = simulating({"over_ttft": 1.3}, {})
    found = verified(scenario, solve)
    assert found.held
    assert set(found.rounds[1].limits) == {("chat", "ttft")}
    objectives = {(t.request_class, t.metric): t.objective_s for t in found.plan.prediction.targets}
    assert objectives == {
        ("chat", "ttft"): 0.15, ("chat", "tpot"): 0.02, ("bulk", "ttft"): 10.0,
    }  # fmt: skip
    assert [kind.ttft_s for kind in seen[1][0].traffic.classes] == [0.15, 10.0]


def test_rounds_that_run_out_name_the_nearest_miss(scenario, simulating):
    simulating({"over_tpot": 1.01, "width": 0.001}, {"over_tpot": 1.02, "width": 0.001})
    told = []
    found = verified(scenario, solve, told=lambda *each: told.append(each))
    plan = found.plan
    assert not found.held
    assert (plan.status, plan.pools, plan.label) == ("infeasible", (), "")
    assert plan.infeasible.limit == "tpot"
    assert 1 < len(found.rounds) <= ROUNDS
    near = found.rounds[0]
    (check,) = near.missed
    assert (
        plan.infeasible.nearest == f"{near.plan.placement} {near.plan.label}: {check_text(check)}"
    )
    assert plan.infeasible.reason.startswith(
        f"simulation: {len(found.rounds)} fleets tried, and each"
    )
    assert plan.infeasible.relaxation.startswith("objectives of TPOT of ")


def test_fleets_that_run_out_say_what_could_not_be_reached(scenario, simulating):
    simulating({"over_ttft": 40.0})
    plan = verified(scenario, solve).plan
    assert plan.status == "infeasible"
    assert plan.infeasible.reason.startswith(
        "simulation: 1 fleet tried, and it misses an objective; no fleet is predicted to reach "
        "TTFT of "
    )


def test_an_infeasible_question_stays_one(simulating):
    seen = simulating({})
    impossible = scenario_from(QUESTION | {"workload": QUESTION["workload"] | {"tpot": "0.01 ms"}})
    found = verified(impossible, solve)
    assert (found.rounds, found.simulation, found.held, seen) == ((), None, False, [])
    assert found.plan.infeasible == solve(impossible).infeasible


def test_an_interrupted_simulation_proves_nothing(scenario, simulating):
    simulating({"complete": False})
    found = verified(scenario, solve)
    assert not found.held
    assert len(found.rounds) == 1
    assert found.plan.status == "optimal"


def test_a_check_reads_as_a_sentence(scenario, simulating):
    simulating({})
    check = verified(scenario, solve).rounds[0].checks[0]
    target = replace(check.target, request_class="chat", metric="ttft", objective_s=0.45)
    missed = replace(check, target=target, simulated=Estimate(0.512, 0.5, 0.523))
    assert check_text(missed) == (
        f"chat TTFT p{target.percentile} simulated 512 ms (500 ms to 523 ms) > 450 ms"
    )
    kept = replace(missed, simulated=Estimate(0.4, 0.39, 0.41))
    assert check_text(kept).endswith("simulated 400 ms (390 ms to 410 ms) <= 450 ms")


def test_a_real_simulation_agrees_with_a_fleet_that_has_room():
    workload = QUESTION["workload"] | {"ttft": "500 ms", "tpot": "30 ms", "osl": 60}
    found = verified(scenario_from(QUESTION | {"workload": workload}), solve, requests=600)
    assert found.held
    assert found.plan.status == "optimal"
    assert len(found.rounds) == 1
    assert found.simulation.requests == 600
    for check in found.rounds[0].checks:
        assert check.simulated.low <= check.simulated.value <= check.simulated.high
        assert check.simulated.value == pytest.approx(check.target.predicted_s, rel=0.25)
