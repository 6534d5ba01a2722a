"""Figures of "Efficiently Serving Large Multimodal Models Using EPD Disaggregation" (2501.05460).

8 x A100-80GB, images of 4032 x 3024 px, 22 text tokens, 10 output tokens.
"""

import numpy as np
import pytest
import yaml

from pdplan import evaluate
from pdplan.errors import InfeasibleError
from pdplan.planner import max_rate
from pdplan.pools.demand import demand
from pdplan.pools.times import stage_times
from pdplan.queueing import parallel_s
from pdplan.queueing.fork_join import rounds_of
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.plan_file import load_plan
from pdplan.specs.scenario import scenario_from
from pdplan.stages.machine import Shape

A100 = "a100-80gb-sxm"
MODELS = ("minicpm-v-2.6", "internvl2-8b", "internvl2-26b")
FOUR_K = {"width": 4032, "height": 3024}
LONG = {"chunk_tokens": 49152, "first_token_from": "prefill"}
EPD = ("E-P-D", (("E", 5, {"parallel_encode": 5}), ("P", 2, LONG), ("D", 1, {})))
DISTSERVE = ("EP-D", (("EP", 7, LONG), ("D", 1, {})))
VLLM = ("EPD", (("EPD", 8, {"chunk_tokens": 49152, "scheduler": "prefill_first"}),))

OBJECTIVES = {  # images of a request: TTFT and TPOT [s]
    "minicpm-v-2.6": {2: (1.4, 0.04), 4: (2.6, 0.04), 6: (3.9, 0.06), 8: (5.1, 0.06)},
    "internvl2-8b": {2: (1.2, 0.05), 4: (2.4, 0.06), 6: (3.55, 0.09), 8: (5.0, 0.18)},
    "internvl2-26b": {2: (3.5, 0.07), 4: (7.05, 0.08), 6: (11.0, 0.095), 8: (15.0, 0.15)},
}


@pytest.fixture
def plan(tmp_path):
    """Write a plan of a placement and its pools and read it back."""

    def made(fleet, images, rate=1.0, model="minicpm-v-2.6", **objectives):
        placement, pools = fleet
        workload = {"rate": f"{rate} req/s", "isl": 22, "osl": 10, "images": images, **objectives}
        pools = [
            {"name": s.lower(), "stages": s, "hardware": A100, "instances": n, "options": options}
            for s, n, options in pools
        ]
        path = tmp_path / "plan.yaml"
        keys = {"placement": placement, "model": model, "engine": "vllm-2024"}
        path.write_text(yaml.safe_dump({**keys, "workload": workload, "pools": pools}))
        return load_plan(path)

    return made


def asked(model, images, **keys):
    workload = {"rate": "1 req/s", "isl": 22, "osl": 10}
    if images:
        workload["images"] = {"count": images, **FOUR_K}
    scenario = scenario_from(
        {"model": model, "engine": "vllm-2024", "hardware": [A100], "workload": workload | keys}
    )
    return demand(scenario.model, scenario.traffic)


def timed(stages, work):
    return stage_times(
        stages, [Shape(A100, tp=1)], {A100: load_hardware(A100)}, load_engine("vllm-2024"), work,
        largest_batch=8, chunk_tokens=49152,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "patches"), [("minicpm-v-2.6", 10), ("internvl2-8b", 13), ("internvl2-26b", 13)]
)
def test_patches_of_a_4k_image(model, patches):
    for images in (1, 8):
        assert asked(model, images).media.pieces.tolist() == [patches * images]


def test_workers_share_patches_not_images():
    """Eight images of ten patches on five workers take 16 rounds; more workers than patches 1."""
    work = asked("minicpm-v-2.6", 8)
    assert rounds_of(work.media.pieces, 5).tolist() == [16]
    assert rounds_of(work.media.pieces, 200).tolist() == [1]
    assert parallel_s(80.0, work.media.pieces, 5).tolist() == [16.0]


@pytest.mark.parametrize(
    ("model", "published"),
    [("minicpm-v-2.6", 0.951), ("internvl2-8b", 0.963), ("internvl2-26b", 0.784)],
)
def test_memory_that_an_encode_instance_saves(model, published):
    """Share of the weights that is not the encoder's; ours counts the projector there: - 1.1."""
    work = asked(model, 1)
    whole, alone = (timed(s, work).memory.weights[0, 0] for s in ("EPD", "E"))
    assert 1 - alone / whole == pytest.approx(published, abs=0.012)


def test_sizes_of_what_is_handed_on():
    """Embeddings: tokens x hidden x 2 B; cache: all tokens x 2 x layers x KV heads x 128 x 2 B."""
    for model, tokens in (("minicpm-v-2.6", 640), ("internvl2-8b", 3328), ("internvl2-26b", 3328)):
        spec, work = load_model(model), asked(model, 4)
        (group,) = spec.attention
        kv = 2 * spec.layers * group.kv_heads * 128 * 2
        assert work.embedding_bytes().tolist() == [4 * tokens * spec.hidden * 2]
        assert work.kv_bytes("bf16").tolist() == [(22 + 4 * tokens) * kv]


