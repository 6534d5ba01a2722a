"""Tables of step and pass times against the physics that they are filled from."""

import random

import numpy as np
import pytest

from pdplan.simulation.tables import cache_law, pass_law, step_law
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.stages.iteration import StepLaw
from pdplan.stages.llm import decode_pass, prefill_pass
from pdplan.stages.machine import Shape, machines
from pdplan.stages.memory import cache_bytes_per_sequence
from pdplan.stages.prompt import chunked_prefill

HARDWARE = {"h100-sxm": load_hardware("h100-sxm")}
ENGINE = load_engine("vllm")
FP8 = {"weight_dtype": "fp8", "moe_dtype": "fp8"}
SHAPES = {
    "llama-3.1-70b": {"tp": 4},
    "llama-3.1-8b": {"pp": 2},
    "deepseek-v3": {"dp": 16, "ep": 16, **FP8},
    "gpt-oss-120b": {"tp": 2},
    "gemma-3-27b": {"tp": 2},
}


def machine(name):
    return machines([Shape("h100-sxm", **SHAPES[name])], HARDWARE, ENGINE)


def drawn(seed, count=300):
    rng = random.Random(seed)
    return [(rng, rng.randint(1, 256), float(np.exp(rng.uniform(3, 11)))) for _ in range(count)]


@pytest.mark.parametrize("name", SHAPES)
def test_steps_are_those_of_the_physics(name):
    """Within 0.1 %, where batches are not made to rise: exact in n, linear in context."""
    model, m = load_model(name), machine(name)
    law = step_law(model, m, largest_batch=256)
    for _, n, context in drawn(1):
        exact = decode_pass(model, m, sequences=float(n), context_tokens=context).total_s[0, 0]
        assert law.step_s(n, context) == pytest.approx(exact, rel=1e-3) or (
            law.step_s(n, context) > exact
        )
    below = [law.step_s(n, 1000.0) for n in range(1, 257)]
    assert below == sorted(below)


@pytest.mark.parametrize("name", SHAPES)
def test_passes_are_those_of_the_physics(name):
    """Prompts alike, with prefixes or without: within 1 %; windowed layers, whose prefixes reach
    less far in pieces than in one, within 8 %, and tiles of experts within 1.5 %."""
    model, m = load_model(name), machine(name)
    law = pass_law(model, m, most_tokens=8192.0 * SHAPES[name].get("dp", 1))
    most = {"gemma-3-27b": 0.08, "deepseek-v3": 0.015}.get(name, 0.01)
    rng = random.Random(2)
    worst = 0.0
    for _ in range(400):
        k = rng.choice([1, 1, 2, 3, 5, 16, 40])
        tokens = max(float(np.exp(rng.uniform(0, np.log(8192)))), 32.0 * k)
        prefix = rng.choice([0.0, 0.0, float(np.exp(rng.uniform(2, 10)))])
        exact = prefill_pass(
            model, m, new_tokens=tokens / k, prefix_tokens=prefix, sequences=float(k)
        ).total_s[0, 0]
        attended = tokens * (prefix + tokens / k / 2)
        worst = max(worst, abs(law.pass_s(tokens, attended, k * prefix + tokens, k) / exact - 1))
    assert worst < most


def test_unequal_prompts_take_as_long_as_equal_ones_that_attend_to_as_much():
    model, m = load_model("llama-3.1-8b"), machine("llama-3.1-8b")
    law = pass_law(model, m, most_tokens=8192.0)
    one = prefill_pass(model, m, new_tokens=3000.0).total_s[0, 0]
    other = prefill_pass(model, m, new_tokens=500.0, sequences=4.0).total_s[0, 0]
    empty = prefill_pass(model, m, new_tokens=1.0).total_s[0, 0]
    found = law.pass_s(5000.0, 3000.0**2 / 2 + 4 * 500.0**2 / 2, 5000.0, 5)
    assert found < one + other
    assert found == pytest.approx(one + other - empty, rel=0.04)


def test_a_long_prompt_alone_takes_its_passes():
    """Full chunks and a rest against equal passes: within 1 %."""
    model, m = load_model("llama-3.1-8b"), machine("llama-3.1-8b")
    law = pass_law(model, m, most_tokens=2048.0)
    for tokens in (500.0, 2048.0, 5000.0, 30_000.0):
        exact = chunked_prefill(model, m, tokens=tokens, chunk_tokens=2048.0).total_s[0, 0]
        assert law.prompt_s(tokens, 0.0, 2048.0) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("name", SHAPES)
def test_caches_are_exact(name):
    model, m = load_model(name), machine(name)
    law = cache_law(model, m)
    contexts = np.array([1.0, 100.0, 128.0, 1000.0, 1024.0, 5000.0, 100_000.0])
    exact = cache_bytes_per_sequence(model, m, contexts)[0]
    assert [law.at(c) for c in contexts] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("growth", [1.0, 2.533])
def test_many_steps_are_the_sum_of_each(growth):
    """Exact across the knots of the table."""
    rng = random.Random(3)
    knots = [0.0, *sorted(rng.uniform(1, 400) for _ in range(6))]
    slopes = [rng.choice([0.0, 1e-4, 3e-4]) for _ in knots]
    values = [0.01]
    for i in range(6):
        values.append(values[-1] + slopes[i] * (knots[i + 1] - knots[i]))
    law = StepLaw(knots, [[], values], [[], slopes], growth)
    for _ in range(300):
        context, steps = rng.uniform(0, 450), rng.randint(1, 300)
        each = [law.step_s(1, context + growth * i) for i in range(steps)]
        assert law.steps_s(1, context, steps) == pytest.approx(sum(each), rel=1e-12)
        moment = rng.uniform(0, sum(each))
        ends = np.cumsum(each)
        assert law.steps_until(1, context, moment) == int(np.searchsorted(ends, moment)) + 1
        if steps > 1:
            at = rng.randrange(steps)
            assert law.steps_until(1, context, float(ends[at])) == at + 1
