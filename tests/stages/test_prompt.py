"""Prompts in chunks: the same arithmetic as in one pass, and shared passes for short ones."""

from dataclasses import fields

import numpy as np
import pytest

from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.stages.llm import Pass, prefill_pass
from pdplan.stages.machine import Shape, machines
from pdplan.stages.prompt import chunked_prefill, prompt_times

HARDWARE = {"h200-sxm": load_hardware("h200-sxm")}
ENGINE = load_engine("vllm")


def machine(**keys):
    return machines([Shape("h200-sxm", **keys)], HARDWARE, ENGINE)


def same(one, other):
    for field in fields(Pass):
        found, expected = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=field.name)


@pytest.mark.parametrize("tokens", [100, 8192, 8193, 30_000, 120_000])
@pytest.mark.parametrize("prefix", [0.0, 5000.0])
def test_a_long_prompt_has_the_arithmetic_of_one_pass(tokens, prefix):
    """Each chunk over what is cached by then adds up to the whole, but for the sampled rows."""
    model, m = load_model("llama-3.1-8b"), machine()
    whole = prefill_pass(model, m, new_tokens=tokens, prefix_tokens=prefix)
    cut = chunked_prefill(model, m, tokens=tokens, chunk_tokens=8192, prefix_tokens=prefix)
    passes = np.ceil(tokens / 8192)
    rows = 2 * model.parameters().head_matmul / m.half_flops_per_s
    expected = whole.compute_s + (passes - 1) * rows
    np.testing.assert_allclose(cut.compute_s, expected, rtol=1e-12)
    assert (cut.total_s >= whole.total_s * (1 - 1e-12)).all()


def test_chunks_are_equal_passes_over_what_is_cached():
    model, m = load_model("llama-3.1-8b"), machine()
    cut = chunked_prefill(model, m, tokens=24_000, chunk_tokens=8000, prefix_tokens=500)
    passes = [prefill_pass(model, m, new_tokens=8000, prefix_tokens=500 + at * 8000)
              for at in range(3)]  # fmt: skip
    one_by_one = passes[0].plus(passes[1]).plus(passes[2])
    np.testing.assert_allclose(cut.compute_s, one_by_one.compute_s, rtol=1e-12)
    # The floor of the longest row bends the sum over prefixes: 0.1 % of the time.
    np.testing.assert_allclose(cut.total_s, one_by_one.total_s, rtol=1e-3)


def test_short_prompts_share_passes():
    model, m = load_model("llama-3.1-8b"), machine()
    shared = chunked_prefill(model, m, tokens=1000, chunk_tokens=8000, sequences=16)
    same(shared, prefill_pass(model, m, new_tokens=1000, sequences=8).times(2))
    alone = chunked_prefill(model, m, tokens=1000, chunk_tokens=8000)
    assert (shared.total_s < 16 * alone.total_s).all()


@pytest.mark.parametrize("tokens", [1000, 8000, 20_000, 40_000])
def test_every_group_of_data_parallel_attention_has_its_own_chunks(tokens):
    model = load_model("deepseek-v3")
    m = machine(dp=8, ep=8, weight_dtype="fp8", moe_dtype="fp8")
    passes = np.ceil(tokens / 8000)
    part = tokens / passes
    found = chunked_prefill(model, m, tokens=tokens, chunk_tokens=8000, sequences=8)
    middle = (tokens - part) / 2
    one = prefill_pass(model, m, new_tokens=part, prefix_tokens=middle, sequences=8)
    same(found, one.times(passes))


@pytest.mark.parametrize("shape", [{}, {"tp": 2}, {"dp": 4, "ep": 4}])
def test_prompts_never_beat_their_arithmetic(shape):
    model, m = load_model("qwen3-30b-a3b"), machine(**shape)
    tokens = np.array([[10.0, 500.0, 8192.0, 30_000.0]])
    times = prompt_times(model, m, tokens=tokens, chunk_tokens=8192)
    one = chunked_prefill(model, m, tokens=1.0, chunk_tokens=8192).compute_s
    each = chunked_prefill(model, m, tokens=tokens, chunk_tokens=8192, sequences=m.dp)
    assert (times.riding_s >= (each.compute_s - times.passes * one) / m.dp * (1 - 1e-12)).all()
    assert (np.diff(times.alone_s) > 0).all()
    assert (np.diff(times.riding_s) > 0).all()
    assert (times.full_s <= times.alone_s * (1 + 1e-12)).all()
