"""Later turns prefilled where their history lies: what that is the same as, and its errors."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pdplan import solve
from pdplan.errors import SpecError, UnfitError
from pdplan.planner import evaluate
from pdplan.planner.simulating import simulate
from pdplan.specs.plan_file import load_plan
from pdplan.specs.scenario import load_scenario, scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied
from tests.systems.multi_turn import chats, fleet


def question(turns=4, options=None, **keys):
    base = {
        "model": "llama-3.1-8b",
        "hardware": ["h100-sxm"],
        "objective": "gpus",
        "workload": chats(turns=turns, rate=60) | keys.pop("workload", {}),
        "search": {"tp": [1]} | keys.pop("search", {}),
    }
    if options is not None:
        base["options"] = {"local_prefill": options}
    return scenario_from(base | keys)


def planned(scenario, name="ampd"):
    return solve(applied(scenario, name, load_system(name)))


def read_back(plan, folder):
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan.to_dict(), sort_keys=False), encoding="utf-8")
    return load_plan(path)


def apart(**keys):
    """The same question of prefill and decode apart only."""
    search = {"placements": ["P-D"]} | keys.pop("search", {})
    return question(search=search, **keys)


def bare(plan):
    return replace(plan, system=None, options=None, solver=None, alternatives=())


def test_sessions_of_one_turn_are_prefill_and_decode_apart():
    """Exactly, to the last digit: AMPD-5."""
    plain = solve(apart(turns=1))
    ours = planned(question(turns=1))
    assert ours.placement == "P-D"
    assert bare(ours) == bare(plain)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_sessions_of_one_turn_are_the_same_to_any_share(tmp_path, share):
    found = [evaluate(fleet(tmp_path, chats(turns=1), 2, 2, x)) for x in (share, None)]
    assert bare(found[0]) == bare(found[1])


def test_a_plan_that_is_written_evaluates_to_the_same_numbers(tmp_path):
    plan = planned(question())
    share = plan.pools[-1].options["local_prefill"]
    assert share == plan.options["local_prefill"]["share"]
    again = evaluate(read_back(plan, tmp_path))
    assert again.prediction == plan.prediction
    assert again.transfers == plan.transfers


def test_the_pool_may_say_the_share_alone(tmp_path):
    said = evaluate(fleet(tmp_path, chats(), 2, 2, 0.3))
    other = evaluate(fleet(tmp_path, chats(), 2, 2, "auto", pool={"local_prefill": 0.3}))
    alone = evaluate(fleet(tmp_path, chats(), 2, 2, pool={"local_prefill": 0.3}))
    assert said.prediction == other.prediction == alone.prediction


def test_a_share_that_is_left_open_cannot_be_evaluated(tmp_path):
    with pytest.raises(SpecError, match=r"local_prefill\.share: 'auto' is for a search"):
        evaluate(fleet(tmp_path, chats(), 2, 2, "auto"))


def test_of_equal_fleets_the_one_that_scores_best_is_taken():
    """With all weight on TTFT as many turns are local as leave it lowest; with TPOT, fewer."""
    shares = [
        planned(question(search={"roles": {"P": {"instances": 1}, "D": {"instances": 3}}},
                         options={"share": "auto", "ttft_weight": 1.0, "tpot_weight": weight},
                         workload={"rate": "16 req/s"}))
        .pools[-1].options["local_prefill"]
        for weight in (0.0, 100.0)
    ]  # fmt: skip
    assert shares[0] > shares[1]


def test_no_share_costs_less_than_the_one_that_is_taken():
    best = planned(question())
    for share in (0.0, 0.3, 1.0):
        option = load_system("ampd").options_text()["local_prefill"] | {"share": share}
        assert planned(question(options=option)).gpus >= best.gpus


def test_the_parts_of_ttft_add_up(tmp_path):
    for option in ({"history": "read"}, {"history": "recompute"}, {"bypass_tokens": 2000}):
        found = evaluate(fleet(tmp_path, chats(), 2, 2, 0.4, **option)).prediction
        terms = found.ttft_terms_s
        total = sum(getattr(terms, name) for name in type(terms).__dataclass_fields__)
        assert total == pytest.approx(found.ttft_s.mean, rel=1e-9)


def test_ttft_of_all_turns_lies_between_first_and_later_ones(tmp_path):
    found = evaluate(fleet(tmp_path, chats(turns=4), 2, 2, 0.4)).prediction
    assert found.ttft_s.mean == pytest.approx(
        (found.ttft_first_s.mean + 3 * found.ttft_later_s.mean) / 4
    )
    without = chats() | {"session": None}
    none = evaluate(fleet(tmp_path, {k: v for k, v in without.items() if v}, 2, 2)).prediction
    assert none.ttft_first_s is None
    assert (
        "ttft_first_s"
        not in evaluate(fleet(tmp_path, {k: v for k, v in without.items() if v}, 2, 2)).to_dict()[
            "prediction"
        ]
    )


def test_histories_go_back_and_new_tokens_come(tmp_path):
    plan = evaluate(fleet(tmp_path, chats(turns=4, isl=700, osl=250), 2, 2, 0.5))
    (sent, read) = plan.transfers
    assert (sent.source, sent.target) == ("prefill", "decode")
    assert (read.source, read.target) == ("decode", "prefill")
    kv, remote = 131_072, 0.5
    assert sent.bytes_per_request == pytest.approx(kv * 700 * (1 + 3 * remote) / 4, rel=0.01)
    assert read.bytes_per_request == pytest.approx(kv * 950 * (1 + 2 + 3) * remote / 4, rel=0.01)


def test_tool_times_fill_the_memory_of_decode(tmp_path):
    batches = [
        evaluate(fleet(tmp_path, chats(rate=30, think=think), 2, 2, 0.5)).pools[-1].max_batch
        for think in ("1 s", "20 s", "60 s")
    ]
    assert batches[0] > batches[1] > batches[2]


def test_prefill_that_gives_the_first_token_leaves_local_turns_to_decode(tmp_path):
    late = {"first_token_from": "prefill"}
    plain = evaluate(fleet(tmp_path, chats(), 2, 2, 1.0)).prediction
    found = evaluate(fleet(tmp_path, chats(), 2, 2, 1.0, pool=late)).prediction
    assert found.ttft_later_s.mean == pytest.approx(plain.ttft_later_s.mean, rel=0.02)
    assert found.ttft_first_s.mean < plain.ttft_first_s.mean


def test_encoders_apart_serve_later_turns_too(tmp_path):
    images = {"count": {"histogram": {"values": [0, 1], "weights": [3, 1]}}}
    sized = {"images": images | {"width": 640, "height": 480}}
    asked = {"ttft": "2 s"} | sized
    search = {"placements": ["E-P-D"]}
    plan = solve(
        question(options={"share": 0.5}, model="qwen2.5-vl-7b", workload=asked, search=search)
    )
    assert plan.placement == "E-P-D"
    assert plan.pools[-1].options["local_prefill"] == 0.5
    assert evaluate(read_back(plan, tmp_path)).prediction == plan.prediction


@pytest.mark.parametrize(
    ("option", "what"),
    [
        ({"share": 1.5}, "local_prefill.share: must be less than or equal to 1; got 1.5"),
        ({"history": "guess"}, "must be 'read', 'recompute' or 'prefix_cache'; got 'guess'"),
        ({"interference": {}}, "interference.slowdown: missing"),
        ({"bypass_tokens": -1}, "must be greater than or equal to 0; got -1"),
        ({"shares": 1}, "unknown key; did you mean 'share'"),
    ],
)
def test_wrong_options_say_what_is_expected(option, what):
    with pytest.raises(SpecError, match=what):
        question(options=option)


def test_simulation_says_that_it_does_not_follow(tmp_path):
    with pytest.raises(UnfitError, match="local_prefill"):
        simulate(fleet(tmp_path, chats(), 2, 2, 0.5), requests=100)


def test_the_example_is_solved():
    plan = planned(load_scenario(Path("examples/systems/ampd.yaml")))
    assert plan.status == "optimal"
