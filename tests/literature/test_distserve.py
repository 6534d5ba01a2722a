"""DistServe (OSDI 2024): what solve makes of its settings; its queueing formulas, speed-ups and KV
capacities are tested in tests/queueing/test_published_queues.py and tests/stages/test_memory.py."""

from dataclasses import replace

import pytest

from pdplan import load_scenario, solve
from pdplan.specs.model import load_model
from pdplan.specs.options import Options
from pdplan.specs.options.node_affinity import NodeAffinity
from pdplan.stages.transfer import kv_bytes

CAPACITIES = {
    ("opt-13b", 1): 66_144, ("opt-13b", 2): 163_008, ("opt-13b", 4): 356_736,
    ("opt-66b", 2): 11_600, ("opt-66b", 4): 78_496, ("opt-66b", 8): 212_304,
    ("opt-175b", 9): 76_192, ("opt-175b", 12): 126_160,
}  # fmt: skip
"""Tokens of an instance of so many A100-80GB, tensor times pipeline parallel."""
WEIGHTS = {"opt-13b": 25.7e9, "opt-66b": 131.4e9, "opt-175b": 349e9}


@pytest.mark.parametrize(("model", "gpus"), CAPACITIES)
def test_capacity_is_memory_less_weights(model, gpus):
    """(gpus x 78.7 to 79.9 GB - W) / kv."""
    each = float(kv_bytes(load_model(model), "fp16", 1.0, 0.0))
    usable = (CAPACITIES[model, gpus] * each + WEIGHTS[model]) / gpus
    assert 78.6e9 < usable < 80.0e9


def test_kv_rate_and_its_unit():
    """Ten requests a second of 512 tokens: 90 Gbit/s where a GB is taken for 2^30, 96.6 in SI."""
    each = float(kv_bytes(load_model("opt-66b"), "fp16", 512.0, 0.0))
    assert each / 2**30 == pytest.approx(1.125)
    assert 10 * each / 2**30 * 8 == pytest.approx(90)
    assert 10 * each * 8 / 1e9 == pytest.approx(96.6, abs=0.05)


def chosen(**flags):
    return solve(load_scenario("systems/distserve", {"placement": "P-D", **flags}))


def test_slow_networks_make_the_phases_share_nodes():
    """25 Gbit/s between nodes cannot carry 97 Gbit/s of KV."""
    found = chosen(tp=["2", "4", "8"], pp=["1", "2"])
    assert found.options["node_affinity"]["kind"] == "low"
    prefill, decode = found.pools
    assert prefill.pp == decode.pp
    held = [pool.options["per_node"] * pool.tp for pool in found.pools]
    assert sum(held) <= 8
    assert prefill.instances * decode.options["per_node"] == (
        decode.instances * prefill.options["per_node"]
    )


def test_low_affinity_moves_kv_over_the_nodes_own_links():
    hop = chosen(tp=["4"], pp=["1"]).transfers[0]
    assert hop.bytes_per_request == pytest.approx(1.208e9, rel=0.02)  # long prompts are cut
    assert hop.seconds < 0.01
    assert hop.link_utilization < 0.1


@pytest.mark.parametrize(
    ("model", "ttft", "tpot", "rate", "tp", "found"),
    [
        # published: (2, 1) + (1, 1), (4, 1) + (2, 2) and (3, 3) + (4, 3)
        ("opt-13b", "200", "100", "20", ["1", "2", "4"], [(1, 1), (2, 2)]),
        ("opt-66b", "400", "100", "20", ["2", "4", "8"], [(4, 1), (8, 2)]),
        ("opt-175b", "4000", "200", "32", ["2", "3", "4", "8"], [(2, 3), (8, 2)]),
    ],
)
def test_plans_beside_the_published_ones(model, ttft, tpot, rate, tp, found):
    """(tp, pp) of prefill and decode with a fast network: prefill's of OPT-66B is the published
    one. The others differ: all accelerators of a whole rate are made fewest here, where the paper
    makes goodput an accelerator largest for each phase by itself, at whole units."""
    scenario = load_scenario("systems/distserve", {
        "placement": "P-D", "model": model, "ttft": ttft, "tpot": tpot, "rate": rate, "tp": tp,
        "pp": ["1", "2", "3", "4"] if model == "opt-175b" else ["1", "2"],
    })  # fmt: skip
    high = Options(node_affinity=NodeAffinity(kind="high"))
    plan = solve(replace(scenario, options=high))
    assert [(pool.tp, pool.pp) for pool in plan.pools] == found


def test_prefill_wants_tensor_parallelism_where_ttft_is_tight():
    """Published (tp, pp) of prefill for OPT-66B is (4, 1) at 0.4 s; a tighter objective never
    takes less tensor parallelism."""
    loose = chosen(tp=["2", "4", "8"], pp=["1"], ttft="4000")
    tight = chosen(tp=["2", "4", "8"], pp=["1"], ttft="400")
    assert tight.pools[0].tp >= loose.pools[0].tp
    assert tight.gpus >= loose.gpus
