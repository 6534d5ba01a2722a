"""Groups by modality with pools of their own, and encodings kept: when they pay, what they are."""

from dataclasses import replace

import pytest

from pdplan import solve
from pdplan.planner import evaluate
from pdplan.planner.verifying import spec_of
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

PICTURE = {"width": 1280, "height": 960}
MIXED = {"histogram": {"values": [0, 1], "weights": [1, 1]}}


def question(count=MIXED, **keys):
    workload = {"rate": "10 req/s", "isl": 300, "osl": 100, "ttft": "900 ms", "tpot": "40 ms"}
    if count:
        workload["images"] = {"count": count, **PICTURE}
    workload |= keys.pop("workload", {})
    base = {"model": "qwen2.5-vl-7b", "engine": "vllm-2024", "hardware": ["a100-80gb-sxm"]}
    search = {"tp": [1]} | keys.pop("search", {})
    return scenario_from(base | {"workload": workload, "search": search} | keys)


def as_system(scenario, name="elasticmm"):
    return applied(scenario, name, load_system(name))


def without_groups(plan):
    """Pools but for what is told of groups alone."""
    told = {"burst_tolerance", "mismatch"}
    return [
        replace(p, options={k: v for k, v in p.options.items() if k not in told})
        for p in plan.pools
    ]


@pytest.mark.parametrize("count", [1, None])
def test_requests_of_one_modality_are_one_group(count):
    """Exactly the plan of encoders apart, with one encoder a request."""
    one = question(count, search={"parallel_encode": [1]})
    ours, epd = solve(as_system(one)), solve(as_system(one, "epd"))
    assert ours.label == epd.label
    assert without_groups(ours) == list(epd.pools)
    assert ours.prediction == epd.prediction


def test_the_program_decides_whether_modalities_share():
    """Alike objectives share; where media may wait for long, each has what it needs."""
    alike = solve(as_system(question()))
    assert "+" not in alike.placement
    assert [kind.name for kind in alike.prediction.classes] == ["all-text", "all-media"]
    forced = solve(as_system(question(search={"tp": [1], "split": "always"})))
    assert sorted(forced.placement.split(" + ")) == ["E-P-D", "P-D"]
    assert forced.gpus >= alike.gpus
    groups = [pool.options["classes"] for pool in forced.pools]
    assert {tuple(names) for names in groups} == {("all-text",), ("all-media",)}


def test_a_plan_of_modalities_reads_back():
    scenario = as_system(question(search={"tp": [1], "split": "always"}))
    plan = solve(scenario)
    again = evaluate(spec_of(plan, scenario))
    assert again.pools == plan.pools
    assert again.prediction == plan.prediction
    assert again.options == plan.options == {"grouping": {"by": "modality"}}


def test_burst_tolerance_is_capacity_over_mean_demand():
    """Of the mean, though the plan is made for the peak."""
    plan = solve(as_system(question(workload={"peak_factor": 1.5})))
    for pool in plan.pools:
        assert pool.options["burst_tolerance"] == pytest.approx(1.5 / pool.utilization)
        assert pool.options["burst_tolerance"] == pytest.approx(pool.capacity_rps / 10)


@pytest.mark.parametrize("hit", [0.3, 0.8])
def test_cached_encodings_thin_the_work_of_encoders_alone(hit):
    """T_E (1 - hit): the encode pool carries 1 / (1 - hit) as much; prefill and hops as before."""
    plain = question(1, search={"tp": [1], "placements": ["E-P-D"]})
    plan = solve(plain)
    spec = spec_of(plan, plain)
    options = {"encode_cache": {"hit": hit}}
    cached = evaluate(replace(spec, options=type(spec.options).model_validate(options)))
    encode, *others = cached.pools
    assert encode.capacity_rps == pytest.approx(plan.pools[0].capacity_rps / (1 - hit))
    for now, before in zip(others, plan.pools[1:], strict=True):
        assert now.capacity_rps == pytest.approx(before.capacity_rps)
    for now, before in zip(cached.transfers, plan.transfers, strict=True):
        assert now.bytes_per_request == pytest.approx(before.bytes_per_request)
    before, now = plan.prediction.ttft_terms_s, cached.prediction.ttft_terms_s
    assert now.encode == pytest.approx((1 - hit) * before.encode, rel=1e-6)
    assert now.encode_wait < before.encode_wait


def test_cached_encodings_save_encoders():
    busy = question(2, workload={"rate": "60 req/s"}, search={"tp": [1], "placements": ["E-P-D"]})
    cached = replace(
        busy, options=type(busy.options).model_validate({"encode_cache": {"hit": 0.7}})
    )
    plain, saved = solve(busy), solve(cached)
    assert saved.pools[0].instances < plain.pools[0].instances
    assert saved.cost_usd_per_hour < plain.cost_usd_per_hour
