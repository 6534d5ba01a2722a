"""Scenario groups with their own pools behind a gateway: when they pay, and what they reduce to."""

from dataclasses import replace

import pytest

from pdplan import solve
from pdplan.planner import evaluate
from pdplan.planner.verifying import spec_of
from pdplan.specs.options import NO_OPTIONS
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied


def question(hit=0.8, pooled=0.8, classes=2, options=None, **keys):
    """Two scenarios of the same lengths whose prefixes are found as often, alone and pooled."""
    kind = {"isl": 2500, "osl": 60, "ttft": "600 ms", "tpot": "60 ms"}
    kind["prefix"] = {"hit": hit, "shared_hit": pooled}
    if classes == 1:
        workload = {"rate": "40 req/s", **kind}
    else:
        names = ("search", "assistant")
        workload = {
            "rate": "40 req/s",
            "classes": [{"name": n, "share": 0.5, **kind} for n in names],
        }
    base = {"model": "llama-2-13b", "hardware": ["a100-80gb-sxm"], "objective": "gpus"}
    base |= {"search": {"tp": [1]}, "workload": workload}
    if options is not None:
        base["options"] = options
    return scenario_from(base | keys)


def planned(scenario):
    return solve(applied(scenario, "pd-serve", load_system("pd-serve")))


def test_one_group_is_prefill_and_decode_apart_with_central_queues():
    """Exactly, where nothing is retried and KV goes layer by layer as it does elsewhere."""
    one = applied(question(classes=1), "pd-serve", load_system("pd-serve"))
    bare = replace(one, options=NO_OPTIONS)
    search = {"tp": [1], "placements": ["P-D"]}
    plain = question(classes=1, search=search, routing="central", first_token_from="prefill")
    assert solve(bare).pools == solve(plain).pools
    assert solve(bare).prediction == solve(plain).prediction


def test_groups_share_where_pooling_is_better():
    """Equal hits alone and pooled: one fleet serves both on no more accelerators."""
    plan = planned(question())
    assert plan.status == "optimal"
    assert "+" not in plan.placement
    apart = planned(question(search={"tp": [1], "split": "always"}))
    assert apart.gpus >= plan.gpus


def test_groups_have_their_own_pools_where_prefix_hits_pay():
    """Pooled caches that find little: what is computed again is more than pooling saves."""
    plan = planned(question(pooled=0.0))
    assert plan.status == "optimal"
    assert plan.placement == "P-D + P-D"
    together = planned(question(pooled=0.0, search={"tp": [1], "split": "never"}))
    assert together.gpus > plan.gpus


def test_a_group_alone_has_its_own_hits():
    """What is solved is what the written plan delivers, groups and hits included."""
    scenario = applied(question(pooled=0.0), "pd-serve", load_system("pd-serve"))
    plan = solve(scenario)
    again = evaluate(spec_of(plan, scenario))
    assert again.pools == plan.pools
    assert again.prediction == plan.prediction


def test_groups_are_told_their_tolerance_and_mismatch():
    plan = planned(question(options={"gateway": {"timeout": "1 s"}}))
    prefill, decode = plan.pools
    for pool in plan.pools:
        assert pool.options["burst_tolerance"] == pytest.approx(pool.capacity_rps / 40)
        assert pool.options["burst_tolerance"] == pytest.approx(1 / pool.utilization)
    ratio = prefill.capacity_rps / decode.capacity_rps
    assert prefill.options["mismatch"] == pytest.approx(abs(1 - ratio))
    assert any("no first token within 1 s" in text for text in plan.warnings)


def test_a_gateway_plans_with_central_queues_and_its_offers_take_time():
    plain = question(
        options={"gateway": {"timeout": "1 s"}}, search={"placements": ["P-D"], "tp": [1]}
    )
    plan = solve(plain)
    assert {pool.options["routing"] for pool in plan.pools} == {"central"}
    spec = spec_of(plan, plain)
    slow = replace(
        spec,
        options=spec.options.model_copy(
            update={"gateway": spec.options.gateway.model_copy(update={"retry": 0.1})}
        ),
    )
    waits = [evaluate(s).prediction.ttft_terms_s.prefill_wait for s in (spec, slow)]
    assert 0 < waits[1] - waits[0] < 0.05  # half an interval for those who wait


def test_nothing_is_said_of_groups_where_no_option_asks():
    plan = solve(question(search={"placements": ["P-D"], "tp": [1]}))
    assert not {"burst_tolerance", "mismatch"} & {k for p in plan.pools for k in p.options}
    assert not any("first token within" in text for text in plan.warnings)
