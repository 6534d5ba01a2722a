"""Plans written down, read back and evaluated."""

from dataclasses import replace

import pytest

from pdplan import evaluate, load_plan, solve
from pdplan.errors import InfeasibleError, SpecError, UnfitError
from pdplan.planner import max_rate
from pdplan.specs.scenario import scenario_from

BY_HAND = """\
placement: P-D
model: llama-3.1-70b
engine: vllm
workload:
  rate: 6 req/s
  isl: {lognormal: {mean: 1500, cv: 1.0}}
  osl: {lognormal: {mean: 250, cv: 0.8}}
  ttft: 800 ms
  tpot: 40 ms
pools:
  - {name: prefill, stages: P, hardware: h100-sxm, instances: 3, tp: 4, weight_dtype: bf16,
     kv_dtype: bf16}
  - {name: decode, stages: D, hardware: h100-sxm, instances: 2, tp: 4, max_batch: 256,
     weight_dtype: bf16, kv_dtype: bf16}
"""


@pytest.fixture
def by_hand(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(BY_HAND, encoding="utf-8")
    return load_plan(path)


@pytest.mark.parametrize("seed", range(40))
def test_a_round_trip_changes_nothing(seed, random_question, written):
    plan = solve(scenario_from(random_question(seed)))
    if plan.status == "infeasible":
        return
    read = evaluate(written(plan))
    before, after = plan.to_dict(), read.to_dict()
    for key in (
        "prediction", "pools", "transfers", "workload", "label", "gpus", "cost_usd_per_hour",
        "usd_per_million_output_tokens", "power_w", "provenance",
    ):  # fmt: skip
        assert before[key] == after[key], key
    assert read.status == "feasible"
    assert read.binding == ()
    again = evaluate(written(read)).to_dict()
    assert again == after


def test_a_workload_without_name_keeps_its_class(random_question, written):
    question = random_question(2, limits=False)
    del question["workload"]["name"]
    plan = solve(scenario_from(question))
    assert evaluate(written(plan)).prediction == plan.prediction


def test_the_plan_of_the_handbook_evaluates(by_hand):
    plan = evaluate(by_hand)
    assert plan.label == "3P2D"
    assert plan.gpus == 20
    assert plan.prediction.rate_rps == 6
    assert plan.binding == ()
    assert plan.pools[1].max_batch <= 256


def test_an_overloaded_fleet_says_so(by_hand):
    plan = evaluate(by_hand, rate_rps=500.0)
    assert plan.status == "infeasible"
    (told,) = plan.binding
    assert told.startswith("no steady state: pool '")
    assert told.endswith("; give --requests N for what the first N requests see")
    assert max(pool.utilization for pool in plan.pools) > 1
    assert plan.prediction.attainment < 0.01


def test_percentiles_worsen_with_the_rate(by_hand):
    found = [evaluate(by_hand, rate_rps=rate).prediction for rate in (0.5, 2.0, 6.0, 9.0)]
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        for level in ("mean", "p90", "p99"):
            values = [getattr(getattr(p, metric), level) for p in found]
            assert values == sorted(values), (metric, level)
    assert [p.rate_rps for p in found] == [0.5, 2.0, 6.0, 9.0]


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_the_largest_rate_is_the_boundary(seed, random_question, written):
    plan = solve(scenario_from(random_question(seed)))
    if plan.status == "infeasible":
        return
    spec = written(plan)
    found = max_rate(spec)
    rate = found.prediction.rate_rps
    assert rate >= plan.prediction.rate_rps * (1 - 2e-3)
    assert found.binding == ()
    assert evaluate(spec, rate_rps=rate).binding == ()
    assert evaluate(spec, rate_rps=rate * 1.01).binding != ()


def test_no_rate_keeps_an_impossible_objective(by_hand):
    kinds = tuple(replace(kind, ttft_s=0.001) for kind in by_hand.traffic.classes)
    strict = replace(by_hand, traffic=replace(by_hand.traffic, classes=kinds))
    with pytest.raises(
        InfeasibleError, match=r"no rate keeps the objectives: at 0\.006 req/s TTFT p90"
    ):
        max_rate(strict)


def changed(spec, i, **keys):
    pools = list(spec.pools)
    pools[i] = pools[i].model_copy(update=keys)
    return replace(spec, pools=tuple(pools))


def test_what_does_not_fit_is_refused(by_hand):
    with pytest.raises(UnfitError) as caught:
        evaluate(changed(by_hand, 0, tp=1))
    assert str(caught.value).startswith("pool 'prefill': does not fit on h100-sxm tp=1: ")
    assert str(caught.value).endswith(" GB usable")


def test_what_cannot_be_split_is_refused(by_hand):
    with pytest.raises(SpecError) as caught:
        evaluate(changed(by_hand, 1, tp=3))
    assert str(caught.value) == (
        "pool 'decode': tp=3 does not divide the model's 64 attention heads"
    )


def test_more_instances_never_worsen_a_percentile(by_hand):
    for i in range(2):
        few, many = evaluate(by_hand), evaluate(changed(by_hand, i, instances=9))
        assert many.prediction.ttft_s.p90 <= few.prediction.ttft_s.p90
        assert many.prediction.tpot_s.p90 <= few.prediction.tpot_s.p90
        assert many.cost_usd_per_hour > few.cost_usd_per_hour


def test_a_batch_of_one_evaluates(by_hand):
    plan = evaluate(changed(by_hand, 1, max_batch=1), rate_rps=0.05)
    assert plan.pools[1].max_batch == 1
    tpot = plan.prediction.tpot_s  # with one request in a step only its own context matters
    assert tpot.p50 == pytest.approx(tpot.mean, rel=1e-3)
    assert tpot.p50 < tpot.p99 < 1.05 * tpot.p50
