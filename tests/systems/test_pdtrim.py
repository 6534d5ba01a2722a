"""Pruned prefill and decode: what stays the same, what falls, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from pdplan import compare, solve
from pdplan.errors import SpecError, UnfitError
from pdplan.planner import evaluate
from pdplan.pools.demand import demand
from pdplan.pools.times import stage_times
from pdplan.report.comparison import comparison
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.options import Options
from pdplan.specs.plan_file import load_plan
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.stages.machine import Shape
from pdplan.systems import applied

WORKLOAD = {"rate": "6 req/s", "isl": 2000, "osl": 200, "ttft": "900 ms", "tpot": "40 ms"}
GPU = {"hardware": "h100-sxm", "instances": 1}
APART = [{"name": "prefill", "stages": "P", **GPU}, {"name": "decode", "stages": "D", **GPU}]
TOGETHER = [{"name": "all", "stages": "PD", **GPU}]


@pytest.fixture
def pruned(tmp_path):
    def evaluated(prune=None, pools=APART, **workload):
        placement = "-".join(pool["stages"] for pool in pools)
        plan = {"placement": placement, "model": "llama-3.1-8b", "engine": "vllm", "pools": pools}
        plan["workload"] = WORKLOAD | workload
        if prune is not None:
            plan["options"] = {"prune": prune}
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(plan), encoding="utf-8")
        return evaluate(load_plan(path))

    return evaluated


def question(**keys):
    base = {"model": "llama-3.1-8b", "hardware": ["h100-sxm"], "search": {"tp": [1]}}
    return scenario_from(base | {"workload": WORKLOAD} | keys)


def latencies(plan):
    """All that is predicted but energy, which is not told where options are given."""
    return replace(plan.prediction, energy_j_per_token=None)


@pytest.mark.parametrize(
    "nothing", [{}, {"kv_share": 1.0}, {"accuracy_drop": 0.0, "max_accuracy_drop": 0.0}]
)
@pytest.mark.parametrize("pools", [APART, TOGETHER])
def test_leaving_nothing_out_changes_nothing(pruned, nothing, pools):
    plain, same = pruned(pools=pools), pruned(nothing, pools)
    assert latencies(same) == latencies(plain)
    assert same.pools == plain.pools
    assert same.transfers == plain.transfers
    assert same.warnings == plain.warnings == ()


def test_the_preset_without_its_share_is_prefill_and_decode_apart():
    ours = replace(applied(question(), "pdtrim", load_system("pdtrim")), options=Options())
    plain = question(search={"tp": [1], "placements": ["P-D"]})
    assert solve(ours).prediction == solve(plain).prediction
    assert solve(ours).pools == solve(plain).pools


def test_a_share_of_the_kv_is_of_transfer_only(pruned):
    plain, less = pruned(), pruned({"kv_share": 0.25})
    assert less.transfers[0].bytes_per_request == plain.transfers[0].bytes_per_request / 4
    assert less.transfers[0].seconds == pytest.approx(plain.transfers[0].seconds / 4)
    assert less.pools == plain.pools
    assert less.prediction.tpot_s == plain.prediction.tpot_s


def test_layers_left_out_of_decode_leave_prefill_as_it_is(pruned):
    plain = pruned()
    for layers in (4, 8, 16):
        less = pruned({"decode_layers": layers})
        assert less.pools[0] == plain.pools[0]
        assert less.prediction.ttft_terms_s.prefill == plain.prediction.ttft_terms_s.prefill
        saved = less.pools[1].memory_bytes.weights / plain.pools[1].memory_bytes.weights
        blocks = 1 - 2 * 128256 * 4096 / 8_030_261_248  # without embedding and head
        assert saved == pytest.approx(1 - blocks * layers / 32, rel=1e-4)
        assert less.pools[1].kv_capacity_tokens > plain.pools[1].kv_capacity_tokens * 32 / (
            32 - layers
        )


@pytest.mark.parametrize("layers", [2, 4, 8])
def test_tpot_falls_by_the_share_of_layers_where_weights_bind(pruned, layers):
    """At a trickle: by 0.8 to 1.0 of |R_D| / L, the head and the host's part of a step stay."""
    trickle = {"rate": "0.05 req/s"}
    plain, less = pruned(**trickle), pruned({"decode_layers": layers}, **trickle)
    fell = 1 - less.prediction.tpot_s.mean / plain.prediction.tpot_s.mean
    assert 0.8 < fell / (layers / 32) <= 1.0


@pytest.mark.parametrize("rate", ["6 req/s", "40 req/s"])
def test_leaving_layers_out_of_decode_never_takes_more_prefill(rate):
    found = []
    for layers in (0, 4, 12):
        options = {"prune": {"decode_layers": layers}}
        asked = question(
            workload=WORKLOAD | {"rate": rate},
            options=options,
            search={"tp": [1], "placements": ["P-D"]},
        )
        found.append([pool.instances for pool in solve(asked).pools])
    assert all(p == found[0][0] for p, _ in found)
    assert sorted((d for _, d in found), reverse=True) == [d for _, d in found]


