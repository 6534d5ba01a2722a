import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.errors import UnfitError
from pdplan.specs import tiling
from pdplan.specs.encoder import AudioEncoder, VisionEncoder
from pdplan.specs.model import load_model

LITERATURE = Path(__file__).parents[1] / "literature" / "image_tokens.csv"
VISION = [
    "gemma-3-27b",
    "internvl3-8b",
    "llama-3.2-11b-vision",
    "llama-4-scout",
    "llava-1.5-7b",
    "llava-onevision-7b",
    "minicpm-v-2.6",
    "phi-3.5-vision",
    "pixtral-12b",
    "qwen2.5-vl-7b",
    "qwen3-vl-8b",
]
SIZES = st.integers(min_value=1, max_value=20_000)


def vision(name: str) -> VisionEncoder:
    encoder = load_model(name).vision
    assert encoder is not None
    return encoder


def audio(name: str) -> AudioEncoder:
    encoder = load_model(name).audio
    assert encoder is not None
    return encoder


def rows() -> list[dict[str, str]]:
    with LITERATURE.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", rows(), ids=lambda r: f"{r['model']}-{r['width']}x{r['height']}")
def test_image_tokens_are_those_of_the_processor(row):
    most = float(row["max_pixels"]) if row["max_pixels"] else None
    size = int(row["width"]), int(row["height"])
    work = vision(row["model"]).image_work(*size, max_pixels=most)
    assert work.llm_tokens == int(row["llm_tokens"])
    assert work.positions == int(row["positions"])


@pytest.mark.parametrize("name", VISION)
@given(width=SIZES, height=SIZES)
def test_work_is_whole_and_positive(name, width, height):
    work = vision(name).image_work(width, height)
    assert work.llm_tokens >= 1
    assert work.positions >= work.segment >= work.window >= 1
    assert work.positions % work.segment == 0
    assert 1 <= work.projector_positions <= work.positions


@given(width=SIZES, height=SIZES)
def test_grids_are_alike_upright_and_lying(width, height):
    across = tiling.crop_grid(width, height, tile=336, max_tiles=16)
    upright = tiling.crop_grid(height, width, tile=336, max_tiles=16)
    assert sorted(across) == sorted(upright)
    assert across[0] * across[1] <= 16


def test_windows_and_segments():
    work = vision("qwen2.5-vl-7b").image_work(1344, 1344)
    assert (work.segment, work.window) == (9216, 64)  # 28 of 32 layers see 8 x 8 patches
    tiled = vision("internvl2-26b").image_work(640, 480)
    assert (tiled.positions // tiled.segment, tiled.segment, tiled.window) == (13, 1025, 1025)
    assert vision("qwen3-vl-8b").image_work(1344, 1344).window == 7056


def test_mllama_image_is_one_token_in_the_sequence():
    work = vision("llama-3.2-90b-vision").image_work(1000, 1000)
    assert (work.llm_tokens, work.cross_tokens, work.positions) == (1, 6404, 6404)


def test_llama4_tiles():
    """Up to 16 tiles and the whole image; a small image is one tile."""
    scout = vision("llama-4-scout")
    assert scout.image_work(1344, 1344).llm_tokens == 17 * 144 == 2448
    assert scout.image_work(300, 300).llm_tokens == 144
    assert scout.image_work(672, 336).llm_tokens == 3 * 144


def test_several_images_get_fewer_crops():
    phi = vision("phi-3.5-vision")
    assert phi.image_work(1024, 1024).llm_tokens == 17 * 144 + 1 + 5 * 12
    assert phi.image_work(1024, 1024, 2).llm_tokens == 5 * 144 + 1 + 3 * 12


def test_limits_may_be_overridden():
    assert vision("internvl3-8b").image_work(640, 480, max_tiles=6).llm_tokens == 1792
    assert vision("qwen2-vl-7b").image_work(100, 100, min_pixels=784 * 256).llm_tokens == 256
    with pytest.raises(UnfitError) as caught:
        vision("gemma-3-27b").image_work(100, 100, max_pixels=1e6)
    assert str(caught.value) == "SigLIP-so400m/14-896: the rule 'fixed' has no max_pixels"


def test_deepstack_widens_the_embedding():
    assert vision("qwen3-vl-8b").embedding_width == 4 * 4096
    assert vision("qwen2.5-vl-7b").embedding_width == 3584


def test_unused_layers_do_not_run():
    clip = vision("llava-1.5-7b")
    assert clip.matmul_parameters == 23 * clip.layer_matmul_parameters
    assert clip.tower_parameters == 303_507_456


def test_qwen_video_merges_pairs_of_frames_within_a_budget():
    qwen = vision("qwen2.5-vl-7b")
    short = qwen.video_work(8, 448, 448)
    assert short.llm_tokens == 4 * 16 * 16
    assert short.positions == 4 * short.segment == 4 * 1024
    large = qwen.video_work(8, 1920, 1080)
    assert large.llm_tokens <= 4 * 768  # px per frame are capped
    full = qwen.video_work(768, 1920, 1080)
    assert full.llm_tokens <= 115_200
    assert full.llm_tokens > 0.85 * 115_200
    assert qwen.video_work(10_000, 1920, 1080) == full


@pytest.mark.parametrize(
    ("name", "tokens", "positions"),
    [("llava-onevision-7b", 196, 729), ("internvl3-8b", 256, 1025), ("minicpm-v-2.6", 64, 1024)],
)
def test_video_of_frames(name, tokens, positions):
    work = vision(name).video_work(16, 1920, 1080)
    assert (work.llm_tokens, work.positions) == (16 * tokens, 16 * positions)
    assert work.segment == positions


def test_no_video_rule():
    with pytest.raises(UnfitError) as caught:
        vision("pixtral-12b").video_work(8, 100, 100)
    assert str(caught.value) == "Pixtral ViT: no rule for videos is known"


def test_sizes_must_be_positive():
    with pytest.raises(UnfitError) as caught:
        vision("pixtral-12b").image_work(0, 100)
    assert str(caught.value) == "Pixtral ViT: width must be at least 1; got 0"


@pytest.mark.parametrize(
    ("name", "seconds", "tokens", "positions"),
    [
        ("qwen2-audio-7b", 30, 750, 1500),
        ("qwen2-audio-7b", 3, 75, 1500),
        ("qwen2-audio-7b", 90, 750, 1500),
        ("ultravox-v0.5-8b", 30, 188, 1500),
        ("ultravox-v0.5-8b", 31, 188 + 7, 3000),
        ("qwen2.5-omni-7b", 10, 250, 500),
    ],
)
def test_audio(name, seconds, tokens, positions):
    work = audio(name).audio_work(seconds)
    assert (work.llm_tokens, work.positions) == (tokens, positions)


def test_a_clip_lasts_a_positive_time():
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UnfitError):
            audio("qwen2-audio-7b").audio_work(seconds)
