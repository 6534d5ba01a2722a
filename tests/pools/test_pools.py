"""Pools under load: identities that hold whatever the hardware."""

from dataclasses import replace

import numpy as np
import pytest

from pdplan.pools.confidence import queueing_confidence
from pdplan.pools.demand import demand
from pdplan.pools.interleave import PromptWork, interleave
from pdplan.pools.load import Discipline, occupancy, pool_table, tpot_quantiles_s
from pdplan.pools.table import Columns
from pdplan.pools.times import stage_times
from pdplan.queueing import decode_states
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.scenario import scenario_from
from pdplan.stages.machine import Shape

ENGINE = load_engine("vllm")
HARDWARE = {name: load_hardware(name) for name in ("h100-sxm", "l4")}
SHAPES = [Shape("h100-sxm"), Shape("h100-sxm", tp=2), Shape("h100-sxm", pp=2)]
CHAT = {
    "rate": "12 req/s",
    "isl": {"lognormal": {"mean": 1200, "cv": 1.0}},
    "osl": {"lognormal": {"mean": 200, "cv": 0.8}},
}
IMAGES = {"width": 1280, "height": 720}


def asked(model="qwen2.5-vl-7b", **workload):
    mapping = {"model": model, "hardware": ["h100-sxm"], "workload": CHAT | workload}
    return demand(load_model(model), scenario_from(mapping).traffic)


def at_rate(work, rate):
    return replace(work, traffic=replace(work.traffic, rate_rps=rate))


def timed(stages, work, shapes=SHAPES, batch=256):
    return stage_times(stages, shapes, HARDWARE, ENGINE, work, largest_batch=batch)


def table(stages, work, columns, **discipline):
    return pool_table(timed(stages, work), columns, work, Discipline(**discipline))


COLUMNS = Columns.of([0, 0, 0, 1, 1, 2, 2], [1, 2, 7, 1, 4, 2, 5], [100, 8, 256, 64, 32, 100, 200])
TEXT = asked()
VISION = asked(images={"count": {"histogram": {"values": [0, 1], "weights": [3, 1]}}, **IMAGES})


@pytest.mark.parametrize("stages", ["E", "P", "EP", "D", "PD", "EPD"])
@pytest.mark.parametrize("scheduler", ["chunked", "prefill_first"])
def test_utilization_is_rate_over_capacity(stages, scheduler):
    found = table(stages, VISION, COLUMNS, scheduler=scheduler)
    assert found.utilization * found.capacity_rps == pytest.approx(np.full(len(COLUMNS), 12.0))
    assert (found.utilization > 0).all()


@pytest.mark.parametrize("stages", ["E", "P", "EP", "D", "PD", "EPD"])
def test_a_pool_is_stable_below_its_capacity_only(stages):
    capacity = table(stages, VISION, COLUMNS).capacity_rps
    for i in range(len(COLUMNS)):
        one = Columns(COLUMNS.config[[i]], COLUMNS.instances[[i]], COLUMNS.max_batch[[i]])
        for factor, stable in ((0.9, True), (1.02, False)):
            found = table(stages, at_rate(VISION, capacity[i] * factor), one)
            assert found.stable.tolist() == [stable], (stages, i, factor)


@pytest.mark.parametrize("stages", ["E", "P", "D", "PD", "EPD"])
@pytest.mark.parametrize("routing", ["least_loaded", "round_robin", "random"])
def test_waits_fall_with_instances_and_grow_with_rate(stages, routing):
    counts = np.arange(3, 20)
    columns = Columns.of(np.zeros_like(counts), counts, np.full_like(counts, 100))

    def waits(work):
        found = table(stages, work, columns, routing=routing)
        assert found.stable.all()
        return np.array([wait.mean_s for wait in found.waits])

    slow, fast = waits(at_rate(VISION, 6.0)), waits(at_rate(VISION, 12.0))
    assert (fast >= slow - 1e-15).all()
    assert (np.diff(fast, axis=1) <= 1e-15).all()


def waited_s(found):
    """Mean wait of every column of a prefill pool, what all wait included."""
    own = (found.times.prefill_s + found.times.machines.request_s)[found.columns.config]
    late = (found.prefill_s - own).max(axis=1)
    return late + sum(wait.mean_s for wait in found.waits)


def test_routings_rank():
    columns = Columns.of([0, 1], [4, 4])
    waits = {
        routing: waited_s(table("P", TEXT, columns, routing=routing))
        for routing in ("central", "least_loaded", "round_robin", "random")
    }
    assert (waits["central"] <= waits["least_loaded"]).all()
    assert (waits["least_loaded"] <= waits["random"]).all()
    assert (waits["round_robin"] <= waits["random"]).all()