@pytest.mark.parametrize(
    ("model", "context", "published"), [("minicpm-v-2.6", 32768, 49), ("internvl2-8b", 65536, 19)]
)
def test_most_images_where_the_context_ends(model, context, published):
    """Tokens of a 4K image and about twenty that mark it, up to the end of the context."""
    tokens = float(asked(model, 1).media.llm_tokens[0])
    assert int((context - 22) // (tokens + 20)) == published


def test_room_for_cache_where_nothing_encodes():
    """InternVL2-26B: published 80 % of memory free for cache against 36 %, 2.2 times; ours 1.59.

    Ours differ by the encoder's weights alone; the published pool also sets the workspace of one
    encoder pass over all tiles of ten images aside, which is why it takes 1 image and the other 10.
    """
    work = asked("internvl2-26b", 9)
    apart, beside = (timed(s, work).memory.cache[0, 0] for s in ("P", "EP"))
    encoder = 2 * load_model("internvl2-26b").vision.parameters
    assert apart - beside == pytest.approx(encoder, rel=0.01)
    assert apart / beside == pytest.approx(1.59, abs=0.02)


FRAMES = {8: (0.42, 0.24), 16: (0.82, 0.30), 32: (1.59, 0.49), 64: (3.11, 1.00)}
"""Frames of a video at 1 req/s: mean TTFT of vLLM and of EPD [s]."""


def test_time_to_first_token_of_videos(plan):
    """Frames as images that two slices and an overview show (the model's default for video).

    The colocated fleet is within 12 %; EPD, whose 5 encoders share a request, within 64 %, for
    its time is then that of prefill, whose tokens per frame are not published.
    """
    found = {}
    for count in FRAMES:
        images = {"count": count, "width": 640, "height": 360}
        colocated, apart = (
            evaluate(plan(fleet, images)).prediction.ttft_s.mean for fleet in (VLLM, EPD)
        )
        assert colocated == pytest.approx(FRAMES[count][0], rel=0.12)
        assert -0.16 < apart / FRAMES[count][1] - 1 < 0.64
        assert apart < colocated
        found[count] = colocated, apart
    slope, shared = (np.array(found[64]) - np.array(found[16])) / 48
    assert slope == pytest.approx(0.0505, rel=0.1)  # published 48 to 52 ms a frame
    assert 0.4 < shared / slope < 0.55  # published 15 to 19 ms: a third


@pytest.mark.parametrize("model", MODELS)
def test_disaggregated_encoding_has_the_highest_goodput(plan, model):
    """5E2P1D beats 7P1D and eight colocated instances under the published objectives.

    The two baselines do not meet them at any rate here: preparing a 4K image is 0.62 s of a core,
    which EPD's workers share; their light-load TTFT is 4 % to 65 % above the objectives.
    """
    for count, (ttft, tpot) in OBJECTIVES[model].items():
        images = {"count": count, **FOUR_K}
        keys = {"ttft": f"{ttft} s", "tpot": f"{tpot} s", "model": model}
        best = max_rate(plan(EPD, images, **keys)).prediction
        assert best.attainment > 0.899
        for fleet in (DISTSERVE, VLLM):
            with pytest.raises(InfeasibleError, match="no rate keeps"):
                max_rate(plan(fleet, images, **keys))
            alone = evaluate(plan(fleet, images, rate=0.001, **keys)).prediction.ttft_s.mean
            assert 1.04 < alone / ttft < 1.66


def test_time_to_first_token_that_is_saved(plan):
    """Reduction against prefill with encode, up to 71.9, 32.8 and 44.9 %: ours 71, 51 and 48 %."""
    saved = []
    for model in MODELS:
        images = {"count": 8, **FOUR_K}
        ours, theirs = (
            evaluate(plan(f, images, rate=0.01, model=model)).prediction.ttft_s.mean
            for f in (EPD, DISTSERVE)
        )
        saved.append(1 - ours / theirs)
    assert saved == pytest.approx([0.719, 0.51, 0.449], abs=0.05)


def test_share_of_encoding_in_encode_and_prefill():
    """Eight images: published about 25 % on GPUs; ours 59, 15 and 48 %, of three models."""
    shares = []
    for model in MODELS:
        times = timed("EP", asked(model, 8))
        encode, prefill = float(times.encode_s[0, 0]), float(times.prefill_s[0, 0])
        shares.append(encode / (encode + prefill))
    assert shares == pytest.approx([0.59, 0.15, 0.48], abs=0.03)


def test_text_passes_the_encoders_by(plan):
    """A request without images waits for no encoder, however busy."""
    counts = {"histogram": {"values": [0, 8], "weights": [8, 2]}}
    fleets = (("E-P-D", (("E", n, {}), ("P", 3, LONG), ("D", 1, {}))) for n in (2, 4))
    kinds = []
    for fleet in fleets:
        spec = plan(fleet, {"count": counts, **FOUR_K}, rate=12.0)
        kinds.append(evaluate(spec).prediction)
    busy, idle = kinds
    assert busy.ttft_s.p99 > idle.ttft_s.p99 + 0.2
    assert busy.ttft_s.p50 == pytest.approx(idle.ttft_s.p50, rel=0.02)
