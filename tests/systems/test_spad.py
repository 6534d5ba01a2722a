"""Special chips: equal chips are one kind, objectives, and rates of a fixed stock."""

import pytest

from pdplan import load_scenario, solve
from pdplan.errors import SpecError
from pdplan.specs.scenario import scenario_from

CHAT = {
    "model": "llama-3.1-8b",
    "workload": {"isl": 1000, "osl": 150},
    "rate": "30 req/s",
    "ttft": "600 ms",
    "tpot": "30 ms",
    "search": {"placements": ["P-D"], "tp": [1, 2]},
}


def test_two_chips_that_are_alike_are_one(tmp_path):
    from pdplan.specs.catalog import find

    text = find("hardware", "h100-sxm", None).read_text()
    twin = tmp_path / "twin.yaml"
    twin.write_text(text)
    one = scenario_from(CHAT | {"hardware": ["h100-sxm"], "objective": "hardware_cost"})
    two = scenario_from(CHAT | {"hardware": ["h100-sxm", str(twin)], "objective": "hardware_cost"})
    homogeneous, both = solve(one), solve(two)
    assert both.objective.value == homogeneous.objective.value
    assert both.label == homogeneous.label
    assert both.prediction == homogeneous.prediction


def test_hardware_cost_of_h100s_is_their_number():
    asked = CHAT | {"hardware": ["h100-sxm"]}
    cost = solve(scenario_from(asked | {"objective": "hardware_cost"}))
    count = solve(scenario_from(asked | {"objective": "gpus"}))
    assert cost.objective.value == cost.gpus == count.gpus


def test_hardware_cost_must_be_known():
    with pytest.raises(SpecError, match="'l4' has no relative_cost"):
        scenario_from(CHAT | {"hardware": ["l4"], "objective": "hardware_cost"})


def test_the_largest_rate_is_in_a_proven_bracket():
    asked = CHAT | {"hardware": [{"id": "h100-sxm", "stock": 6}]}
    found = solve(scenario_from(asked | {"objective": "rate"}))
    assert 0 < found.objective.gap <= 1e-3
    assert found.gpus <= 6
    at = {"objective": "gpus"}
    assert solve(scenario_from(asked | at | {"rate": f"{found.objective.value} req/s"})).gpus <= 6
    beyond = scenario_from(asked | at | {"rate": f"{found.objective.bound} req/s"})
    assert solve(beyond).status == "infeasible"


def test_the_rate_asked_for_does_not_matter():
    asked = CHAT | {"hardware": [{"id": "h100-sxm", "stock": 6}], "objective": "rate"}
    few, many = (solve(scenario_from(asked | {"rate": r})) for r in ("1 req/s", "900 req/s"))
    assert few.objective.value == pytest.approx(many.objective.value, rel=2e-3)


def test_the_largest_rate_needs_a_stock():
    with pytest.raises(SpecError, match="'h100-sxm' needs a stock"):
        solve(scenario_from(CHAT | {"hardware": ["h100-sxm"], "objective": "rate"}))


def test_no_rate_keeps_an_objective_out_of_reach():
    asked = CHAT | {"hardware": [{"id": "h100-sxm", "stock": 6}], "objective": "rate"}
    found = solve(scenario_from(asked | {"tpot": "1 ms"}))
    assert found.status == "infeasible"


def test_either_chip_runs_either_phase():
    for hardware in ("spad-prefill", "spad-decode"):
        plan = solve(
            load_scenario("systems/spad", {"placement": "P-D", "hardware": [hardware], "tp": ["8"]})
        )
        assert [pool.hardware for pool in plan.pools] == [hardware] * 2
