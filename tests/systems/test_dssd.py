"""Drafts on devices through solve and evaluate: what they reduce to, cost and refuse."""

from dataclasses import replace

import pytest

from pdplan import load_scenario, solve
from pdplan.errors import InfeasibleError, SpecError
from pdplan.planner import evaluate
from pdplan.planner.verifying import spec_of
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

DRAFT = {"acceptance": 0.7, "draft_step": "5 ms", "draft_tokens": 4, "rtt": "10 ms"}


def scenario(option=None, *, placement="PD", rate="4 req/s", tpot="60 ms", **keys):
    return scenario_from({
        "model": "opt-6.7b",
        "hardware": ["a100-80gb-sxm"],
        "workload": {
            "rate": rate, "isl": 300, "osl": {"lognormal": {"mean": 150, "cv": 0.7}},
            "ttft": "900 ms", "tpot": tpot,
        },
        "search": {"placements": [placement], "tp": [1]},
        "options": {} if option is None else {"device_draft": option},
        **keys,
    })  # fmt: skip


def rounds(plan):
    return plan.pools[-1].options["device_rounds"]


@pytest.mark.parametrize("placement", ["PD", "P-D"])
def test_without_drafts_and_distance_it_is_the_plan_without_the_option(placement):
    plain = solve(scenario(placement=placement))
    cloud = solve(scenario({"mode": "ar_cloud", "rtt": "0 s"}, placement=placement))
    assert cloud.prediction == replace(plain.prediction, energy_j_per_token=None)
    assert cloud.pools == plain.pools
    assert cloud.cost_usd_per_hour == plain.cost_usd_per_hour


def test_a_cloud_far_away_answers_later_at_the_same_pace():
    near = solve(scenario())
    far = solve(scenario({"mode": "ar_cloud", "rtt": "80 ms", "uplink": "1 Mbit/s"}))
    added = 0.080 + 4 * 300 / 1.25e5
    assert far.prediction.ttft_s.mean - near.prediction.ttft_s.mean == pytest.approx(added)
    assert far.prediction.ttft_terms_s.access == pytest.approx(added)
    assert far.prediction.tpot_s == near.prediction.tpot_s
    assert far.prediction.e2e_s.mean - near.prediction.e2e_s.mean == pytest.approx(added, rel=1e-6)


@pytest.mark.parametrize("placement", ["PD", "P-D"])
def test_a_lone_user_has_the_round_of_the_formula(placement):
    plan = solve(scenario(DRAFT, placement=placement, rate="0.0001 req/s"))
    found = rounds(plan)
    assert found["round_s"] == pytest.approx(4 * 0.005 + 0.010 + found["check_s"], rel=1e-3)
    tokens = sum(0.7**i for i in range(5))
    assert found["tokens"] == pytest.approx(tokens)
    # The tokens of the last round that nobody asked for make a token a little dearer.
    assert plan.prediction.tpot_s.mean == pytest.approx(found["round_s"] / tokens, rel=0.04)


def test_withheld_distributions_are_quicker_and_more_so_on_slow_links():
    def pace(mode, link):
        keys = {**DRAFT, "mode": mode, "uplink": link, "downlink": link}
        return solve(scenario(keys, tpot="2 s")).prediction.tpot_s.mean

    slow = pace("dsd", "10 Mbit/s") / pace("split", "10 Mbit/s")
    fast = pace("dsd", "1 Gbit/s") / pace("split", "1 Gbit/s")
    assert slow > 2
    assert 1 < fast < 1.1


def test_checking_is_not_free_where_many_are_served():
    one = scenario(DRAFT, rate="4 req/s")
    plan = solve(one)
    busy = solve(scenario(DRAFT, rate="40 req/s"))
    assert rounds(busy)["users_in_a_pass"] > 2 * rounds(plan)["users_in_a_pass"]
    assert rounds(busy)["check_s"] > rounds(plan)["check_s"]
    assert busy.gpus > plan.gpus or busy.prediction.tpot_s.mean > plan.prediction.tpot_s.mean


def test_cache_is_held_while_devices_draft():
    """Little's law: as many are in service as arrive in the time that answers take."""
    plan = solve(scenario(DRAFT, placement="P-D"))
    decoder = plan.pools[-1]
    service = plan.prediction.tpot_s.mean * (150 - 1)
    assert decoder.mean_batch * decoder.instances == pytest.approx(4 * service, rel=0.06)
    assert rounds(plan)["users_in_a_pass"] < decoder.mean_batch / 2


def test_the_number_of_drafts_is_found_and_written():
    keys = {name: value for name, value in DRAFT.items() if name != "draft_tokens"}
    plan = solve(scenario(keys))
    chosen = plan.options["device_draft"]["draft_tokens"]
    assert chosen == rounds(plan)["draft_tokens"]
    fixed = [solve(scenario({**keys, "draft_tokens": g})) for g in (1, 2, 4, 8, 16)]
    known = [p.cost_usd_per_hour for p in fixed if p.cost_usd_per_hour is not None]
    assert plan.cost_usd_per_hour <= min(known) + 1e-9
    again = evaluate(spec_of(plan, scenario(keys)))
    assert again.prediction == plan.prediction
    assert again.options == plan.options


def test_a_cell_that_is_too_small():
    keys = {**DRAFT, "mode": "dsd", "cell_uplink": "100 Mbit/s"}
    with pytest.raises(InfeasibleError, match="of what cell_uplink carries"):
        solve(scenario(keys, tpot="2 s"))
    wide = scenario({**keys, "cell_uplink": "10 Gbit/s"}, tpot="2 s")
    plan = solve(wide)
    assert 0 < rounds(plan)["cell_uplink_share"] < 1
    more = evaluate(spec_of(plan, wide), rate_rps=400.0)
    assert more.status == "infeasible"


def test_two_that_draft_are_refused():
    both = scenario(DRAFT, speculative={"draft_tokens": 3, "acceptance": 0.7, "draft": "ngram"})
    with pytest.raises(SpecError, match="give one of them"):
        solve(both)


def test_the_preset_on_its_example():
    spec = load_system("dssd")
    own = load_scenario(spec.example)
    plan = solve(applied(own, "dssd", spec))
    plain = solve(own)
    assert plan.gpus < plain.gpus  # devices do the work of three L4s out of four
    assert plan.prediction.tpot_s.p90 <= 0.060
    assert replace(plan, options=None).speculative is None
