"""Experts on accelerators of their own: reductions, ratios, plans read back."""

from dataclasses import replace

import pytest

from pdplan import solve
from pdplan.planner import evaluate
from pdplan.report.data import yaml_text
from pdplan.specs.options import NO_OPTIONS
from pdplan.specs.options.attention_ffn import AttentionFfn
from pdplan.specs.plan_file import load_plan
from pdplan.specs.scenario import load_scenario, scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

EXAMPLE = load_scenario("systems/afd")


def with_options(scenario, placement="P-A-F", **options):
    search = scenario.search.model_copy(update={"placements": (placement,)})
    given = NO_OPTIONS.model_copy(update={"attention_ffn": AttentionFfn(**options)})
    return replace(scenario, search=search, options=given if options else NO_OPTIONS)


def halves(plan):
    return {pool.stages: pool for pool in plan.pools if pool.stages in "AF"}


@pytest.fixture(scope="module")
def plan():
    return solve(EXAMPLE)


def test_without_attention_accelerators_it_is_prefill_and_decode_apart():
    apart = solve(with_options(EXAMPLE, "P-D"))
    halved = solve(with_options(EXAMPLE, attention_gpus=[0]))
    energy = apart.prediction.energy_j_per_token  # an option is given: not worked out
    assert replace(halved.prediction, energy_j_per_token=energy) == apart.prediction
    assert halved.gpus == apart.gpus
    assert sum(pool.gpus for pool in halved.pools) == apart.gpus


def test_evaluating_the_plan_gives_it_again(plan, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml_text(plan.to_dict()))
    again = evaluate(load_plan(path))
    assert again.prediction == plan.prediction
    assert again.pools == plan.pools
    assert again.label == plan.label


def test_the_preset_is_what_is_asked_without_it(plan):
    search = EXAMPLE.search.model_copy(update={"placements": ()})
    found = solve(applied(replace(EXAMPLE, search=search), "afd", load_system("afd")))
    assert found.prediction == plan.prediction
    assert [p.gpus for p in found.pools] == [p.gpus for p in plan.pools]


def test_rows_say_what_each_half_is_made_of_and_waits_for(plan):
    rows = halves(plan)
    a, f = rows["A"], rows["F"]
    assert a.gpus + f.gpus == plan.gpus - plan.pools[0].gpus
    assert f.memory_bytes.kv == 0 < a.memory_bytes.kv
    assert f.memory_bytes.weights > 650e9 / f.gpus * 0.9
    about = f.options["halves"]
    assert about["network"] == "scale-up"
    assert about["messages_a_step"] == 2 * 58 * f.options["micro_batches"]
    assert about["bytes_a_token"] == {"to_ffn": 58 * 57_344, "to_attention": 58 * 114_688}
    stages = about["stages_s"]
    least = sum(stages.values()) + about["host_s"]
    assert about["step_s"] >= least * (1 - 1e-9)
    for row, stage in ((a, "attention"), (f, "ffn")):
        share = f.options["micro_batches"] * stages[stage] / about["step_s"]
        assert row.options["idle_share"] == pytest.approx(1 - share, abs=1e-5)


def test_halves_apart_are_no_gain_by_themselves(plan):
    """At 30 ms 27 accelerators against 24 of prefill and decode apart with groups of 16."""
    search = EXAMPLE.search.model_copy(update={"dp": (1, 8, 16)})
    apart = solve(with_options(replace(EXAMPLE, search=search), "P-D"))
    assert apart.gpus <= plan.gpus <= 1.25 * apart.gpus


def test_longer_contexts_ask_for_more_attention():
    shares = []
    for tokens in (2_000, 32_000):
        rows = halves(
            solve(
                scenario_from(
                    {
                        "model": "deepseek-v3",
                        "engine": "trtllm",
                        "workload": {"isl": tokens, "osl": 1024},
                        "rate": "4 req/s",
                        "ttft": "20 s",
                        "tpot": "50 ms",
                        "hardware": ["b200-sxm"],
                        "objective": "gpus",
                        "search": {
                            "tp": [8],
                            "dp": [1],
                            "weight_dtypes": ["fp8"],
                            "placements": ["P-A-F"],
                        },
                    }
                )
            )
        )
        shares.append(rows["A"].gpus / rows["F"].gpus)
    assert shares[1] > 2 * shares[0]


def test_more_micro_batches_to_choose_from_are_never_worse():
    found = [
        solve(with_options(EXAMPLE, micro_batches=tuple(range(1, most + 1)))).gpus or float("inf")
        for most in (1, 2, 4)
    ]
    assert found[0] >= found[1] >= found[2]


def test_sides_of_a_size_that_is_told():
    plan = solve(with_options(EXAMPLE, attention_gpus=[8], ffn_gpus=[32]))
    rows = halves(plan)
    assert rows["F"].gpus == 32 * rows["F"].instances
    assert rows["A"].gpus == 8 * rows["F"].instances
