from pathlib import Path

import numpy as np
import pytest

from pdplan.pools.demand import demand
from pdplan.pools.interleave import PromptWork, interleave
from pdplan.pools.load import Discipline, pool_table
from pdplan.pools.local_prefill import demand_at, prompts_at
from pdplan.pools.table import Columns
from pdplan.pools.times import resident_at, stage_times
from pdplan.queueing import Outputs, sojourn_quantile_s
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.options import NO_OPTIONS, Options
from pdplan.specs.traffic import traffic
from pdplan.specs.workload import WorkloadSpec
from pdplan.stages.machine import Shape
from tests.pools.loads import BUDGET, STEP_S, lengths
from tests.pools.mixed_simulation import Mixed, simulate

MODEL = "llama-3.1-8b"
KV = 131_072
"""Bytes of a token of it in 16 bits."""
HARDWARE = "h100-sxm"
TURNS, ISL, OSL, RATE = 4, 600, 200, 8.0


def work(share=None, *, turns=TURNS, model=MODEL, workload=None, **option):
    keys = {"isl": ISL, "osl": OSL, "session": {"turns": turns, "think": "10 s"}}
    arrivals = traffic(WorkloadSpec.model_validate(keys | (workload or {})), RATE, Path())
    options = NO_OPTIONS
    if share is not None:
        options = Options.model_validate({"local_prefill": {"share": share, **option}})
    return demand(load_model(model), arrivals, None, options)


def pool(stages, demand, instances=2, scheduler="chunked"):
    times = stage_times(
        stages, [Shape(HARDWARE, tp=1)], {HARDWARE: load_hardware(HARDWARE)},
        load_engine("vllm"), demand, largest_batch=512,
    )  # fmt: skip
    discipline = Discipline("least_loaded", scheduler)
    return pool_table(times, Columns.of([0], [instances], [256]), demand, discipline)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_prefill_pool_sees_first_turns_and_the_rest_of_the_later_ones(share):
    sessions = RATE / TURNS
    asked = sessions * (1 + (1 - share) * (TURNS - 1))
    assert demand_at("P", work(share)).rate_rps == pytest.approx(asked)


def test_a_decode_step_lasts_longer_by_the_share_of_time_that_prompts_take():
    plain, local = pool("D", work()), pool("D", work(0.5))
    share, weight = prompts_at("D", work(0.5))
    assert share == pytest.approx(0.5 * (TURNS - 1) / TURNS)
    busy = RATE / 2 * share * float(local.times.marginal_s[0] @ weight)
    assert 0.005 < busy < 0.2
    assert local.step_s[0, :64] * (1 - busy) == pytest.approx(plain.step_s[0, :64], rel=1e-9)


@pytest.mark.parametrize("turns", [2, 4, 10])
def test_bytes_of_a_session(turns):
    prompts = ISL + (ISL + OSL) * np.arange(turns)
    sent, local = work(0.0, turns=turns, history="recompute"), work(1.0, turns=turns)
    assert float(turns * sent.mean(sent.kv_bytes("bf16"))) == pytest.approx(prompts.sum() * KV)
    assert float(turns * local.mean(local.kv_bytes("bf16"))) == pytest.approx(ISL * KV)
    assert not local.history_bytes("bf16").any()


def test_histories_are_read_and_only_new_tokens_go_back():
    read = work(0.0)
    history = (ISL + OSL) * np.arange(TURNS)
    assert read.history_bytes("bf16") == pytest.approx(history * KV)
    assert read.kv_bytes("bf16") == pytest.approx(np.full(TURNS, ISL) * KV)
    assert read.new_tokens == pytest.approx(np.full(TURNS, ISL))


def test_layers_with_a_state_send_nothing_for_local_turns():
    some = work(1.0, model="qwen3-next-80b-a3b")
    assert (some.kv_bytes("bf16")[some.turns.local] == 0).all()
    assert (some.kv_bytes("bf16")[~some.turns.local] > ISL).all()


def test_decode_keeps_sessions_through_their_think_time():
    local = work(0.5)
    times = pool("D", local).times
    sessions, kept = RATE / TURNS, (ISL + OSL) * np.arange(1, TURNS)
    asked = sessions * 10.0 * kept.sum() * KV
    beside = [
        float(resident_at(times, local, np.array([n]), np.array([0]))[0]) for n in (1.0, 2.0, 1e9)
    ]
    assert beside[2] == pytest.approx(float(times.resident[0]))
    each = float(times.sequence_bytes[0])
    assert beside[2] - beside[0] == pytest.approx(asked / each, rel=0.1)
    assert beside[2] - beside[1] == pytest.approx(asked / each / 2, rel=0.1)


