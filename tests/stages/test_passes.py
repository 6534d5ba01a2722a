"""Passes of the language model: never faster than the silicon, and monotone in their work."""

from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pdplan
from pdplan.planner.shapes import default_weight_dtype, make_shape, misfit
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.stages.llm import decode_pass, prefill_pass
from pdplan.stages.machine import Shape, machines

ROOT = Path(pdplan.__file__).parents[1]
MODELS = sorted(path.stem for path in (ROOT / "models").glob("*.yaml"))
EVERY_HARDWARE = sorted(path.stem for path in (ROOT / "hardware_specs").glob("*.yaml"))
SOME_HARDWARE = ("h100-sxm", "b200-sxm", "a100-80gb-sxm", "l4", "mi300x", "tpu-v5e", "gaudi3")
ENGINE = load_engine("vllm")


@cache
def table(model, names=SOME_HARDWARE):
    """All shapes that a model allows on some hardware."""
    spec = load_model(model)
    hardware = {name: load_hardware(name) for name in names}
    shapes = [
        shape
        for name in names
        for tp in (1, 2, 4, 8)
        for dp in (1, 8)
        for pp in (1, 2)
        for weight in sorted({default_weight_dtype(spec), "bf16", "fp8"})
        if misfit(
            spec,
            hardware[name],
            shape := make_shape(spec, name, tp, pp, dp, None, weight, "bf16"),
            "P",
        )
        is None
    ]
    return spec, machines(shapes, hardware, ENGINE)


def slower_than_roof(found):
    assert np.isfinite(found.total_s).all()
    assert (found.total_s >= found.roof_s * (1 - 1e-12)).all()
    assert (found.total_s >= found.network_s + found.overhead_s).all()
    assert (found.roof_s > 0).all()


@pytest.mark.parametrize("model", MODELS)
@given(
    st.integers(1, 500_000), st.integers(0, 100_000), st.integers(1, 512), st.integers(1, 200_000)
)
@settings(max_examples=6, deadline=None)
def test_no_pass_beats_the_roofline(model, isl, prefix, batch, context):
    spec, m = table(model)
    cross = 1601.0 if spec.cross_layers else 0.0
    slower_than_roof(
        prefill_pass(
            spec, m, new_tokens=isl, prefix_tokens=prefix, sequences=batch, cross_tokens=cross
        )
    )
    slower_than_roof(
        decode_pass(spec, m, sequences=batch, context_tokens=context, cross_tokens=cross)
    )


@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v3", "gpt-oss-120b"])
def test_no_hardware_beats_its_roofline(model):
    spec, m = table(model, tuple(EVERY_HARDWARE))
    batch, context = np.array([1.0, 16.0, 512.0]), np.array([16.0, 8000.0, 500_000.0])
    slower_than_roof(prefill_pass(spec, m, new_tokens=context))
    slower_than_roof(decode_pass(spec, m, sequences=batch, context_tokens=context))


@pytest.mark.parametrize("model", MODELS)
def test_more_work_takes_longer(model):
    spec, m = table(model)
    rising = np.array([1.0, 2.0, 7.0, 64.0, 300.0, 5000.0, 100_000.0])
    batch = np.array([1.0, 2.0, 3.0, 8.0, 100.0, 512.0])
    for found in (
        prefill_pass(spec, m, new_tokens=rising),
        prefill_pass(spec, m, new_tokens=500.0, prefix_tokens=rising),
        prefill_pass(spec, m, new_tokens=500.0, sequences=batch),
        decode_pass(spec, m, sequences=16.0, context_tokens=rising),
        decode_pass(spec, m, sequences=batch, context_tokens=2000.0),
    ):
        # 0.1 %: expert coverage is interpolated between knots.
        assert (np.diff(found.total_s, axis=1) >= -1e-3 * found.total_s[:, 1:]).all()


@pytest.mark.parametrize("model", ["llama-3.1-70b", "gpt-oss-120b", "gemma-3-27b", "deepseek-v3"])
def test_a_wider_split_computes_no_longer(model):
    spec = load_model(model)
    weight = default_weight_dtype(spec)
    shapes = [make_shape(spec, "h200-sxm", tp, 1, 1, None, weight, "bf16") for tp in (1, 2, 4, 8)]
    m = machines(shapes, {"h200-sxm": load_hardware("h200-sxm")}, ENGINE)
    for found in (
        prefill_pass(spec, m, new_tokens=np.array([100.0, 10_000.0])),
        decode_pass(spec, m, sequences=np.array([1.0, 200.0]), context_tokens=3000.0),
    ):
        assert (np.diff(found.compute_s, axis=0) <= 0).all()
        assert (np.diff(found.memory_s, axis=0) <= 1e-12).all()
        assert (found.network_s[0] == 0).all()
        assert (found.network_s[1:] > 0).all()


def at_unit_rates(m):
    """Machines of one operation a second, free memory, and experts that do nothing in vain."""
    one, none = np.ones_like(m.tp), np.zeros_like(m.tp)
    names = [f.name for f in fields(m)]
    rates = {n: one for n in names if n.endswith("flops_per_s")}
    free = {n: one * 1e30 for n in names if n.endswith("bytes_per_s")}
    return replace(m, **rates, **free, expert_padding=none, imbalance=none)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "deepseek-v3"])
def test_prefill_counts_two_operations_per_active_weight_and_attention(model):
    spec = load_model(model)
    hardware = {"h200-sxm": load_hardware("h200-sxm")}
    m = at_unit_rates(machines([Shape("h200-sxm")], hardware, ENGINE))
    tokens = 3000.0
    counted = float(prefill_pass(spec, m, new_tokens=tokens).compute_s[0, 0])
    counts = spec.parameters()
    active = counts.flop_params_per_token - counts.head_matmul
    pairs = sum(g.layers * g.heads * (g.qk_dim + g.v_dim) * tokens**2 / 2 for g in spec.attention)
    expected = 2 * active * tokens + 2 * pairs + 2 * counts.head_matmul  # one position is sampled
    # 0.1 %: the parameters hold the layers' norms, which are no products.
    assert counted == pytest.approx(expected, rel=1e-3)


def test_batched_rows_are_single_rows():
    spec, m = table("deepseek-v3")
    batch, context = np.array([1.0, 7.0, 300.0]), np.array([10.0, 999.0, 20_000.0])
    together = decode_pass(spec, m, sequences=batch, context_tokens=context).total_s
    for i in range(3):
        alone = decode_pass(spec, m, sequences=batch[i], context_tokens=context[i]).total_s
        np.testing.assert_allclose(together[:, i], alone[:, 0], rtol=1e-12)
