"""A decode step in two halves: the same laws as in one place, and what stands between them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdplan.physics.micro_batches import (
    balanced_ratio,
    barrier_s,
    largest_of_normals,
    pipelined_step_s,
    serial_step_s,
)
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.options.attention_ffn import AttentionFfn
from pdplan.stages.attention_ffn import halved_step, side_bytes, sides, token_bytes
from pdplan.stages.bundle import Bundles, FfnSide
from pdplan.stages.llm import decode_pass
from pdplan.stages.machine import Shape, machines
from pdplan.stages.memory import decoder_bytes
from pdplan.stages.parts import WHOLE, Parts, rest_of

ENGINE = load_engine("vllm")
HARDWARE = {name: load_hardware(name) for name in ("h100-sxm", "h20", "b200-sxm", "gb200")}
BATCH = np.array([1.0, 7.0, 64.0, 256.0])
DENSE = Shape("h100-sxm", tp=4)
EXPERTS = Shape("b200-sxm", dp=8, ep=8, weight_dtype="fp8", moe_dtype="fp8")
ONE = AttentionFfn(micro_batches=(1,))
CACHE_ONLY = AttentionFfn(micro_batches=(1,), projections="ffn")


def bundles(shapes, halves, options, *, free=False):
    found = Bundles.of(shapes, halves, HARDWARE, ENGINE, options)
    if free:
        found = replace(
            found, latency_s=0 * found.latency_s, bytes_per_s=np.inf * found.bytes_per_s
        )
    return found


def whole(model, shape, **more):
    m = machines([shape], HARDWARE, ENGINE)
    return decode_pass(model, m, sequences=BATCH, context_tokens=4096.0, **more)


@pytest.mark.parametrize("options", [ONE, CACHE_ONLY])
@pytest.mark.parametrize("name", ["llama-3-70b", "qwen2.5-72b"])
def test_one_micro_batch_and_free_messages_are_both_halves_of_the_same_accelerators(name, options):
    model = load_model(name)
    b = bundles([DENSE], [FfnSide(DENSE)], options, free=True)
    step = halved_step(model, b, options, sequences=BATCH, context_tokens=4096.0)
    assert step.total_s == pytest.approx(whole(model, DENSE).total_s, rel=5e-6)
    parts = step.attention_s + step.ffn_s + step.host_s
    assert step.total_s == pytest.approx(parts, rel=1e-12)


def test_experts_on_their_own_side_trade_the_exchange_for_messages():
    model = load_model("deepseek-v3")
    b = bundles([EXPERTS], [FfnSide(EXPERTS)], ONE, free=True)
    step = halved_step(model, b, ONE, sequences=BATCH, context_tokens=4096.0)
    together = whole(model, EXPERTS)
    assert step.total_s == pytest.approx(together.total_s - together.network_s, rel=2e-3)
    b = bundles([EXPERTS], [FfnSide(EXPERTS)], CACHE_ONLY, free=True)
    step = halved_step(model, b, CACHE_ONLY, sequences=BATCH, context_tokens=4096.0)
    assert step.total_s == pytest.approx(together.total_s, rel=1e-12)


@pytest.mark.parametrize("name", ["llama-3-70b", "deepseek-v3", "gpt-oss-120b", "qwen3-235b-a22b"])
@given(st.tuples(*[st.booleans()] * 5))
@settings(max_examples=10, deadline=None)
def test_parts_and_what_is_left_are_the_whole(name, chosen):
    model = load_model(name)
    parts = Parts(*chosen)
    one = machines([replace(DENSE, tp=1)], HARDWARE, ENGINE)
    halves = [side_bytes(model, one, p) for p in (parts, rest_of(parts))]
    assert sum(halves) == pytest.approx(decoder_bytes(model, one), rel=1e-12)
    dense = [p.dense_weights(model) for p in (parts, rest_of(parts))]
    assert sum(dense) == WHOLE.dense_weights(model)
    split = [
        decode_pass(model, one, sequences=BATCH, context_tokens=999.0, parts=p)
        for p in (parts, rest_of(parts))
    ]
    together = decode_pass(model, one, sequences=BATCH, context_tokens=999.0)
    for field in ("compute_s", "memory_s", "overhead_s"):
        found = getattr(split[0], field) + getattr(split[1], field)
        assert found == pytest.approx(getattr(together, field), rel=1e-9)
    assert split[0].total_s + split[1].total_s == pytest.approx(together.total_s, rel=0.01)


@given(
    st.integers(1, 4), st.sampled_from([1, 2, 8, 32]), st.sampled_from([1, 4, 16]),
    st.integers(64, 100_000), st.sampled_from(["attention", "ffn"]),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_no_bundle_beats_the_roofline_of_its_accelerators(micro, groups, ffn, context, where):
    options = AttentionFfn(micro_batches=(micro,), projections=where, message_latency="0 s")
    model = load_model("deepseek-v3")
    a = replace(EXPERTS, dp=groups, ep=1)
    side = FfnSide(replace(EXPERTS, dp=ffn, ep=ffn), micro)
    step = halved_step(
        model, bundles([a], [side], options), options, sequences=BATCH, context_tokens=context
    )
    assert (step.total_s >= step.roof_s * (1 - 1e-12)).all()
    assert (step.total_s >= sum(step.stages_s)).all()
    assert np.isfinite(step.total_s).all()


def test_small_micro_batches_do_not_shrink_kernels():
    model = load_model("deepseek-v3")
    times = []
    for micro in (1, 4):
        options = AttentionFfn(micro_batches=(micro,))
        b = bundles([EXPERTS], [FfnSide(EXPERTS, micro)], options)
        step = halved_step(model, b, options, sequences=256.0, context_tokens=4096.0)
        times.append(float(step.ffn_s[0, 0]))
    assert times[1] > 0.5 * times[0]  # a quarter of the tokens reads nearly all experts again


def test_messages_cost_their_latency_twice_a_layer():
    model = load_model("deepseek-v3")
    far = [replace(EXPERTS, dp=8, ep=1)], [FfnSide(replace(EXPERTS, dp=8, ep=8))]
    found = []
    for latency in ("0 s", "10 us"):
        options = AttentionFfn(micro_batches=(1,), message_latency=latency)
        step = halved_step(
            model, bundles(*far, options), options, sequences=1.0, context_tokens=1024.0
        )
        found.append(float(step.total_s[0, 0]))
    assert found[1] - found[0] == pytest.approx(58 * 2 * 10e-6, rel=1e-9)


def test_messages_stay_in_a_domain_that_holds_both_sides_of_one_kind():
    four = replace(EXPERTS, dp=4, ep=4)
    rack = replace(EXPERTS, hardware="gb200", dp=36, ep=1)
    mixed = Shape("h20", tp=2), FfnSide(Shape("h100-sxm", tp=2))
    shapes = [replace(four, ep=1), EXPERTS, rack, mixed[0]]
    halves = [FfnSide(four), FfnSide(EXPERTS), FfnSide(replace(rack, dp=32, ep=32)), mixed[1]]
    b = bundles(shapes, halves, ONE)
    assert b.inside.tolist() == [True, False, True, False]
    assert b.bytes_per_s[0, 0] / 4 > 5 * b.bytes_per_s[1, 0] / 8
    told = bundles(shapes, halves, AttentionFfn(network="45.7 GB/s"))
    assert told.bytes_per_s[3, 0] == pytest.approx(2 * 45.7e9)
    assert told.bytes_per_s[0, 0] == b.bytes_per_s[0, 0]


def test_groups_wait_for_the_longest_contexts():
    model = load_model("deepseek-v3")
    b = bundles([replace(EXPERTS, dp=64, ep=1)], [FfnSide(EXPERTS)], ONE)
    ask = {"sequences": 4096.0, "context_tokens": 8192.0}
    even = halved_step(model, b, ONE, **ask)
    uneven = halved_step(model, b, ONE, **ask, context_spread=8192.0)
    blind = AttentionFfn(micro_batches=(1,), barrier=False)
    assert halved_step(model, b, blind, **ask, context_spread=8192.0).total_s == even.total_s
    more = (uneven.attention_s / even.attention_s)[0, 0]
    # 64 requests a group: the mean context of the worst of 64 groups is 2.4 / 8 longer
    assert 1.1 < more < 1.3


def test_the_largest_of_normals_and_the_wait_for_it_against_drawing_them():
    drawn = np.random.default_rng(1).standard_normal((40_000, 16)).max(axis=1)
    assert largest_of_normals(16) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 200)
    assert float(barrier_s(2.0, 1.0, 16)) == 2.0
    assert float(barrier_s(2.0, 2.0, 16)) == 2.0


def test_the_pipeline_lies_between_its_bounds_and_follows_a_simulation():
    """Within one layer of a step that is simulated stage by stage."""
    rng = np.random.default_rng(7)
    layers = 40
    for _ in range(20):
        stages, micro = rng.uniform(0.1, 1.0, 4), int(rng.integers(1, 6))
        found = float(pipelined_step_s(stages, micro, layers))
        assert found >= max(stages.sum(), micro * stages.max())
        assert found <= float(serial_step_s(stages, micro)) + 1e-12
        simulated = _pipeline(stages / layers, micro, layers)
        assert found == pytest.approx(simulated, rel=0.06)


def _pipeline(each, micro, layers):
    """Steady time of a step: micro-batches go around stages, first come first served."""
    free, ready = np.zeros(4), np.zeros(micro)
    ends = []
    for _ in range(4):
        for _ in range(layers):
            for stage in range(4):
                for batch in np.argsort(ready, kind="stable"):
                    start = max(free[stage], ready[batch])
                    ready[batch] = free[stage] = start + each[stage]
        ends.append(ready.max())
    return ends[-1] - ends[-2]


def test_rotating_copies_are_balanced_where_attention_takes_its_share():
    model_s = 3.0
    for n in (2, 3, 4):
        attention = model_s / (n - 1)
        step = float(pipelined_step_s([attention, 0, model_s, 0], n, 10**6, [1, 1, n - 1, 1]))
        assert step == pytest.approx(n * attention, rel=1e-5)


def test_the_balanced_ratio_is_the_best_of_all():
    rng = np.random.default_rng(3)
    for _ in range(50):
        a, c, f, b = rng.uniform(1e-4, 1e-2, 4)
        token = f / 1000
        best = float(balanced_ratio(a, c, token, b, 64.0))
        ratio = np.linspace(0.01, 5 * best + 1, 200_001)
        rate = ratio / (ratio + 1) / np.maximum(np.maximum(a, c), token * ratio * 64 + b)
        assert ratio[rate.argmax()] == pytest.approx(best, rel=1e-2, abs=2e-3)


def test_bytes_per_token_of_latent_attention_travel_in_the_latent_space():
    model = load_model("deepseek-v3")
    b = bundles([EXPERTS], [FfnSide(EXPERTS)], CACHE_ONLY)
    there, back = token_bytes(model, b, CACHE_ONLY)
    assert there[0, 0] == 61 * 2 * 128 * 512
    assert back[0, 0] == 61 * 2 * 129 * 576


def test_a_copy_for_each_rank_is_sent_no_more_often_than_for_each_expert():
    model = load_model("deepseek-v3")
    sent = {}
    for per in ("expert", "rank"):
        options = AttentionFfn(sent_per=per)
        shapes = [replace(EXPERTS, dp=n, ep=n) for n in (1, 8, 128)]
        b = bundles(shapes, [FfnSide(shape) for shape in shapes], options)
        sent[per] = token_bytes(model, b, options)[0][:, 0] / (58 * 7168)
    assert sent["expert"].tolist() == [8, 8, 8]
    assert sent["rank"] == pytest.approx([1.0, 8 * (1 - (7 / 8) ** 8), 7.78], rel=1e-3)


def test_sides_of_dense_models_and_of_experts():
    dense, experts = load_model("llama-3-70b"), load_model("deepseek-v3")
    assert sides(dense, ONE)[1] == Parts(attention=False, projections=False, shared=False,
                                         experts=True, dense=True)  # fmt: skip
    assert not sides(experts, ONE)[1].dense
    assert sides(experts, CACHE_ONLY)[1] == rest_of(sides(experts, CACHE_ONLY)[0])
