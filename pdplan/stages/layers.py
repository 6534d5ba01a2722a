"""What a token moves through the layers of a model, beside the weights."""

from dataclasses import dataclass
from functools import cache

from pdplan.specs.model import AttentionLayers, ModelSpec
from pdplan.stages.parts import WHOLE, Parts

ACTIVATION_BYTES = 2
"""Hidden states travel in 16 bits."""
NORM_BYTES = 8
"""A fused norm reads and writes the hidden state and its residual, 16 bits each."""
Product = tuple[int, int]
"""Inputs and outputs of a matrix product."""
BESIDE = 8
"""Kernels of a layer that are no products: two norms, rotation, cache write, attention,
activation, two reductions (vLLM 0.10 and TensorRT-LLM 1.0 traces show 7 to 10)."""
ROUTED = 8
"""Kernels of a layer's experts: choice, sort, two grouped products, activation, two permutations,
sum."""


@dataclass(frozen=True, slots=True)
class LayerWork:
    """Sums over all layers, per token."""

    products: float
    """Dense products."""
    kernels: float
    """Kernels that an eager pass launches: products and what goes with them."""
    whole_inputs: float
    """Values that enter dense products on every tensor-parallel rank: hidden states and ranks."""
    inputs: float
    """Values that enter those that lead back to the hidden state, divided by the ranks."""
    product_bytes: float
    """What dense products read and write of a token, to be divided as well."""
    whole_bytes: float
    """Traffic of norms: every rank has the whole hidden state."""
    sharded_bytes: float
    """Traffic of rotation and activation, divided by the tensor-parallel ranks."""


@cache
def layer_work(model: ModelSpec, parts: Parts = WHOLE) -> LayerWork:
    """Count products and traffic of a token; of some operators where they are divided.

    Norm 8 h (residual fused), rotation 4 (q + kv) d, gated activation 6 f, plain 4 f bytes; a
    product reads its inputs and writes its outputs. The router's values are left out.
    Source: bytes of `physics.products.elementwise_s`.
    """
    routed = model.moe.layers if model.moe is not None else 0
    routers = routed * parts.shared
    products = dense_products(model, parts)
    whole = sum(layers * k for layers, (k, n) in products if n != model.hidden)
    inputs = sum(layers * k for layers, (k, _) in products) - whole
    outputs = sum(layers * n for layers, (_, n) in products)
    moved = 0
    if parts.projections:
        moved = sum(group.layers * _mixed_bytes(group) for group in model.attention)
    if model.ffn is not None and parts.dense:
        moved += model.ffn.layers * model.ffn.width * (6 if model.ffn.gated else 4)
    if model.moe is not None:
        width = model.moe.shared_width * parts.shared
        width += model.moe.topk * model.moe.expert_width * parts.experts
        moved += model.moe.layers * width * (6 if model.moe.gated else 4)
    count = routers + sum(layers for layers, _ in products)
    return LayerWork(
        products=count,
        kernels=count + _beside(model, parts) + ROUTED * routed * parts.experts,
        whole_inputs=whole,
        inputs=inputs,
        product_bytes=ACTIVATION_BYTES * (whole + inputs + outputs),
        whole_bytes=model.layers
        * model.norms_per_layer
        * NORM_BYTES
        * model.hidden
        * parts.projections,
        sharded_bytes=moved,
    )


def _beside(model: ModelSpec, parts: Parts) -> int:
    """Kernels that are no products: attention 2, its norms, rotation and reduction 4, FFN 2."""
    fed = parts.dense * (model.ffn.layers if model.ffn is not None else 0)
    fed += parts.experts * (model.moe.layers if model.moe is not None else 0)
    around = 2 * parts.attention + (BESIDE - 4) * parts.projections
    return around * model.layers + 2 * fed


def dense_products(model: ModelSpec, parts: Parts = WHOLE) -> list[tuple[int, Product]]:
    """Layers and shape of every dense product but the router's: attention, FFN, shared experts."""
    found = [
        (group.layers, product)
        for group in model.attention
        if parts.projections
        for product in _projections(model.hidden, group)
    ]
    if model.ffn is not None and parts.dense:
        found += _feed_forward(model.ffn.layers, model.hidden, model.ffn.width, model.ffn.gated)
    if model.moe is not None and model.moe.shared_width and parts.shared:
        moe = model.moe
        found += _feed_forward(moe.layers, model.hidden, moe.shared_width, moe.gated)
    return found


def _feed_forward(layers: int, hidden: int, width: int, gated: bool) -> list[tuple[int, Product]]:
    return [(layers, (hidden, width * (2 if gated else 1))), (layers, (width, hidden))]


def _projections(hidden: int, group: AttentionLayers) -> list[Product]:
    """Products of one attention layer, as engines fuse them."""
    queries, values = group.heads * group.qk_dim, group.heads * group.v_dim
    out = (values, hidden)
    if group.kind == "linear":
        keys = group.kv_heads * group.qk_dim
        return [(hidden, 2 * keys + 2 * values), (hidden, 2 * group.heads), out]
    if group.kind != "latent":
        asked = queries * (2 if group.output_gate else 1)
        return [(hidden, asked + group.kv_heads * (group.qk_dim + group.v_dim)), out]
    rank, rope, low = group.kv_lora_rank or 0, group.qk_rope_dim or 0, group.q_lora_rank
    expansion = (rank, group.heads * ((group.qk_nope_dim or 0) + group.v_dim))
    if low is None:
        return [(hidden, queries), (hidden, rank + rope), expansion, out]
    return [(hidden, low + rank + rope), (low, queries), expansion, out]


def _mixed_bytes(group: AttentionLayers) -> int:
    """Rotation of queries and keys; convolution and gated norm of a linear layer."""
    if group.kind == "linear":
        values = group.heads * group.v_dim
        return 4 * (2 * group.kv_heads * group.qk_dim + values) + 6 * values
    return 4 * (group.heads + group.kv_heads) * group.qk_dim
