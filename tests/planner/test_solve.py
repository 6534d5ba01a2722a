"""Properties of plans: what may and may not change when the question does."""

import copy
import math

import pytest

from pdplan import compare, solve
from pdplan.errors import SpecError, UnfitError
from pdplan.planner.context import Context
from pdplan.specs.scenario import scenario_from

CHAT = {
    "model": "llama-3.1-8b",
    "hardware": ["h100-sxm"],
    "workload": {
        "rate": "60 req/s",
        "isl": {"lognormal": {"mean": 1500, "cv": 1.0}},
        "osl": {"lognormal": {"mean": 200, "cv": 0.8}},
        "ttft": "500 ms",
        "tpot": "30 ms",
    },
}
SEEDS = range(24)


def with_keys(question, **keys):
    question = copy.deepcopy(question)
    workload = keys.pop("workload", {})
    return question | keys | {"workload": question["workload"] | workload}


def worth(question):
    value = solve(scenario_from(question)).objective.value
    return math.inf if value is None else value


def no_dearer(a, b):
    assert worth(a) <= worth(b) * (1 + 1e-9)


def scaled(text, factor):
    value, unit = text.split()
    return f"{float(value) * factor} {unit}"


@pytest.mark.parametrize("seed", SEEDS)
def test_adding_a_hardware_never_hurts(seed, random_question):
    question = random_question(seed)
    more = [*question["hardware"], {"id": "h200-sxm"}]
    no_dearer(with_keys(question, hardware=more), question)


