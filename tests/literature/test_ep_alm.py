"""eP-ALM (arXiv 2303.11403): media that enter the last layers, against media in the prompt."""

import numpy as np
import pytest

from pdplan.errors import UnfitError
from pdplan.pools.demand import demand
from pdplan.specs.model import load_model
from pdplan.specs.scenario import scenario_from
from pdplan.stages.encode import media_work
from pdplan.stages.injection import beside_s
from pdplan.stages.transfer import embedding_bytes, kv_bytes

LATE = load_model("ep-alm-opt-6.7b")
SMALL = load_model("ep-alm-opt-2.7b")


def in_the_prompt(model, tokens):
    """The same model with its media as tokens of the prompt; the soft prompt stays."""
    assert model.vision is not None
    rule = model.vision.tokens.model_copy(update={"tokens": tokens})
    vision = model.vision.model_copy(update={"tokens": rule})
    return model.model_copy(update={"vision": vision, "vision_inject": None})


def traffic(images=1, isl=20, model="ep-alm-opt-6.7b"):
    media = {"count": images, "width": 224, "height": 224}
    workload = {"rate": "1 req/s", "isl": isl, "osl": 10, "images": media}
    return scenario_from({"model": model, "hardware": ["h100-sxm"], "workload": workload}).traffic


def test_the_connector_is_less_than_a_thousandth_of_the_model():
    counts = LATE.parameters()
    assert counts.projector == 4_198_400 == 1024 * 4096 + 4096
    assert counts.projector / counts.language == pytest.approx(0.00063, abs=5e-6)  # paper: 0.06 %
    assert SMALL.parameters().projector == 6 * (768 * 2560 + 2560)


def test_a_prompt_of_20_tokens_is_30_4_instead_of_226():
    work = demand(LATE, traffic())
    assert float(work.prompt_tokens[0]) == 20 + 10 + 13 / 32
    concatenated = 20 + 10 + 196
    assert concatenated / float(work.prompt_tokens[0]) == pytest.approx(7.4, abs=0.05)


def test_the_cache_of_an_image_is_13_token_layers_instead_of_6272():
    """482 times less, exactly as bytes of KV."""
    image = float(media_work(LATE, traffic()).llm_tokens[0])
    assert image * LATE.layers == 13
    one = float(kv_bytes(LATE, "fp16", image, 0))
    many = float(kv_bytes(in_the_prompt(LATE, 196), "fp16", 196, 0))
    assert many / one == pytest.approx(6272 / 13) == pytest.approx(482, abs=0.5)


@pytest.mark.parametrize(
    ("model", "patches", "late_bytes", "prompt_bytes", "ratio"),
    [(LATE, 576, 49_152, 4.72e6, 96), (SMALL, 196, 30_720, 1.00e6, 32.7)],
)
def test_embeddings_that_travel(model, patches, late_bytes, prompt_bytes, ratio):
    work = media_work(model, traffic(model="ep-alm-opt-6.7b"))
    late = float(embedding_bytes(model, work.llm_tokens, 0)[0])
    early = float(embedding_bytes(in_the_prompt(model, patches), patches, 0))
    assert late == late_bytes
    assert early == pytest.approx(prompt_bytes, rel=0.005)
    assert early / late == pytest.approx(ratio, rel=0.005)


@pytest.mark.parametrize("encode", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("transfer", [0.0, 0.001])
def test_prefill_begins_before_the_image_is_encoded(encode, transfer):
    """TTFT = max(T_E + T_x, 19/32 T_P) + 13/32 T_P."""
    prefill = 0.016
    together = encode + transfer + prefill - float(beside_s(LATE, encode, transfer, prefill))
    expected = max(encode + transfer, 19 / 32 * prefill) + 13 / 32 * prefill
    assert together == pytest.approx(expected, rel=1e-12)
    assert float(beside_s(load_model("llava-1.5-7b"), encode, transfer, prefill)) == 0.0


def test_a_request_has_one_image():
    with pytest.raises(UnfitError) as caught:
        media_work(LATE, traffic(images=2))
    assert str(caught.value) == (
        "model 'eP-ALM-OPT-6.7B' takes one image or video a request "
        "(vision_inject); the workload sends 2"
    )


def test_encoding_is_not_reduced():
    """The whole tower runs: about 123 GFLOP for ViT-L at 224 px, 35 GFLOP for ViT-B."""
    for model, gflop in ((LATE, 123), (SMALL, 35)):
        load, tower = media_work(model, traffic()).vision, model.vision
        assert tower is not None
        flops = 2 * tower.matmul_parameters * load.positions
        flops = flops + 4 * tower.layers * tower.heads * tower.head_dim * load.segment_pairs
        assert float(flops[0]) / 1e9 == pytest.approx(gflop, rel=0.02)
        assert np.array_equal(load.projected, [6.0])