def test_nothing_is_kept_where_nothing_is_prefilled_locally_or_read():
    again = work(0.0, history="recompute")
    assert not again.turns.stay
    assert pool("D", again).times.idle_bytes_s[0] == 0
    assert pool("P", again).times.idle_bytes_s[0] == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_prefill_instances_know_what_they_prefilled_themselves(share):
    found = work(share, history="prefix_cache")
    elsewhere = ~found.turns.local & (found.traffic.earlier_turns > 0)
    random = np.random.default_rng(1)
    for at in np.flatnonzero(elsewhere):
        earlier = int(found.traffic.earlier_turns[at])
        here = random.random((100_000, earlier)) < share
        here[:, 0] = False
        since = np.argmin(here[:, ::-1], axis=1)
        lacking = OSL + since * (ISL + OSL)
        assert found.new_tokens[at] == pytest.approx(ISL + lacking.mean(), rel=0.01)


def test_sessions_of_one_turn_are_told_apart_from_nothing():
    one = work(0.5, turns=1)
    assert one.turns is None
    assert one.prompt_tokens.tolist() == work(turns=1).prompt_tokens.tolist()


def test_short_turns_are_always_local():
    brief, long = work(0.0, bypass_tokens=ISL + 1), work(0.0, bypass_tokens=ISL)
    assert float(brief.weight()[brief.turns.local].sum()) == pytest.approx(0.75)
    assert not long.turns.local.any()


def test_turns_with_media_go_through_prefill():
    images = {"count": {"histogram": {"values": [0, 1], "weights": [3, 1]}}}
    sized = images | {"width": 640, "height": 480}
    found = work(1.0, model="qwen2.5-vl-7b", workload={"images": sized})
    assert not (found.turns.local & found.media.present).any()
    assert float(found.weight()[found.turns.local].sum()) == pytest.approx(0.75 * 0.75)


def test_measured_interference_takes_the_place_of_the_model():
    some = work(0.5, interference={"slowdown": 0.02})
    times = pool("D", some).times
    local = some.turns.local
    asked = 0.02 * ISL / 1024 * times.step_s[0, 199]
    assert times.marginal_s[0, local] == pytest.approx(np.full(local.sum(), asked))


@pytest.mark.parametrize("scheduler", ["chunked", "prefill_first"])
@pytest.mark.parametrize("share", [0.15, 0.6])
@pytest.mark.parametrize("load", [0.4, 0.8])
def test_a_mixed_instance_against_simulation(scheduler, share, load):
    """TTFT and the rest of a step within 4 %, p90 within 8 %, mean TPOT within 2 %."""
    tokens, steps = lengths(0.3 * BUDGET, 0.8, 12), lengths(200, 0.8, 40)
    added = tokens / BUDGET * 0.030
    passes = np.ceil(tokens / BUDGET)
    alone = added + passes * 0.008
    base = 0.004 * share * passes.mean() if scheduler == "prefill_first" else 0.0
    rate = load / (share * added.mean() + base + steps.mean() * STEP_S[299] / 300)
    weight = np.full(len(tokens), 1 / len(tokens))
    found = interleave(
        PromptWork(alone[None], added[None], 0 * added[None], passes[None], tokens[None] / BUDGET),
        STEP_S[None],
        weight=weight,
        arrival_rps=np.array([rate]),
        decode_steps=np.array([steps.mean()]),
        cap=np.array([512]),
        scheduler=scheduler,
        budget_tokens=np.array([BUDGET]),
        outputs=Outputs.of(steps[None], np.full((1, len(steps)), 1 / len(steps))),
        prompt_share=share,
    )
    seen = simulate(Mixed(rate, share, tokens, added, alone, steps, STEP_S, BUDGET, scheduler))
    chance, tail = (np.full((len(tokens), 1), np.asarray(x)[0])
                    for x in (found.wait.probability, found.wait.tail_mean_s))  # fmt: skip
    ttft = found.prompt_s[0] @ weight + float(np.asarray(found.wait.mean_s)[0])
    p90 = sojourn_quantile_s(np.array([0.9]), weight, found.prompt_s[0], chance, tail)[0]
    assert ttft == pytest.approx(seen.local_ttft_s.mean(), rel=0.04)
    assert p90 == pytest.approx(np.quantile(seen.local_ttft_s, 0.9), rel=0.08)
    assert float(found.rounds.residual_s[0]) == pytest.approx(seen.rest_s.mean(), rel=0.04)
    assert float(found.tpot_mean_s[0]) == pytest.approx(seen.tpot_s.mean(), rel=0.02)
