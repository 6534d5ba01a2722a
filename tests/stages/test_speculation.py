"""Speculative decoding: yield, cost and memory, from the formula to where it stops paying."""

import numpy as np
import pytest

from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.speculation import Speculation
from pdplan.stages.llm import decode_pass
from pdplan.stages.machine import Shape, machines
from pdplan.stages.memory import decoder_bytes
from pdplan.stages.speculation import (
    decode_step,
    draft_bytes,
    draft_model,
    mean_steps,
    prediction_layer,
)

BATCHES = np.arange(1.0, 257.0)
SMALL = load_model("llama-3.1-8b")
MODELS = {
    "llama-3.1-70b": Shape("h100-sxm", tp=4),
    "gemma-3-27b": Shape("h100-sxm", tp=2),
    "deepseek-v3": Shape("h100-sxm", tp=16, ep=16, weight_dtype="fp8", moe_dtype="fp8"),
    "qwen3-next-80b-a3b": Shape("h100-sxm", tp=4, moe_tp=4),
    "llama-3.2-90b-vision": Shape("h100-sxm", tp=8),
}


def on(shape):
    return machines([shape], {"h100-sxm": load_hardware("h100-sxm")}, load_engine("vllm"))


def speculation(tokens=3, acceptance=0.7, draft="mtp"):
    return Speculation(tokens, acceptance, draft, SMALL if draft == "model" else None)


def step_s(name, guess, context=2000.0, cross=0.0):
    found = decode_step(
        load_model(name), on(MODELS[name]), speculation=guess,
        sequences=BATCHES, context_tokens=context, cross_tokens=cross,
    )  # fmt: skip
    return found.total_s[0]


@pytest.mark.parametrize("tokens", [1, 2, 5, 16])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 0.99])
def test_tokens_per_step_are_those_of_drafts_drawn_at_random(tokens, alpha):
    held = np.random.default_rng(3).random((200_000, tokens)) < alpha
    in_a_row = np.cumprod(held, axis=1).sum(axis=1)
    found = speculation(tokens, alpha).tokens_per_step
    assert found == pytest.approx((1 - alpha ** (tokens + 1)) / (1 - alpha), rel=1e-12)
    assert found == pytest.approx(1 + in_a_row.mean(), rel=0.01)


@pytest.mark.parametrize(("drafted", "alpha"), [(1, 0.5), (3, 0.7), (5, 0.9), (16, 0.95)])
@pytest.mark.parametrize("tokens", [1, 2, 7, 40, 256, 257, 400])
def test_steps_are_those_of_drafts_drawn_at_random(tokens, drafted, alpha):
    rng = np.random.default_rng(11)
    yields = np.minimum(rng.geometric(1 - alpha, (20_000, tokens)), drafted + 1)
    drawn = 1 + (np.cumsum(yields, axis=1) < tokens).sum(axis=1)
    found = mean_steps(speculation(drafted, alpha), np.array([float(tokens)]))[0]
    assert found == pytest.approx(drawn.mean(), rel=0.01)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("draft", ["ngram", "mtp", "model"])
def test_a_step_is_never_shorter_than_a_plain_one(name, draft):
    cross = 1600.0 if "vision" in name else 0.0
    plain = step_s(name, None, cross=cross)
    one, three = (step_s(name, speculation(n, draft=draft), cross=cross) for n in (1, 3))
    assert (one >= plain).all()
    assert (three >= one).all()


def test_nothing_drafted_is_a_plain_step():
    m = on(MODELS["llama-3.1-70b"])
    model = load_model("llama-3.1-70b")
    plain = decode_pass(model, m, sequences=BATCHES, context_tokens=900.0)
    assert (step_s("llama-3.1-70b", None, 900.0) == plain.total_s[0]).all()


def test_a_draft_that_never_holds_only_costs():
    guess = speculation(1, 0.0)
    assert guess.tokens_per_step == 1
    assert (step_s("llama-3.1-70b", guess) > step_s("llama-3.1-70b", None)).all()


@pytest.mark.parametrize(("draft", "alpha"), [("ngram", 0.3), ("mtp", 0.35), ("model", 0.6)])
def test_it_pays_for_few_and_costs_for_many(draft, alpha):
    plain = step_s("llama-3.1-70b", None)
    guess = speculation(3, alpha, draft)
    tpot = step_s("llama-3.1-70b", guess) / guess.tokens_per_step
    assert tpot[0] < plain[0]
    assert tpot[-1] > plain[-1]


def test_checking_reads_the_cache_once_and_multiplies_every_position():
    model, m = load_model("llama-3.1-70b"), on(MODELS["llama-3.1-70b"])
    often = {"sequences": 8.0, "context_tokens": 50_000.0}
    one, four = (decode_pass(model, m, **often, positions=n) for n in (1, 4))
    assert four.compute_s == pytest.approx(4 * one.compute_s)
    assert four.memory_s == pytest.approx(one.memory_s, rel=0.02)  # activations move more


def test_a_prediction_layer_weighs_what_is_published():
    """DeepSeek-V3's checkpoint has 14 B weights of its prediction module: 11.5 B of its own, and
    embedding and head that it shares with the model (README_WEIGHTS of the checkpoint)."""
    layer = prediction_layer(load_model("deepseek-v3"))
    counts = layer.parameters()
    assert counts.language - counts.embedding - counts.lm_head == pytest.approx(11.5e9, rel=0.02)
    assert counts.language == pytest.approx(14e9, rel=0.06)
    assert prediction_layer(load_model("qwen3-next-80b-a3b")).attention[0].kind == "full"


def test_memory_of_drafts():
    model, m = load_model("llama-3.1-70b"), on(MODELS["llama-3.1-70b"])
    assert draft_bytes(model, m, None) == draft_bytes(model, m, speculation(draft="ngram")) == 0
    assert draft_model(model, speculation(draft="ngram")) is None
    whole = draft_bytes(model, m, speculation(draft="model"))
    assert whole == pytest.approx(decoder_bytes(SMALL, m))
    assert whole == pytest.approx(8.03e9 * 2 / 4, rel=0.01)
    layer = draft_bytes(model, m, speculation())
    assert layer * model.layers == pytest.approx(decoder_bytes(model, m, tables=False), rel=1e-3)