def times(prune, stages="D", isl=2000, osl=200):
    model = load_model("llama-3.1-8b")
    traffic = scenario_from({"model": "llama-3.1-8b", "hardware": ["h100-sxm"], "workload": {
        "rate": "1 req/s", "isl": isl, "osl": osl, "ttft": "1 s"}}).traffic  # fmt: skip
    work = demand(model, traffic, None, Options.model_validate({"prune": prune} if prune else {}))
    machines = {"h100-sxm": load_hardware("h100-sxm")}
    shape = Shape("h100-sxm", tp=2)
    found = stage_times(stages, [shape], machines, load_engine("vllm"), work, largest_batch=64)
    return found, work


@pytest.mark.parametrize("isl", [50, 2000, {"uniform": {"min": 20, "max": 3000}}])
def test_kv_held_by_decode_is_the_formula(isl):
    """kv / L ((L - |R_D| - |S|) ctx + |S| (min(l, ends) + generated)), mean over running ones."""
    prune = {"decode_layers": 4, "kv_layers_trimmed": 20, "first_tokens": 4, "last_tokens": 124}
    found, work = times(prune, isl=isl)
    weight, prompt = work.weight(), work.prompt_tokens
    generated = work.context_tokens - float(weight @ prompt)
    ends = float(weight @ np.minimum(prompt, 128.0))
    each = 2 * 8 * 128 * 2 / 2  # of a token and layer on one of two accelerators
    expected = each * (8 * work.context_tokens + 20 * (ends + generated))
    assert found.sequence_bytes[0] == pytest.approx(expected, rel=1e-12)
    outputs = float((work.traffic.output_weight * work.traffic.output_tokens).sum(1)[0])
    longest = each * (8 * prompt.max() + 20 * min(prompt.max(), 128) + 28 * outputs)
    assert found.longest_bytes[0] == pytest.approx(longest, rel=1e-12)
    plain, _ = times(None, isl=isl)
    assert found.spread_bytes[0] <= plain.spread_bytes[0]


def test_a_layer_whose_ends_are_the_whole_prompt_is_not_trimmed():
    whole = {"kv_layers_trimmed": 20, "last_tokens": 10**6}
    (ours, _), (plain, _) = times(whole), times(None)
    assert ours.sequence_bytes == pytest.approx(plain.sequence_bytes, rel=1e-12)
    assert ours.spread_bytes == pytest.approx(plain.spread_bytes, rel=1e-9)
    assert ours.longest_bytes == pytest.approx(plain.longest_bytes, rel=1e-12)
    assert ours.step_s == pytest.approx(plain.step_s, rel=1e-12)


@pytest.mark.parametrize("layers", [4, 8])
def test_prefill_takes_the_share_of_layers_that_it_keeps(layers):
    """T_P' = T_P (L - |R_P|) / L and a constant: within 3 %."""
    prune = {"prefill_layers": layers, "decode_layers": layers}
    (ours, _), (plain, _) = times(prune, "P"), times(None, "P")
    assert float(ours.prefill_s[0, 0] / plain.prefill_s[0, 0]) == pytest.approx(
        1 - layers / 32, rel=0.03
    )


def test_one_process_leaves_out_what_both_stages_do(pruned):
    plain = pruned(pools=TOGETHER)
    assert latencies(pruned({"decode_layers": 8}, TOGETHER)) == latencies(plain)
    both = pruned({"prefill_layers": 4, "decode_layers": 8}, TOGETHER)
    assert both.prediction == pruned({"prefill_layers": 4, "decode_layers": 4}, TOGETHER).prediction
    assert both.prediction.tpot_s.mean < plain.prediction.tpot_s.mean


def test_a_pipeline_divides_the_layers_that_are_left(pruned):
    staged = [{**APART[0], "pp": 2}, {**APART[1], "pp": 2}]
    pruned({"prefill_layers": 2, "decode_layers": 4}, staged)
    with pytest.raises(SpecError, match="pool 'decode': pp=2 does not divide the 27 layers"):
        pruned({"decode_layers": 5}, staged)


def test_a_loss_beyond_the_limit_is_refused(pruned):
    with pytest.raises(UnfitError, match=r"pruning: 3\.00% of accuracy would be lost"):
        pruned({"decode_layers": 4, "accuracy_drop": 0.03, "max_accuracy_drop": 0.02})
    asked = question(options={"prune": {"kv_share": 0.2, "max_accuracy_drop": 0.02}})
    with pytest.raises(UnfitError, match="not stated"):
        solve(asked)


def test_plans_that_prune_say_so(pruned):
    said = pruned({"decode_layers": 4, "accuracy_drop": 0.012})
    assert said.warnings == (
        "another model than the one named: without 4 layers of decode; "
        "accuracy lost: 1.20% (given)",
    )
    systems = {name: load_system(name) for name in ("pdtrim", "distserve")}
    grid = comparison(compare(question(), systems))
    at = grid.columns.index("accuracy_drop")
    told = {row[0]: row[at] for row in grid.rows}
    assert told["pdtrim"] == "not stated"
    assert told["distserve"] is None
    plain = comparison(compare(question(), {"distserve": systems["distserve"]}))
    assert "accuracy_drop" not in plain.columns
