"""Prefill by groups of layers as a preset: what it reduces to, and that it reports energy."""

import pytest

from pdplan import solve
from pdplan.planner import evaluate
from pdplan.planner.verifying import spec_of
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

NAME = "layered-prefill"


def asked(model="qwen3-30b-a3b", isl=400, rate=3, **search):
    workload = {"rate": f"{rate} req/s", "isl": isl, "osl": 150, "ttft": "3 s", "tpot": "60 ms"}
    mapping = {"model": model, "hardware": ["h100-sxm"], "workload": workload}
    return scenario_from(mapping | {"search": {"tp": [2]} | search})


def on_system(scenario):
    return applied(scenario, NAME, load_system(NAME))


def with_scheduler(scheduler, **asked_for):
    search = {"placements": ["PD"], "schedulers": [scheduler], "chunk_tokens": [512]}
    return solve(asked(**asked_for, **search))


def test_it_is_the_layered_scheduler_in_one_process():
    plan = solve(on_system(asked(isl=5000, rate=1)))
    same = with_scheduler("layered", isl=5000, rate=1)
    assert plan.pools == same.pools
    assert plan.prediction == same.prediction
    assert plan.pools[0].options["scheduler"] == "layered"
    assert plan.pools[0].options["chunk_tokens"] == 512


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "qwen3-8b"])
def test_one_group_is_one_chunk(model):
    """Prompts of 512 tokens fill one chunk and make one group: the work they add is the same.

    Chunks make room for the tokens of running requests and groups do not, so prompts that fill a
    chunk to the last token take a little longer chunked; within 2 % up to 80 % of the chunk.
    """
    chunked = with_scheduler("chunked", model=model).prediction
    layered = with_scheduler("layered", model=model).prediction
    assert layered.tpot_s.mean == pytest.approx(chunked.tpot_s.mean, rel=0.02)
    assert layered.energy_j_per_token == pytest.approx(chunked.energy_j_per_token, rel=0.001)


def test_long_prompts_on_experts_cost_less_with_groups():
    chunked, layered = (with_scheduler(s, isl=8000, rate=4) for s in ("chunked", "layered"))
    assert layered.gpus <= chunked.gpus
    assert sum(p.capacity_rps for p in layered.pools) / layered.gpus > 1.3 * (
        sum(p.capacity_rps for p in chunked.pools) / chunked.gpus
    )


def test_energy_is_reported_and_survives_the_plan_file():
    scenario = on_system(asked(isl=5000, rate=1))
    plan = solve(scenario)
    assert 0.01 < plan.prediction.energy_j_per_token < 0.2
    again = evaluate(spec_of(plan, scenario))
    assert again.prediction == plan.prediction
    assert plan.to_dict()["prediction"]["energy_j_per_token"] == again.prediction.energy_j_per_token


def test_energy_of_a_fleet_is_between_rest_and_the_board():
    for placement in ("PD", "P-D"):
        plan = solve(asked(isl=3000, rate=6, placements=[placement]))
        tokens = 6 * (3000 + 150)
        drawn = plan.prediction.energy_j_per_token * tokens
        assert 0.17 * plan.power_w < drawn < plan.power_w


def test_no_energy_where_no_board_power_is_known():
    workload = {"rate": "1 req/s", "isl": 300, "osl": 50}
    mapping = {"model": "llama-3.1-8b", "hardware": ["trainium1"], "workload": workload}
    plan = solve(scenario_from(mapping))
    assert plan.power_w is None
    assert plan.prediction is None or plan.prediction.energy_j_per_token is None
