"""Append-prefill on decode instances: no local turn, all of them, and only replicas."""

from dataclasses import replace
from pathlib import Path

import pytest

from pdplan import solve
from pdplan.planner import evaluate
from pdplan.specs.scenario import load_scenario, scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied
from tests.systems.multi_turn import LLAMA, chats, fleet

LLAMA_KV = 131_072


def same(one, other):
    return (one.prediction, one.transfers, one.label) == (
        other.prediction, other.transfers, other.label,
    )  # fmt: skip


def test_no_local_turn_is_prefill_and_decode_apart(tmp_path):
    """Exactly, where prefill finds nothing of the history in either."""
    fresh = chats(cached=0.0)
    ours = evaluate(fleet(tmp_path, fresh, 1, 3, 0.0, history="recompute"))
    assert same(ours, evaluate(fleet(tmp_path, fresh, 1, 3)))


def test_no_local_turn_is_prefill_with_its_own_prefix_cache(tmp_path):
    """Exactly, with two turns of constant lengths: prefill finds the prompt, not its answer."""
    found = chats(turns=2, isl=600, osl=200) | {"osl": 200}
    cached = found | {"session": {"turns": 2, "think": "10 s", "cached": 600 / 800}}
    ours = evaluate(fleet(tmp_path, found, 1, 3, 0.0, history="prefix_cache"))
    assert same(ours, evaluate(fleet(tmp_path, cached, 1, 3)))


def test_with_all_turns_local_prefill_sees_first_turns_only(tmp_path):
    (found, first) = (
        evaluate(fleet(tmp_path, workload, 1, 3, share))
        for workload, share in ((chats(turns=4, rate=20), 1.0), (chats(turns=1, rate=5), None))
    )
    assert found.pools[0].utilization == pytest.approx(first.pools[0].utilization)
    assert found.transfers[0].bytes_per_request * 4 == pytest.approx(LLAMA_KV * 700)
    assert len(found.transfers) == 1


@pytest.mark.parametrize("name", ["ppd", "ampd"])
def test_replicas_are_one_pool_that_does_both(name):
    """Exactly: aggregated serving where all nodes are replicas."""
    asked = scenario_from(
        {
            "model": LLAMA["model"], "hardware": [LLAMA["hardware"]], "workload": chats(),
            "search": {"tp": [1], "placements": ["PD"]},
        }
    )  # fmt: skip
    option = load_system(name).options
    ours, plain = solve(replace(asked, options=option)), solve(asked)
    assert replace(ours, solver=None) == replace(plain, solver=None)


def test_short_turns_never_leave_decode(tmp_path):
    brief, none = (
        evaluate(fleet(tmp_path, chats(isl=400), 1, 3, 0.0, bypass_tokens=bypass))
        for bypass in (512, 0)
    )
    assert brief.pools[0].utilization < 0.5 * none.pools[0].utilization
    assert len(none.transfers) == 2
    assert len(brief.transfers) == 1


def test_the_preset_takes_replicas_or_decode_that_prefills():
    asked = load_scenario(Path("examples/systems/ppd.yaml"))
    plan = solve(applied(asked, "ppd", load_system("ppd")))
    assert plan.status == "optimal"
    assert plan.placement in ("P-D", "PD")
    assert plan.gpus <= 4


def test_measured_interference_slows_decode_as_it_says(tmp_path):
    """At a full step of the batch it was measured at, a step a prompt: rho = r s tau."""
    slow, slower = (
        evaluate(fleet(tmp_path, chats(), 1, 3, 1.0, interference={"slowdown": s, "batch": 64}))
        for s in (0.02, 0.48)
    )
    assert slower.prediction.tpot_s.mean > slow.prediction.tpot_s.mean
