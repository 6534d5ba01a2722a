"""Products and traffic of a token, counted by hand from the published architectures."""

from pathlib import Path

import pytest

import pdplan
from pdplan.specs.model import load_model
from pdplan.stages.layers import dense_products, layer_work

MODELS = sorted(p.stem for p in (Path(pdplan.__file__).parents[1] / "models").glob("*.yaml"))


def test_llama_31_8b():
    """32 layers: hidden 4096, 32 heads and 8 KV heads of 128, gated FFN of 14336."""
    work = layer_work(load_model("llama-3.1-8b"))
    whole, parts = 4096 + 4096, 4096 + 14336  # qkv, gate and up; output, down
    outputs = (4096 + 2 * 1024) + 4096 + 2 * 14336 + 4096
    assert work.products == 32 * 4
    assert (work.whole_inputs, work.inputs) == (32 * whole, 32 * parts)
    assert work.product_bytes == 32 * 2 * (whole + parts + outputs)
    assert work.whole_bytes == 32 * 2 * 8 * 4096
    assert work.sharded_bytes == 32 * (4 * (32 + 8) * 128 + 6 * 14336)


def test_deepseek_v3():
    """61 latent layers, 3 dense ones of 18432, 58 with 8 of 256 experts and a shared one of 2048.

    128 heads: 128 + 64 values for queries and keys, 128 for values; ranks 1536 and 512.
    """
    work = layer_work(load_model("deepseek-v3"))
    latent_in = 7168 + 1536 + 512 + 128 * 128
    latent_out = (1536 + 512 + 64) + 128 * 192 + 128 * (128 + 128) + 7168
    dense_in, dense_out = 7168 + 18432, 2 * 18432 + 7168
    shared_in, shared_out = 7168 + 2048, 2 * 2048 + 7168
    inputs = 61 * latent_in + 3 * dense_in + 58 * shared_in
    outputs = 61 * latent_out + 3 * dense_out + 58 * shared_out
    assert work.products == 61 * 4 + 3 * 2 + 58 * (2 + 1)  # the router is a product too
    assert work.whole_inputs + work.inputs == inputs
    assert work.product_bytes == 2 * (inputs + outputs)
    assert work.whole_bytes == 61 * 2 * 8 * 7168
    assert work.sharded_bytes == (
        61 * 4 * (128 + 128) * 192 + 3 * 6 * 18432 + 58 * 6 * (2048 + 8 * 2048)
    )


def test_qwen3_next():
    """12 full layers with an output gate, 36 gated DeltaNet layers, 48 with 10 of 512 experts.

    Full: 16 heads and 2 KV heads of 256. Linear: 16 key heads and 32 value heads of 128.
    """
    work = layer_work(load_model("qwen3-next-80b-a3b"))
    full_in, full_out = 2048 + 4096, (2 * 4096 + 2 * 512) + 2048
    linear_in = 2048 + 2048 + 4096  # q, k, v and gate; decay and step; output
    linear_out = (2 * 2048 + 2 * 4096) + 2 * 32 + 2048
    shared_in, shared_out = 2048 + 512, 2 * 512 + 2048
    inputs = 12 * full_in + 36 * linear_in + 48 * shared_in
    outputs = 12 * full_out + 36 * linear_out + 48 * shared_out
    assert work.products == 12 * 2 + 36 * 3 + 48 * (2 + 1)
    assert work.whole_inputs + work.inputs == inputs
    assert work.product_bytes == 2 * (inputs + outputs)
    assert work.whole_bytes == 48 * 2 * 8 * 2048
    convolved, gated = 4 * (2 * 2048 + 4096), 6 * 4096
    assert work.sharded_bytes == (
        12 * 4 * (16 + 2) * 256 + 36 * (convolved + gated) + 48 * 6 * (512 + 10 * 512)
    )


@pytest.mark.parametrize("name", MODELS)
def test_products_are_the_weights(name):
    """Inputs times outputs of all products are the dense weights, counted on their own."""
    model = load_model(name)
    counts = model.parameters()
    weights = sum(layers * k * n for layers, (k, n) in dense_products(model))
    dense = counts.attention + counts.dense_ffn + counts.experts_shared
    # 0.1 %: biases, norms of heads, convolutions and gates are weights, but no products.
    assert weights == pytest.approx(dense, rel=1e-3)
    assert weights <= dense
