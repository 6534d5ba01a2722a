"""What reuse and speculation ask of a pool: less work, the same memory, and room between turns."""

from dataclasses import replace

import numpy as np
import pytest

from pdplan.errors import UnfitError
from pdplan.pools.demand import demand
from pdplan.pools.times import kept_share, resident_at, stage_times
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.scenario import scenario_from
from pdplan.specs.speculation import Speculation
from pdplan.stages.machine import Shape

HARDWARE = {"h100-sxm": load_hardware("h100-sxm")}
SHAPES = [Shape("h100-sxm", tp=4), Shape("h100-sxm", tp=8)]
ENGINE = load_engine("vllm")
TALK = {"turns": 3, "think": "20 s"}
DRAFT = Speculation(3, 0.7, "model", load_model("llama-3.1-8b"))


def asked(model="llama-3.1-70b", speculation=None, **keys):
    workload = {"rate": "6 req/s", "isl": 4000, "osl": 200} | keys
    mapping = {"model": model, "hardware": ["h100-sxm"], "workload": workload}
    return demand(load_model(model), scenario_from(mapping).traffic, speculation)


def timed(work, stages="PD", batch=64):
    return stage_times(stages, SHAPES, HARDWARE, ENGINE, work, largest_batch=batch)


def test_neutral_traffic_has_nothing_of_it():
    plain = asked()
    assert plain.cached_tokens.tolist() == [0]
    assert plain.new_tokens.tolist() == plain.prompt_tokens.tolist() == [4000]
    assert (plain.idle_tokens_s, plain.tokens_per_step, plain.decode_steps) == (0, 1, 199)


@pytest.mark.parametrize("stages", ["P", "PD"])
def test_a_prefix_hit_halves_the_work_and_none_of_the_memory(stages):
    plain, half = asked(), asked(prefix={"hit": 0.5})
    whole, less = timed(plain, stages), timed(half, stages)
    for name in ("prefill_s", "marginal_s", "full_s"):
        share = getattr(less, name) / getattr(whole, name)
        assert ((share > 0.5) & (share < 0.6)).all(), name  # new tokens still attend to the rest
    for name in ("resident", "longest_bytes", "sequence_bytes", "step_s"):
        assert (getattr(less, name) == getattr(whole, name)).all(), name
    assert half.kv_bytes("bf16") == plain.kv_bytes("bf16")
    assert half.context_tokens == plain.context_tokens


def test_a_prompt_keeps_one_token_to_compute():
    assert asked(prefix={"hit": 1.0}).new_tokens.tolist() == [1]


def test_sessions_by_hand():
    work = asked(isl=100, osl=50, session=TALK)
    assert work.prompt_tokens.tolist() == [100, 250, 400]
    assert work.new_tokens.tolist() == [100, 100, 100]
    assert work.idle_tokens_s == pytest.approx(20 * 450 / 3)
    assert work.context_tokens == pytest.approx((125 + 275 + 425) / 3)


def test_kept_tokens_obey_littles_law():
    """Sessions that start at random: tokens kept between turns, counted at every moment."""
    work = asked(isl=100, osl=50, session=TALK)
    rng = np.random.default_rng(5)
    horizon_s, sessions_rps = 20_000.0, work.rate_rps / 3
    starts = rng.uniform(-100, horizon_s, rng.poisson(sessions_rps * (horizon_s + 100)))
    kept = 0.0
    for turn, tokens in ((1, 150), (2, 300)):
        begin = starts + 21.0 * (turn - 1) + 1.0
        inside = np.minimum(begin + 20, horizon_s) - np.maximum(begin, 0.0)
        kept += tokens * np.maximum(inside, 0).sum() / horizon_s
    assert work.rate_rps * work.idle_tokens_s == pytest.approx(kept, rel=0.01)


def test_what_is_kept_leaves_less_for_requests():
    work = asked(session=TALK, prefix={"tokens": 500})
    times = timed(work)
    instances = np.array([1, 2, 3, 1000, 1])
    found = resident_at(times, work, instances, np.array([0, 0, 0, 0, 1]))
    assert (np.diff(found[:4]) > 0).all()
    assert found[3] == pytest.approx(times.resident[0], rel=0.01)
    assert found[4] > found[0]
    room = times.memory.cache[0, 0] - times.sequence_bytes[0] * 10
    fitting = work.rate_rps * times.idle_bytes_s[0] / room
    share = kept_share(times, work, fitting * np.array([0.5, 1.0, 2.0]), np.zeros(3, int), 10.0)
    assert share == pytest.approx([0.5, 1, 1])