CHANGES = {
    "rate": lambda w: {"rate": scaled(w["rate"], 0.6)},
    "ttft": lambda w: {"ttft": scaled(w["ttft"], 1.3)},
    "tpot": lambda w: {"tpot": scaled(w["tpot"], 1.3)},
    "no objectives": lambda w: {"ttft": None, "tpot": None},
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("change", CHANGES)
def test_asking_for_less_never_costs_more(seed, change, random_question):
    question = random_question(seed)
    no_dearer(with_keys(question, workload=CHANGES[change](question["workload"])), question)


@pytest.mark.parametrize("seed", SEEDS)
def test_limits_never_help(seed, random_question):
    question = random_question(seed, limits=False)
    stocked = [hardware | {"stock": 4} for hardware in question["hardware"]]
    no_dearer(question, with_keys(question, hardware=stocked))
    no_dearer(question, with_keys(question, limits={"max_gpus": 3}))


@pytest.mark.parametrize("seed", SEEDS)
def test_prices_scale_cost(seed, random_question):
    question = random_question(seed, limits=False) | {"objective": "cost"}
    offers = scenario_from(question).hardware
    dearer = [{"id": o.id, "price": f"{o.usd_per_hour * 3} USD/h"} for o in offers]
    value, tripled = worth(question), worth(with_keys(question, hardware=dearer))
    assert tripled == value or tripled == pytest.approx(3 * value, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_objective_is_least_under_its_own_name(seed, random_question):
    question = random_question(seed, limits=False)
    plans = {
        aim: solve(scenario_from(with_keys(question, objective=aim)))
        for aim in ("cost", "gpus", "power")
    }
    if plans["cost"].status == "infeasible":
        assert {plan.status for plan in plans.values()} == {"infeasible"}
        return
    for other in plans.values():
        assert plans["cost"].cost_usd_per_hour <= other.cost_usd_per_hour * (1 + 1e-9)
        assert plans["gpus"].gpus <= other.gpus
        assert plans["power"].power_w <= other.power_w * (1 + 1e-9)
    assert plans["gpus"].objective.value == plans["gpus"].gpus
    assert plans["power"].objective.value == pytest.approx(plans["power"].power_w)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_solves_agree_to_the_last_digit(seed, random_question):
    found = []
    for _ in range(2):
        plan = solve(scenario_from(random_question(seed))).to_dict()
        del plan["solver"]["seconds"]
        found.append(plan)
    assert found[0] == found[1]


@pytest.mark.parametrize("seed", range(60))
def test_a_plan_is_rebuilt_from_its_mapping(seed, random_question):
    question = random_question(seed)
    scenario = scenario_from(question)
    plan = solve(scenario).to_dict()
    if plan["status"] == "infeasible":
        assert plan["infeasible"]["reason"]
        assert plan["infeasible"]["nearest"]
        assert plan["pools"] == []
        return
    assert plan["status"] == "optimal"
    assert plan["objective"]["gap"] == 0
    assert plan["objective"]["bound"] == plan["objective"]["value"]
    offers = {choice.id: choice for choice in scenario.hardware}
    used = dict.fromkeys(offers, 0)
    for pool in plan["pools"]:
        assert pool["gpus"] == pool["instances"] * pool["tp"] * pool["pp"] * pool["dp"]
        used[pool["hardware"]] += pool["gpus"]
        assert 0 < pool["utilization"] < 1
        assert pool["utilization"] * pool["capacity_rps"] == pytest.approx(
            scenario.traffic.rate_rps
        )
        memory = pool["memory_bytes"]
        parts = [memory[k] for k in ("weights", "kv", "activations", "reserve")]
        assert sum(parts) == pytest.approx(memory["total"])
        assert memory["total"] <= memory["limit"] * (1 + 1e-12)
        assert min(parts) >= 0
    assert plan["gpus"] == sum(used.values())
    cost = 0.0
    for name, count in used.items():
        node = offers[name].spec.accelerators_per_node if scenario.limits.whole_nodes else 1
        rented = -(-count // node) * node
        assert offers[name].stock is None or rented <= offers[name].stock
        cost += rented * offers[name].usd_per_hour
    assert plan["cost_usd_per_hour"] == pytest.approx(cost)
    limits = scenario.limits
    assert limits.max_gpus is None or plan["gpus"] <= limits.max_gpus
    assert limits.budget_usd_per_hour is None or cost <= limits.budget_usd_per_hour * (1 + 1e-9)
    own = {"cost": cost, "gpus": plan["gpus"], "power": plan["power_w"]}[scenario.objective]
    assert plan["objective"]["value"] == pytest.approx(own)
    counts = [pool["instances"] for pool in plan["pools"]]
    stages = plan["placement"].split("-")
    assert plan["label"] == "".join(f"{n}{s}" for n, s in zip(counts, stages, strict=True))
    caches = {pool["kv_dtype"] for pool in plan["pools"] if pool["stages"] != "E"}
    assert len(caches) == 1
    prediction = plan["prediction"]
    assert sum(prediction["ttft_terms_s"].values()) == pytest.approx(prediction["ttft_s"]["mean"])
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        spread = prediction[metric]
        assert spread["p50"] <= spread["p90"] <= spread["p95"] <= spread["p99"]
    assert prediction["targets"]
    for target in prediction["targets"]:
        assert target["predicted_s"] <= target["objective_s"] * (1 + 1e-9)
    assert 0 < prediction["attainment"] <= 1
    assert prediction["goodput_rps"] == pytest.approx(
        prediction["rate_rps"] * prediction["attainment"]
    )


def test_what_is_pinned_stays():
    roles = {
        "P": {"tp": [4], "hardware": ["h200-sxm"]},
        "D": {"instances": 5, "max_batch": [48], "hardware": ["h100-sxm"]},
    }
    search = {"placements": ["P-D"], "tp": [1, 2], "roles": roles}
    question = with_keys(CHAT, hardware=["h100-sxm", "h200-sxm"], search=search)
    plan = solve(scenario_from(question))
    assert plan.placement == "P-D"
    prefill, decode = plan.pools
    assert (prefill.hardware, prefill.tp) == ("h200-sxm", 4)
    assert (decode.hardware, decode.instances, decode.max_batch) == ("h100-sxm", 5, 48)
    assert decode.tp in (1, 2)


def test_nodes_are_rented_whole():
    loose, whole = (solve(scenario_from(with_keys(CHAT, whole_nodes=w))) for w in (False, True))
    price = scenario_from(CHAT).hardware[0].usd_per_hour
    assert whole.cost_usd_per_hour == pytest.approx(price * 8 * -(-whole.gpus // 8))
    assert whole.cost_usd_per_hour >= loose.cost_usd_per_hour
    assert whole.objective.value == pytest.approx(whole.cost_usd_per_hour)


def test_a_budget_pays_for_whole_nodes():
    question = with_keys(CHAT, whole_nodes=True, limits={"budget": "50 USD/h"})
    plan = solve(scenario_from(question))
    assert plan.status == "infeasible" or plan.cost_usd_per_hour <= 50


def test_every_class_keeps_its_own_objective():
    shape = {"isl": {"lognormal": {"mean": 900, "cv": 1.0}}, "osl": 150}
    classes = [
        {"name": "quick", "share": 0.2, "ttft": "100 ms", "tpot": "20 ms", **shape},
        {"name": "patient", "share": 0.7, "ttft": "5 s", "tpot": "60 ms", **shape},
        {"name": "free", "share": 0.1, **shape},
    ]
    question = CHAT | {"workload": {"rate": "40 req/s", "classes": classes}}
    plan = solve(scenario_from(question))
    targets = {(t.request_class, t.metric): t for t in plan.prediction.targets}
    assert set(targets) == {
        (name, metric) for name in ("quick", "patient") for metric in ("ttft", "tpot")
    }
    assert all(target.met for target in targets.values())
    assert sum(c.share for c in plan.prediction.classes) == pytest.approx(1)
    slack = [classes[0] | {"ttft": "5 s", "tpot": "60 ms"}, *classes[1:]]
    no_dearer(CHAT | {"workload": {"rate": "40 req/s", "classes": slack}}, question)


def test_compare_lists_all_placements():
    rows = compare(scenario_from(CHAT))
    assert {row.placement for row in rows} == {"PD", "EPD", "P-D", "EP-D", "E-PD", "E-P-D"}
    assert [row.placement for row in rows] == [
        row.placement for row in compare(scenario_from(CHAT))
    ]
    for row in rows:
        assert (row.plan is None) == (row.reason is not None)
        if row.plan is not None:
            assert row.plan.placement == row.placement
            assert row.objective == row.plan.objective.value
    reasons = {row.placement: row.reason for row in rows if row.reason}
    assert reasons == {
        "EPD": "no request carries media: the same as PD",
        "E-PD": "no request carries media: the same as PD",
        "EP-D": "no request carries media: the same as P-D",
        "E-P-D": "no request carries media: the same as P-D",
    }


def test_alternatives_are_no_better():
    plan = solve(scenario_from(CHAT))
    assert len(plan.alternatives) == 5
    for row in plan.alternatives:
        assert row.objective is None or row.objective >= plan.objective.value


def test_an_unsuited_placement_says_why():
    with pytest.raises(UnfitError) as caught:
        solve(scenario_from(with_keys(CHAT, search={"placements": ["E-P-D"]})))
    assert str(caught.value) == ("placement E-P-D: no request carries media: the same as P-D")


def test_a_system_that_nobody_knows_is_refused():
    with pytest.raises(SpecError, match="unknown system 'splitwise'"):
        solve(scenario_from(CHAT), system="splitwise")


EXTREMES = {
    "batch of 1": {"search": {"max_batch": [1]}},
    "batch of 512": {"search": {"max_batch": [512], "tp": [1, 2, 4]}},
    "isl 16": {"workload": {"isl": 16}},
    "isl 100k": {"workload": {"isl": 100_000, "rate": "0.1 req/s", "ttft": "60 s"}},
    "a trickle": {"workload": {"rate": "0.001 req/s"}},
    "thousands of instances": {"workload": {"rate": "60000 req/s"}},
    "one output token": {"workload": {"osl": 1}},
    "no objectives": {"workload": {"ttft": None, "tpot": None}},
    "percentiles": {"workload": {"percentile": [50, 90, 99]}},
    "regular arrivals": {"workload": {"arrival_scv": 0}},
    "bursts": {"workload": {"arrival_scv": 5}},
    "prefill first": {"search": {"schedulers": ["prefill_first"]}},
    "first token from prefill": {"first_token_from": "prefill", "search": {"placements": ["P-D"]}},
    "random routing": {"routing": "random"},
    "round robin": {"routing": "round_robin"},
    "tpu-v5e": {"hardware": [{"id": "tpu-v5e", "price": "1 USD/h"}]},
    "gaudi3": {"hardware": [{"id": "gaudi3", "price": "1 USD/h"}]},
    "kimi-k2": {"model": "kimi-k2", "hardware": ["h200-sxm"], "workload": {"tpot": "60 ms"}},
    "minimax-m2.5": {"model": "minimax-m2.5", "hardware": ["h200-sxm"]},
    "qwen3-next": {"model": "qwen3-next-80b-a3b", "hardware": ["h200-sxm"]},
    "cross attention": {
        "model": "llama-3.2-90b-vision",
        "workload": {
            "rate": "2 req/s",
            "ttft": "3 s",
            "images": {"count": 1, "width": 1120, "height": 1120},
        },
    },
    "no to twenty images": {
        "model": "qwen2.5-vl-7b",
        "workload": {
            "rate": "2 req/s",
            "ttft": "20 s",
            "images": {
                "count": {"histogram": {"values": [0, 20], "weights": [1, 1]}},
                "width": 1280,
                "height": 960,
            },
        },
    },
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_have_plans_that_hold(name):
    plan = solve(scenario_from(with_keys(CHAT, **EXTREMES[name])))
    assert plan.status == "optimal", plan.infeasible
    assert all(target.met for target in plan.prediction.targets)
    assert all(pool.utilization < 1 for pool in plan.pools)
    assert math.isfinite(plan.prediction.e2e_s.p99)


def test_a_prompt_beyond_the_context_is_refused():
    with pytest.raises(UnfitError) as caught:
        solve(scenario_from(with_keys(CHAT, workload={"isl": 500_000})))
    assert str(caught.value) == (
        "workload: the median prompt has 500000 tokens; model 'Llama-3.1-8B' takes 131072"
    )


def test_a_far_optimum_is_found_without_counting_up_to_it():
    """TTFT needs 93 times the instances that TPOT needs: the least count is raised, not walked."""
    question = {
        "model": "mixtral-8x7b",
        "hardware": ["l40s"],
        "objective": "gpus",
        "rate": "40 req/s",
        "percentile": 99,
        "workload": {"isl": 4000, "osl": 1000, "ttft": "1000 ms", "tpot": "15 ms"},
        "search": {"placements": ["PD"]},
    }
    plan = solve(scenario_from(question))
    assert plan.status == "optimal"
    assert plan.prediction.ttft_s.p99 <= 1.0
    assert plan.solver.columns < 50_000
    (pool,) = plan.pools
    fewer = question["search"] | {"roles": {"PD": {"instances": pool.instances - 1}}}
    beaten = solve(scenario_from(question | {"search": fewer}))
    assert beaten.status == "infeasible" or beaten.objective.value >= plan.objective.value


def test_a_history_that_is_kept_leaves_less_room_for_requests():
    kept = {"session": {"turns": 6, "think": "60 s"}, "isl": 600, "osl": 150, "tpot": "60 ms"}
    plans = []
    for think in ("0 s", "60 s"):
        keys = with_keys(CHAT, workload=kept | {"session": kept["session"] | {"think": think}})
        scenario = scenario_from(keys)
        plans.append(solve(scenario))
    quick, slow = plans
    assert slow.status == quick.status == "optimal"
    assert slow.objective.value >= quick.objective.value
    demand = Context.of(scenario).demand
    for pool in slow.pools:
        if "P" in pool.stages:
            idle = demand.idle_tokens_s * demand.rate_rps / pool.instances
            running = (pool.max_batch or 1) * demand.context_tokens
            assert idle + running <= pool.kv_capacity_tokens * 1.001