def test_littles_law_holds_for_the_batch():
    found = table("D", TEXT, COLUMNS)
    rate = TEXT.rate_rps / COLUMNS.instances
    in_service = rate * TEXT.decode_steps * found.tpot_mean_s
    stable = found.stable
    assert found.mean_batch[stable] == pytest.approx(in_service[stable])
    assert (found.mean_batch <= COLUMNS.max_batch * (1 + 1e-9)).all()


def test_sharing_passes_only_raises_the_capacity_of_prefill():
    found = table("P", TEXT, COLUMNS)
    occupied = occupancy(found.times, TEXT)
    alone = TEXT.rate_rps * occupied.services.mean_s[COLUMNS.config] / COLUMNS.instances
    slope = (occupied.full_s - occupied.base_s) * occupied.fill
    added = TEXT.rate_rps * slope[COLUMNS.config] / COLUMNS.instances
    assert (found.utilization <= alone).all()
    assert (found.utilization >= added).all()
    assert (found.mean_batch >= 1).all()


def test_full_passes_take_what_physics_gives_them():
    """A prompt's share of a pass filled with prompts like it, on average over prompts."""
    times = timed("P", TEXT)
    occupied = occupancy(times, TEXT)
    share = times.full_s @ TEXT.weight() / times.machines.pp[:, 0]
    assert occupied.full_s * occupied.fill == pytest.approx(share, rel=0.02)


def test_images_shared_by_instances():
    """Four images on two instances: half the time but for launches; a third is of no use."""
    work = asked(images={"count": 4, **IMAGES})
    columns = Columns.of([0], [6])
    one, two, three = (
        table("E", at_rate(work, 2.0), columns, parallel_encode=k) for k in (1, 2, 3)
    )
    own, fixed = one.times.encode_s[0], one.times.encode_fixed_s[0]
    host = one.times.host_s[0]
    half = fixed + (own - fixed) / 2
    assert (two.encode_s[0] - host / 2).min() == pytest.approx(half.min(), rel=0.01)
    assert (three.encode_s[0] - host / 2).min() == pytest.approx(half.min(), rel=0.01)
    assert two.capacity_rps == pytest.approx(one.capacity_rps * (own / 2 / half).mean())
    assert three.capacity_rps == pytest.approx(two.capacity_rps * 2 / 3)


def test_no_more_instances_share_media_than_there_are():
    work = at_rate(asked(images={"count": 4, **IMAGES}), 0.5)
    columns = Columns.of([0, 0, 0], [1, 2, 3])
    four = table("E", work, columns, parallel_encode=4)
    alone = [table("E", work, Columns.of([0], [n]), parallel_encode=n) for n in (1, 2, 3)]
    assert four.capacity_rps == pytest.approx([one.capacity_rps[0] for one in alone])
    assert four.encode_s == pytest.approx(np.stack([one.encode_s[0] for one in alone]))


@pytest.mark.parametrize("stages", ["E", "P"])
def test_bursts_add_a_wait_of_their_own(stages):
    bursts = {"factor": 4.0, "share": 0.1, "length": "10 s"}
    bursty = asked(burst=bursts, images={"count": 1, **IMAGES})
    calm = asked(images={"count": 1, **IMAGES})
    columns = Columns.of([0], [3])
    with_bursts, without = table(stages, bursty, columns), table(stages, calm, columns)
    assert with_bursts.utilization == pytest.approx(without.utilization)
    assert with_bursts.burst_wait.mean_s[0] > 0
    assert len(with_bursts.waits) == len(without.waits) + 1
    names = [name for name, _ in with_bursts.named_waits]
    assert names == [{"E": "encode", "P": "prefill"}[stages]] * 3


def test_confidence_names_its_reasons():
    quiet = table("P", at_rate(TEXT, 1.0), Columns.of([0], [1]))
    assert queueing_confidence(quiet, at_rate(TEXT, 1.0), Discipline()) == ()
    rate = float(quiet.capacity_rps[0]) * 0.96
    busy = table("P", at_rate(TEXT, rate), Columns.of([0], [1]))
    assert "utilization 0.96" in queueing_confidence(busy, at_rate(TEXT, rate), Discipline())[0]
    piped = table("P", TEXT, Columns.of([2], [3]), routing="central")
    reasons = queueing_confidence(piped, TEXT, Discipline("central"))
    assert any("pipelines" in reason for reason in reasons)
    assert any("central" in reason for reason in reasons)


def test_encoding_is_one_request_at_a_time():
    found = table("E", VISION, COLUMNS)
    busy = VISION.rate_rps * VISION.mean(found.times.encode_s / found.times.machines.pp)
    assert found.utilization == pytest.approx(busy[COLUMNS.config] / COLUMNS.instances)


