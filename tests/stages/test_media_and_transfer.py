"""Encoding, and the bytes that travel, against published figures."""

from dataclasses import replace

import numpy as np
import pytest

from pdplan.errors import UnfitError
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.scenario import scenario_from
from pdplan.stages.encode import encode_times, media_work
from pdplan.stages.machine import Shape, machines
from pdplan.stages.transfer import Link, embedding_bytes, kv_bytes

ENGINE = load_engine("vllm")
NAMES = ("h100-sxm", "l4", "tpu-v5e")
M = machines([Shape(n) for n in NAMES], {n: load_hardware(n) for n in NAMES}, ENGINE)


def traffic(counts, model="qwen2.5-vl-7b", width=1280, height=720, **workload):
    images = {"count": counts, "width": width, "height": height}
    mapping = {"rate": "1 req/s", "isl": 100, "osl": 10, "images": images, **workload}
    if counts == 0:
        del mapping["images"]
    return scenario_from({"model": model, "hardware": ["h100-sxm"], "workload": mapping}).traffic


def test_gemma_encodes_many_more_patches_than_it_emits():
    spec = load_model("gemma-3-27b")
    work = media_work(spec, traffic(1, "gemma-3-27b", 896, 896))
    assert work.vision.positions.tolist() == [4096.0]  # Gemma 3 report: 896 / 14 squared
    assert work.llm_tokens[0] in (256.0, 258.0)  # with its begin and end of image, or without


def test_cost_grows_with_images_and_text_costs_nothing():
    spec = load_model("qwen2.5-vl-7b")
    counts = {"histogram": {"values": [0, 1, 2, 20], "weights": [1, 1, 1, 1]}}
    arrivals = traffic(counts)
    work = media_work(spec, arrivals)
    times = encode_times(spec, M, work)
    order = np.argsort(arrivals.images)
    for part in (times.device_s, times.host_s):
        assert (part[:, order[0]] == 0).all()
        assert (np.diff(part[:, order], axis=1) > 0).all()
    assert work.llm_tokens[order].tolist() == [0, 1196, 2 * 1196, 20 * 1196]
    assert work.present[order].tolist() == [False, True, True, True]


def test_text_only_traffic_has_no_media():
    work = media_work(load_model("qwen2.5-vl-7b"), traffic(0))
    assert not work.any
    assert encode_times(load_model("qwen2.5-vl-7b"), M, work).device_s.sum() == 0


def test_a_model_without_encoder_refuses_images():
    with pytest.raises(UnfitError) as caught:
        media_work(load_model("llama-3.1-8b"), traffic(1))
    assert str(caught.value) == (
        "model 'Llama-3.1-8B' has no encoder for images, which the workload sends"
    )


def test_no_encoder_beats_the_roofline():
    for name in ("qwen2.5-vl-7b", "gemma-3-27b", "internvl3-8b", "llama-3.2-11b-vision"):
        spec = load_model(name)
        work = media_work(spec, traffic(3, name, 1500, 1100))
        assert spec.vision is not None
        times = encode_times(spec, M, work).device_s
        flops = 2 * spec.vision.matmul_parameters * work.vision.positions
        assert (times >= flops / M.half_peak_flops_per_s).all()


@pytest.mark.parametrize(
    ("model", "tokens", "published_bytes", "rel"),
    [
        ("opt-66b", 512, 1.208e9, 0.001),  # DistServe (OSDI 2024), section 3.3: 1.13 GiB
        ("llama-3.1-8b", 5115, 670e6, 0.002),  # PPD
    ],
)
def test_kv_of_a_prompt(model, tokens, published_bytes, rel):
    found = float(kv_bytes(load_model(model), "bf16", tokens, 0.0))
    assert found == pytest.approx(published_bytes, rel=rel)


def test_embeddings_of_an_image():
    # EPD-Serve, arXiv 2601.11590: Qwen2.5-VL-7B, 720 x 1280: [1196 x 3584] in 16 bits, 8.57 MB.
    spec = load_model("qwen2.5-vl-7b")
    work = media_work(spec, traffic(1))
    assert work.llm_tokens.tolist() == [1196.0]
    found = embedding_bytes(spec, work.llm_tokens, work.cross_tokens)
    assert float(found[0]) == pytest.approx(8.57e6, rel=0.001)


LINK = Link(
    source_bytes_per_s=np.array([[4e9]]),
    target_bytes_per_s=np.array([[2e9]]),
    latency_s=np.array([[1e-3]]),
    overlap_s=np.array([[0.0]]),
    layers=10,
)


def test_a_link_moves_at_its_slower_end():
    assert float(LINK.moving_s(4e9)[0, 0]) == pytest.approx(2.0)
    assert float(LINK.exposed_s(4e9)[0, 0]) == pytest.approx(2.001)


def test_layerwise_sending_leaves_at_least_the_last_layer():
    exposed = [
        float(replace(LINK, overlap_s=np.array([[c]])).exposed_s(4e9)[0, 0]) for c in (0, 1, 9, 90)
    ]
    assert exposed == pytest.approx([2.001, 1.101, 0.201, 0.201])
