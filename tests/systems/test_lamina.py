"""Attention on accelerators of its own kind, KV only: reductions, prices, plans read back."""

from dataclasses import replace

import pytest
import yaml

from pdplan import solve
from pdplan.errors import SpecError
from pdplan.planner import evaluate
from pdplan.report.data import yaml_text
from pdplan.specs.plan_file import load_plan
from pdplan.specs.scenario import load_scenario, scenario_from
from pdplan.specs.scenario_file import RoleSpec
from pdplan.specs.system import load_system
from pdplan.systems import applied

EXAMPLE = load_scenario("systems/lamina")
HALVES = {"projections": "ffn", "attention_hardware": ["h20"], "ffn_hardware": ["h100-sxm"]}


def question(placement, **options):
    return scenario_from(
        {
            "model": "llama-3-70b",
            "workload": {"isl": 1155, "osl": {"lognormal": {"mean": 211, "cv": 1.0}}},
            "rate": "20 req/s",
            "ttft": "3 s",
            "tpot": "120 ms",
            "hardware": [
                {"id": "h100-sxm", "price": "11.06 USD/h"},
                {"id": "h20", "price": "4.63 USD/h"},
            ],
            "search": {"tp": [2, 4, 8], "placements": [placement]},
            **({"options": {"attention_ffn": options}} if options else {}),
        }
    )


def read_back(plan, tmp_path, change=None):
    path = tmp_path / "plan.yaml"
    written = yaml.safe_load(yaml_text(plan.to_dict()))
    if change is not None:
        change({pool["stages"]: pool for pool in written["pools"]})
    path.write_text(yaml.safe_dump(written, sort_keys=False))
    return load_plan(path)


@pytest.fixture(scope="module")
def plan():
    return solve(EXAMPLE)


def test_without_attention_accelerators_it_is_prefill_and_decode_apart():
    """Exactly: the same shapes, prediction and cost."""
    apart, halved = solve(question("P-D")), solve(question("P-A-F", attention_gpus=[0]))
    assert halved.cost_usd_per_hour == apart.cost_usd_per_hour
    energy = apart.prediction.energy_j_per_token  # an option is given: not worked out
    assert replace(halved.prediction, energy_j_per_token=energy) == apart.prediction
    *_, decode = apart.pools
    attention, ffn = halved.pools[1:]
    assert (attention.gpus, attention.usd_per_hour) == (0, 0.0)
    assert replace(ffn, stages="D", name=decode.name) == decode
    assert halved.label == apart.label.replace("D", "F")


def test_undivided_plans_are_read_back(tmp_path):
    halved = solve(question("P-A-F", attention_gpus=[0]))
    again = evaluate(read_back(halved, tmp_path))
    assert again.prediction == halved.prediction
    assert again.pools == halved.pools


def test_evaluating_the_plan_gives_it_again(plan, tmp_path):
    again = evaluate(read_back(plan, tmp_path))
    assert again.prediction == plan.prediction
    assert again.pools == plan.pools
    assert again.label == plan.label == "3P1A1F"
    assert again.cost_usd_per_hour == plan.cost_usd_per_hour


def test_each_half_has_its_price_and_memory(plan):
    _, attention, ffn = plan.pools
    assert (attention.hardware, ffn.hardware) == ("h20", "h100-sxm")
    assert attention.usd_per_hour == pytest.approx(4.63 * attention.gpus)
    assert ffn.usd_per_hour == pytest.approx(11.06 * ffn.gpus)
    assert plan.cost_usd_per_hour == pytest.approx(sum(p.usd_per_hour for p in plan.pools))
    assert plan.gpus == sum(p.gpus for p in plan.pools)
    assert attention.memory_bytes.weights == 0
    assert ffn.memory_bytes.kv == 0
    assert ffn.memory_bytes.weights == pytest.approx(141e9 / ffn.gpus, rel=0.01)


@pytest.mark.parametrize(("gpus", "cost"), [((1, 2), 20.32), ((2, 4), 40.64)])
def test_published_prices_of_bundles(gpus, cost):
    """20.32 and 40.64 USD/h, against 22.12 and 44.24 of two and four H100s."""
    found = question("P-A-F", **HALVES, attention_gpus=[gpus[1]], ffn_gpus=[gpus[0]])
    prices = {choice.id: choice.usd_per_hour for choice in found.hardware}
    total = gpus[0] * prices["h100-sxm"] + gpus[1] * prices["h20"]
    assert total == pytest.approx(cost)
    if gpus[0] == 2:  # one H100 does not hold the weights
        plan = solve(found)
        halves = [p for p in plan.pools if p.stages in "AF"]
        bundles = halves[1].instances
        assert sum(p.usd_per_hour for p in halves) == pytest.approx(cost * bundles)
    else:
        assert solve(found).status == "infeasible"


def test_it_is_cheaper_than_one_kind_of_accelerators_and_slower_a_token(plan):
    """97.74 USD/h against 110.60 of H100s and 103.40 of H20s that decode alone; the step of H100s
    alone is the shorter one."""
    only = {"D": RoleSpec(hardware=("h100-sxm",))}
    search = EXAMPLE.search.model_copy(update={"placements": ("P-D",)})
    any_kind = solve(replace(EXAMPLE, search=search))
    other = solve(replace(EXAMPLE, search=search.model_copy(update={"roles": only})))
    assert plan.cost_usd_per_hour < any_kind.cost_usd_per_hour < other.cost_usd_per_hour
    assert plan.prediction.tpot_s.mean > other.prediction.tpot_s.mean


def test_slow_messages_and_serial_batches_never_help(plan):
    base = EXAMPLE.options.attention_ffn

    def cost(**changed):
        options = base.model_copy(update=changed)
        given = EXAMPLE.options.model_copy(update={"attention_ffn": options})
        found = solve(replace(EXAMPLE, options=given))
        return found.cost_usd_per_hour or float("inf")

    assert cost(message_latency=33.3e-6) >= plan.cost_usd_per_hour
    assert cost(network=35.5e9) >= plan.cost_usd_per_hour
    assert cost(overlap=False) > plan.cost_usd_per_hour


def test_the_preset_lies_under_a_scenario():
    plain = question("P-D")
    search = plain.search.model_copy(update={"placements": ()})
    found = applied(replace(plain, search=search), "lamina", load_system("lamina"))
    assert found.options.attention_ffn.projections == "ffn"
    assert found.options.attention_ffn.network == pytest.approx(45.7e9)
    assert tuple(found.search.placements) == ("P-A-F",)


def test_halves_that_make_no_whole_bundles_are_told(plan, tmp_path):
    def change(pools):
        pools["F"]["instances"] = 2

    with pytest.raises(SpecError, match="do not make whole bundles"):
        evaluate(read_back(plan, tmp_path, change))


def test_hardware_that_is_not_on_offer_is_told():
    plan = solve(question("P-A-F", ffn_hardware=["b200-sxm"]))
    assert plan.status == "infeasible"
    assert "no hardware on offer for a half" in plan.infeasible.reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"copies": [3], "micro_batches": [2]}, "need more than 2 micro-batches"),
        ({"micro_batches": []}, "micro_batches"),
        ({"attention_gpus": [0, 4]}, "stands alone"),
        ({"network": 45.7}, "needs a number and a unit"),
        ({"projection": "ffn"}, "did you mean 'projections'"),
    ],
)
def test_mistaken_options_are_told(options, said):
    with pytest.raises(SpecError, match=said):
        question("P-A-F", **options)
