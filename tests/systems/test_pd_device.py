"""Answers finished by devices through solve and evaluate."""

from dataclasses import replace

import pytest

from pdplan import load_scenario, solve
from pdplan.errors import InfeasibleError, UnfitError
from pdplan.planner import evaluate
from pdplan.planner.verifying import spec_of
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

DEVICE = {"device_prefill": 1000, "device_decode": "40 ms", "rtt": "50 ms", "uplink": "10 Mbit/s"}
NEAR = {"device_prefill": 1000, "device_decode": "40 ms", "rtt": "0 s"}


def scenario(option=None, *, placement="P-D", isl=4096, tpot="60 ms", **keys):
    return scenario_from({
        "model": "llama-3.1-8b",
        "hardware": ["h100-sxm"],
        "workload": {
            "rate": "20 req/s", "isl": isl, "osl": {"lognormal": {"mean": 1000, "cv": 0.4}},
            "ttft": "2 s", "tpot": tpot,
        },
        "search": {"placements": [placement], "tp": [1]},
        "options": {} if option is None else {"handoff": option},
        **keys,
    })  # fmt: skip


def handed(plan):
    return plan.pools[-1].options["handed_over"]


@pytest.mark.parametrize("placement", ["PD", "P-D"])
def test_a_fleet_that_sends_whole_answers_is_the_fleet_without_devices(placement):
    plain = solve(scenario(placement=placement))
    whole = solve(scenario({**NEAR, "tokens": 100_000}, placement=placement))
    none = solve(scenario({**NEAR, "capable": 0.0}, placement=placement))
    for plan in (whole, none):
        assert plan.prediction == replace(plain.prediction, energy_j_per_token=None)
        assert [p.instances for p in plan.pools] == [p.instances for p in plain.pools]
        assert plan.cost_usd_per_hour == plain.cost_usd_per_hour


@pytest.mark.parametrize("placement", ["PD", "P-D"])
def test_fewer_accelerators_and_a_quicker_first_token(placement):
    plain = solve(scenario(placement=placement))
    plan = solve(scenario(DEVICE, placement=placement))
    assert plan.gpus < plain.gpus
    assert plan.prediction.ttft_s.p99 < 4096 / 1000  # the device alone
    assert handed(plan)["tokens"] == 83
    assert handed(plan)["decode_gain"] == pytest.approx(1000 / 83, rel=0.01)
    assert handed(plan)["gap_s"] == 0
    again = evaluate(spec_of(plan, scenario(DEVICE, placement=placement)))
    assert again.prediction == plan.prediction
    assert again.pools == plan.pools


def test_prefill_stays_and_decode_shrinks():
    plain, plan = solve(scenario()), solve(scenario(DEVICE))
    assert plan.pools[0].instances == plain.pools[0].instances
    assert plan.pools[1].instances < plain.pools[1].instances / 3
    slots = plan.pools[1].mean_batch * plan.pools[1].instances
    assert slots < 83 / 1000 * 1.5 * plain.pools[1].mean_batch * plain.pools[1].instances


def test_fifteen_times_the_decoding():
    plan = solve(scenario({**DEVICE, "cloud_ttft": "1 s"}))
    assert handed(plan)["tokens"] <= 67
    assert handed(plan)["decode_gain"] >= 14.9  # answers shorter than what is sent gain nothing


def test_users_see_the_pace_and_the_whole_answer():
    found = solve(scenario(DEVICE)).prediction
    assert found.tpot_s.p90 == pytest.approx(0.050)
    assert found.tpot_s.mean == pytest.approx(0.050, rel=0.002)
    assert found.itl_s.p99 == pytest.approx(0.050)
    assert found.e2e_s.mean == pytest.approx(found.ttft_s.mean + 999 * 0.050, rel=0.01)
    added = 0.050 + 4 * 4096 / 1.25e6
    assert found.ttft_terms_s.access == pytest.approx(added)
    assert sum(
        getattr(found.ttft_terms_s, name) for name in type(found.ttft_terms_s).__slots__
    ) == pytest.approx(found.ttft_s.mean, rel=1e-6)


def test_some_devices_take_part_of_the_load():
    sizes = [solve(scenario({**DEVICE, "capable": c})).pools[1] for c in (0.0, 0.5, 1.0)]
    assert sizes[0].instances > sizes[1].instances > sizes[2].instances
    half = solve(scenario({**DEVICE, "capable": 0.5})).prediction
    plain = solve(scenario()).prediction
    assert plain.tpot_s.mean < half.tpot_s.mean < 0.050


def test_too_few_tokens_are_told_and_counted():
    plan = solve(scenario({**DEVICE, "tokens": 30}))
    gap = handed(plan)["gap_s"]
    assert gap > 2
    assert any("83 would let nobody wait" in text for text in plan.warnings)
    enough = solve(scenario(DEVICE)).prediction
    assert plan.prediction.e2e_s.mean - enough.e2e_s.mean == pytest.approx(gap, rel=0.05)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"device_prefill": 15}, "never catches up"),
        ({"device_decode": "90 ms"}, "devices decode a token in 90 ms"),
        ({"pace": "70 ms"}, "tokens are shown every 70 ms; the TPOT objective is 60 ms"),
        ({"device_memory": "12 GB"}, "devices have 12.00 GB of memory, the model takes 16.06"),
    ],
)
def test_devices_that_cannot_are_the_reason(keys, words):
    with pytest.raises(InfeasibleError, match=words):
        solve(scenario({**DEVICE, **keys}))


def test_media_and_two_roles_of_a_device_are_refused():
    drafts = {"acceptance": 0.7, "draft_step": "5 ms"}
    with pytest.raises(UnfitError, match="not both"):
        solve(scenario(options={"handoff": DEVICE, "device_draft": drafts}))


def test_the_preset_on_its_example():
    spec = load_system("pd-device")
    own = load_scenario(spec.example)
    plan, plain = solve(applied(own, "pd-device", spec)), solve(own)
    assert plan.gpus < plain.gpus
    assert all(target.met for target in plan.prediction.targets)