def test_kept_bytes_are_those_of_the_kept_tokens():
    work = asked(session=TALK)
    times = timed(work)
    per_token = times.sequence_bytes / work.context_tokens
    assert times.idle_bytes_s == pytest.approx(work.idle_tokens_s * per_token)
    assert (timed(work, "D").idle_bytes_s == 0).all()


def test_without_sessions_everything_is_for_requests():
    work = asked()
    times = timed(work)
    found = resident_at(times, work, np.array([1, 5]), np.array([0, 1]))
    assert found == pytest.approx(times.resident)
    assert (kept_share(times, work, np.array([1, 5]), np.array([0, 1]), 500) == 1).all()
    encode = timed(asked("qwen2.5-vl-7b"), "E")
    assert np.isinf(resident_at(encode, work, np.array([1]), np.array([0]))).all()


def test_what_is_lost_is_computed_again():
    work = asked(session=TALK, prefix={"tokens": 500})
    half, none = work.keeping(0.5), work.keeping(0.0)
    assert none.cached_tokens == pytest.approx(500 * np.ones(3))
    assert half.new_tokens == pytest.approx((work.new_tokens + none.new_tokens) / 2)
    assert half.idle_tokens_s == pytest.approx(work.idle_tokens_s / 2)
    assert none.idle_tokens_s == 0


def test_media_of_earlier_turns_are_in_the_prompt():
    picture = {"images": {"count": 1, "width": 1280, "height": 720}}
    one = asked("qwen2.5-vl-7b", isl=100, osl=50, **picture)
    talk = asked("qwen2.5-vl-7b", isl=100, osl=50, session=TALK, **picture)
    tokens = float(one.media.llm_tokens[0])
    assert tokens > 500
    assert talk.prompt_tokens == pytest.approx(
        [100 + (150 + tokens) * k + tokens for k in range(3)]
    )
    assert talk.new_tokens == pytest.approx([100 + tokens] * 3)
    assert talk.idle_tokens_s == pytest.approx(20 * 3 * (150 + tokens) / 3)
    with pytest.raises(UnfitError, match="sessions with media need a model that reads media in"):
        asked("llama-3.2-11b-vision", session=TALK, **picture)


def test_text_beside_images_brings_none():
    images = {
        "count": {"histogram": {"values": [0, 2], "weights": [3, 1]}},
        "width": 640,
        "height": 480,
    }
    kinds = [
        {"name": "text", "share": 0.6, "isl": 500, "osl": 50, "session": TALK},
        {"name": "mixed", "share": 0.4, "isl": 80, "osl": 50, "images": images},
    ]
    mapping = {"model": "qwen2.5-vl-7b", "hardware": ["h100-sxm"]}
    mapping["workload"] = {"rate": "6 req/s", "classes": kinds}
    work = demand(load_model("qwen2.5-vl-7b"), scenario_from(mapping).traffic)
    assert work.media_share == pytest.approx(0.4 * 0.25)
    text = work.traffic.class_index == 0
    assert work.prompt_tokens[text].tolist() == [500, 1050, 1600]
    assert not work.media.llm_tokens[text].any()


def test_steps_yield_several_tokens():
    plain, guess = asked(), asked(speculation=DRAFT)
    assert guess.decode_steps * guess.tokens_per_step == pytest.approx(199)
    assert guess.tokens_per_step == pytest.approx(2.533, rel=0.01)  # the last step's surplus
    assert asked(speculation=Speculation(3, 0.0, "mtp")).tokens_per_step == 1
    before, after = timed(plain), timed(guess)
    assert (after.step_s >= before.step_s).all()
    tpot = after.step_s / guess.tokens_per_step
    assert (tpot[:, 0] < before.step_s[:, 0]).all()
    assert (tpot[0, -1] / before.step_s[0, -1]) > (tpot[0, 0] / before.step_s[0, 0])


def test_a_draft_model_takes_memory_prefill_and_network():
    plain, guess = asked(), asked(speculation=DRAFT)
    before, after = timed(plain), timed(guess)
    assert after.memory.weights[0, 0] - before.memory.weights[0, 0] == pytest.approx(
        8.03e9 * 2 / 4, rel=0.01
    )
    of_one_token = 32 * 2 * 8 * 128 * 2
    assert guess.kv_bytes("bf16") - plain.kv_bytes("bf16") == pytest.approx(4000 * of_one_token)
    assert after.sequence_bytes - before.sequence_bytes == pytest.approx(
        guess.context_tokens * of_one_token / np.array([4, 8])
    )
    assert (after.resident < before.resident).all()
    assert (after.prefill_s > before.prefill_s).all()
    looked_up = timed(replace(guess, speculation=Speculation(3, 0.7, "ngram")))
    assert (looked_up.prefill_s == before.prefill_s).all()
    assert (looked_up.memory.weights == before.memory.weights).all()
