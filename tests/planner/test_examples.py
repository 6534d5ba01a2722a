"""Every bundled example has a proven plan that meets its objectives."""

from pathlib import Path

import pytest

import pdplan
from pdplan import load_scenario, solve
from pdplan.specs.scenario import scenario_from

EXAMPLES = sorted((Path(pdplan.__file__).parents[1] / "examples").glob("*.yaml"))
TRACES = Path(__file__).parents[3] / "shared" / "data" / "traces"


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_solved(path):
    scenario = load_scenario(path)
    plan = solve(scenario)
    assert plan.status == "optimal"
    assert plan.prediction.targets
    assert all(target.met for target in plan.prediction.targets)
    own_pools = len(scenario.traffic.classes) > 1
    assert len(plan.alternatives) == 5 + own_pools


def test_a_trace_is_a_workload():
    trace = TRACES / "AzureLLMInferenceTrace_code.csv"
    if not trace.exists():
        pytest.skip(f"no traces in {TRACES}")
    workload = {key: {"trace": str(trace)} for key in ("isl", "osl")}
    question = {
        "model": "llama-3.1-8b",
        "hardware": ["h100-sxm"],
        "workload": {"rate": "5 req/s", "ttft": "1 s", "tpot": "50 ms", **workload},
    }
    scenario = scenario_from(question)
    plan = solve(scenario)
    assert plan.status == "optimal"
    assert len(scenario.traffic.weight) > 20