def test_pipelining_overlaps_requests_without_quickening_them():
    # pp = 2 against tp = 1: twice the accelerators, the same traversal, half of the occupancy.
    found = table("P", TEXT, Columns.of([0, 2], [3, 3]))
    single = (found.times.passes <= 1).all(axis=0)
    assert (found.prefill_s[1, single] >= found.prefill_s[0, single] * 0.999).all()
    traversal = TEXT.mean(found.times.full_s)
    assert found.capacity_rps[1] / found.capacity_rps[0] == pytest.approx(
        2 * traversal[0] / traversal[2],
        rel=1e-3,  # what requests share of a pass differs a little
    )


def test_a_colocated_instance_without_prompts_only_decodes():
    step = 0.01 + 1e-4 * np.arange(64)[None, :]
    nothing = np.zeros((1, 1))
    mixed = interleave(
        PromptWork(nothing, nothing, nothing, nothing, nothing),
        step,
        weight=np.ones(1),
        arrival_rps=np.array([3.0]),
        decode_steps=200.0,
        cap=np.array([64]),
    )
    alone = decode_states(step, np.array([3.0]), 200.0, np.array([64]))
    assert mixed.busy.tolist() == [0.0]
    np.testing.assert_array_equal(mixed.states.probability, alone.probability)
    np.testing.assert_array_equal(mixed.step_s, step)


def test_prefill_slows_colocated_decoding():
    alone, both = table("D", TEXT, COLUMNS), table("PD", TEXT, COLUMNS)
    stable = both.stable
    assert (both.tpot_mean_s[stable] > alone.tpot_mean_s[stable]).all()
    assert (both.capacity_rps < alone.capacity_rps).all()


def test_an_encode_pool_sees_media_only():
    text_free = asked(images={"count": 1, **IMAGES})
    quarter = table("E", VISION, COLUMNS)
    full = table("E", at_rate(text_free, 12.0 / 4), COLUMNS)
    assert quarter.utilization == pytest.approx(full.utilization)
    assert quarter.encode_wait.mean_s == pytest.approx(full.encode_wait.mean_s)
    assert quarter.capacity_rps == pytest.approx(4 * full.capacity_rps)


def test_encoding_nothing_costs_nothing():
    plain, unused = table("P", TEXT, COLUMNS), table("EP", TEXT, COLUMNS)
    assert unused.encode_s.sum() == 0
    np.testing.assert_array_equal(plain.utilization, unused.utilization)
    np.testing.assert_array_equal(plain.prefill_s, unused.prefill_s)


def test_a_table_is_its_columns():
    for stages in ("E", "P", "D", "EPD"):
        whole = table(stages, VISION, COLUMNS)
        for i in (0, 4, 6):
            one = Columns(COLUMNS.config[[i]], COLUMNS.instances[[i]], COLUMNS.max_batch[[i]])
            alone = table(stages, VISION, one)
            assert alone.utilization[0] == pytest.approx(whole.utilization[i], rel=1e-12)
            assert alone.prefill_s[0] == pytest.approx(whole.prefill_s[i], rel=1e-12)
            for mine, all_of in zip(alone.waits, whole.waits, strict=True):
                assert mine.mean_s[0] == pytest.approx(all_of.mean_s[i], rel=1e-9)


def test_tpot_percentiles_rise():
    found = table("PD", TEXT, COLUMNS)
    rows = tpot_quantiles_s(found, TEXT, np.array([0.1, 0.5, 0.9, 0.95, 0.99]))
    assert (np.diff(rows, axis=1) >= 0).all()
    alone = found.times.step_s[COLUMNS.config, :1]  # no prompt may come while a request decodes
    assert (rows >= alone * 0.97).all()  # contexts may be shorter than usual


def test_a_batch_of_one_has_one_pace():
    found = table("D", at_rate(TEXT, 0.1), Columns.of([0, 1], [1, 1], [1, 1]))
    rows = tpot_quantiles_s(found, TEXT, np.array([0.5, 0.99]))
    assert rows == pytest.approx(np.repeat(found.step_s[:, :1], 2, axis=1), rel=0.02)


def test_context_is_that_of_running_requests():
    fixed = asked("llama-3.1-8b", isl=1000, osl=201)
    assert fixed.prompt_tokens.tolist() == [1000.0]
    assert fixed.decode_steps == 200.0
    assert fixed.context_tokens == pytest.approx(1000 + 100, abs=1)
    # Uniform over the life of a request: from 1,000 to 1,200.
    assert fixed.context_spread == pytest.approx(200 / np.sqrt(12), rel=0.02)


def test_memory_bounds_the_batch():
    small = timed("D", TEXT, [Shape("l4")])
    large = timed("D", TEXT, [Shape("h100-sxm")])
    assert small.resident[0] < large.resident[0]
    assert large.fits()[0]
    held = large.resident[0] * TEXT.context_tokens * 57_344  # Qwen2.5-7B, 16-bit cache
    assert held < large.memory.cache[0, 0]
    assert held > 0.85 * large.memory.cache[0, 0]  # 2.33 standard deviations are kept free
