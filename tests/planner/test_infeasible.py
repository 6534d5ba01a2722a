"""No plan is an answer too: what binds, how near it came, and what helps."""

import re

import pytest

from pdplan import solve
from pdplan.specs.scenario import scenario_from

CHAT = {
    "model": "llama-3.1-8b",
    "hardware": ["h100-sxm"],
    "workload": {"rate": "500 req/s", "isl": 1000, "osl": 200, "ttft": "1 s", "tpot": "50 ms"},
    "search": {"placements": ["PD"]},
}


def asked(**keys):
    workload = CHAT["workload"] | keys.pop("workload", {})
    return CHAT | keys | {"workload": workload}


def refused(question):
    plan = solve(scenario_from(question))
    assert plan.status == "infeasible"
    assert plan.pools == ()
    assert plan.cost_usd_per_hour is None
    assert plan.binding == (plan.infeasible.limit,)
    assert plan.alternatives[0].reason
    return plan.infeasible


def test_memory():
    question = asked(
        model="deepseek-v3", hardware=["l4"], search={"placements": ["PD"], "pp": [1], "dp": [1]}
    )
    found = refused(question)
    assert re.fullmatch(
        r"PD: pool PD: memory: [\d.]+ GB needed before any cache on l4 .*, [\d.]+ GB usable",
        found.reason,
    )
    assert (found.limit, found.relaxation) == ("memory", None)


def test_tpot():
    found = refused(asked(workload={"tpot": "2 ms"}))
    assert found.limit == "tpot"
    assert re.fullmatch(
        r"PD: pool PD: TPOT [\d.]+ ms at best \(h100-sxm tp=8 batch=1\), objective 2 ms; "
        r"4 of 4 candidates fit in memory",
        found.nearest,
    )
    assert re.fullmatch(
        r"TPOT objective of [\d.]+ ms \(x [\d.]+\): PD at [\d.]+ USD/h", found.relaxation
    )


def test_ttft():
    found = refused(asked(workload={"ttft": "10 ms"}))
    assert found.limit == "ttft"
    assert re.fullmatch(
        r"PD: TTFT p90 [\d.]+ ms at best \(h100-sxm tp=8\), objective 10 ms", found.nearest
    )


LIMITS = {
    "max_gpus": ({"limits": {"max_gpus": 1}}, "max_gpus of {} instead of 1"),
    "budget": ({"limits": {"budget": "5 USD/h"}}, "budget of {} USD/h instead of 5 USD/h"),
    "power limit": ({"limits": {"power": "700 W"}}, "power limit of {} W instead of 700 W"),
    "stock": (
        {"hardware": [{"id": "h100-sxm", "stock": 2}]},
        "stock of h100-sxm of {} instead of 2",
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name):
    keys, text = LIMITS[name]
    found = refused(asked(**keys))
    free = solve(scenario_from(asked()))
    needed = {
        "max_gpus": free.gpus,
        "budget": free.cost_usd_per_hour,
        "power limit": free.power_w,
        "stock": free.gpus,
    }[name]
    sentence = text.format(f"{needed:g}")
    assert found.reason == f"PD: {sentence}"
    assert found.relaxation == f"{sentence}: PD at {free.cost_usd_per_hour:.2f} USD/h"


@pytest.mark.parametrize("seed", [*range(60), 82, 199])
def test_the_relaxation_helps(seed, random_question):
    question = random_question(seed)
    plan = solve(scenario_from(question))
    if plan.status != "infeasible" or not plan.infeasible.relaxation:
        return
    text, _, promise = plan.infeasible.relaxation.rpartition(": ")
    for metric, value in re.findall(r"(TTFT|TPOT) objective of ([\d.]+ \w+)", text):
        question["workload"][metric.lower()] = value
    for limit, value in re.findall(r"(max_gpus|budget) of ([\d.]+)(?: USD/h)? instead", text):
        # The sentence rounds to six digits.
        question["limits"] = {
            limit: int(value) if limit == "max_gpus" else f"{float(value) * (1 + 1e-5)} USD/h"
        }
    for name, value in re.findall(r"stock of ([\w-]+) of (\d+) instead", text):
        for hardware in question["hardware"]:
            if hardware["id"] == name:
                hardware["stock"] = int(value)
    relaxed = solve(scenario_from(question))
    assert relaxed.status == "optimal", (text, relaxed.infeasible)
    # The promise is that of a coarse ladder of counts, so the plan may be better.
    digits = 0.01 if "USD" in promise else 0.51
    assert relaxed.objective.value <= float(promise.split()[2]) + digits


@pytest.mark.parametrize("seed", [5, 9, 16, 17, 42])
def test_a_colocated_pool_never_blames_the_network(seed, random_question):
    plan = solve(scenario_from(random_question(seed)))
    for row in plan.alternatives:
        if row.placement in ("PD", "EPD") and row.reason:
            assert "network" not in row.reason


def test_a_limit_tighter_than_one_instance_is_named():
    found = refused(asked(model="llama-3.1-70b", limits={"max_gpus": 1}))
    assert re.fullmatch(r"PD: max_gpus of \d+ instead of 1", found.reason)
