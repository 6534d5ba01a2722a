"""How many weights a stated architecture has, component by component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdplan.specs.model import AttentionLayers, ModelSpec


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Weights of a model by component; multi-token-prediction layers are not in any of them."""

    embedding: int
    """Input embedding and learned positions."""
    lm_head: int
    """0 where tied to the embedding."""
    attention: int
    dense_ffn: int
    experts_routed: int
    """All of them, active or not."""
    experts_shared: int
    router: int
    norms: int
    vision: int
    projector: int
    """Of vision and audio."""
    audio: int
    other: int
    per_expert: int
    """Weights of one routed expert of one layer."""
    experts_active: int
    """Weights of the routed experts that one token passes, all layers."""
    head_matmul: int
    """Weights of the output matrix, stored on its own or tied."""
    outer_norms: int
    """The part of `norms` that lies outside the layers."""

    @property
    def language(self) -> int:
        """The decoder, without encoders, projectors and other."""
        return self.embedding + self.lm_head + self.norms + self._layers + self.experts_routed

    @property
    def total(self) -> int:
        """Everything that is loaded."""
        return self.language + self.vision + self.projector + self.audio + self.other

    @property
    def active_per_token(self) -> int:
        """The decoder with only the routed experts that a token passes."""
        return self.language - self.experts_routed + self.experts_active

    @property
    def flop_params_per_token(self) -> int:
        """Weights that one token is multiplied with, at two FLOPs each.

        No input embedding, which is looked up; the output matrix even where it is tied (it runs
        for sampled positions only). The layers' norms and biases, under 0.02 %, are counted.
        """
        layers = self._layers + self.experts_active + self.norms - self.outer_norms
        return layers + self.head_matmul

    @property
    def _layers(self) -> int:
        return self.attention + self.dense_ffn + self.experts_shared + self.router


def count(model: ModelSpec) -> ParameterCounts:
    """Count the weights of a model."""
    hidden, ffn, moe = model.hidden, model.ffn, model.moe
    norm = hidden * (2 if model.norm == "layer" else 1)
    outer_norms = norm * (2 if model.embedding_norm else 1)
    rows = (model.embedding_rows or model.vocab) + model.learned_positions
    head = model.vocab * hidden
    dense = routed = active = shared = router = expert = 0
    if ffn is not None:
        dense = ffn.layers * feed_forward(hidden, ffn.width, gated=ffn.gated, bias=ffn.bias)
    if moe is not None:
        expert = feed_forward(hidden, moe.expert_width, gated=moe.gated, bias=moe.bias)
        routed, active = (moe.layers * n * expert for n in (moe.experts, moe.topk))
        if moe.shared_width:
            shared = feed_forward(hidden, moe.shared_width, gated=moe.gated, bias=False)
            shared = moe.layers * (shared + hidden * moe.shared_gate)
        router = moe.layers * moe.experts * (hidden + moe.router_bias)
    encoders = [encoder for encoder in (model.vision, model.audio) if encoder is not None]
    return ParameterCounts(
        embedding=rows * hidden,
        lm_head=0 if model.tied_embeddings else head,
        attention=sum(group.layers * attention(hidden, group) for group in model.attention),
        dense_ffn=dense,
        experts_routed=routed,
        experts_shared=shared,
        router=router,
        norms=model.layers * model.norms_per_layer * norm + outer_norms,
        vision=model.vision.tower_parameters if model.vision is not None else 0,
        projector=sum(encoder.projector_parameters for encoder in encoders),
        audio=model.audio.tower_parameters if model.audio is not None else 0,
        other=model.other_parameters,
        per_expert=expert,
        experts_active=active,
        head_matmul=head,
        outer_norms=outer_norms,
    )


def feed_forward(hidden: int, width: int, *, gated: bool, bias: bool) -> int:
    """Weights of one feed-forward block.

    >>> feed_forward(4096, 14336, gated=True, bias=False)
    176160768
    """
    into = 2 if gated else 1
    return (into + 1) * hidden * width + (into * width + hidden) * bias


def attention(hidden: int, group: AttentionLayers) -> int:
    """Weights of one attention layer: projections, biases and what else it learns."""
    if group.kind == "latent":
        return _latent(hidden, group)
    if group.kind == "linear":
        return _linear(hidden, group)
    queries, values = group.heads * group.qk_dim, group.heads * group.v_dim
    keys = group.kv_heads * group.qk_dim
    into = queries * (2 if group.output_gate else 1) + keys + group.kv_heads * group.v_dim
    norm = {"none": 0, "head": 2 * group.qk_dim, "width": queries + keys}[group.qk_norm]
    gates = 2 if group.kind == "cross" else 0  # of the attention and of its feed-forward block
    return (
        into * (hidden + group.qkv_bias)
        + (values + group.output_bias) * hidden
        + norm
        + gates
        + group.heads * group.sinks
    )


def _latent(hidden: int, group: AttentionLayers) -> int:
    """MLA: low-rank queries (if any), one shared latent for keys and values, their expansion."""
    rank, rope = group.kv_lora_rank or 0, group.qk_rope_dim or 0
    queries, q_rank = group.heads * group.qk_dim, group.q_lora_rank
    query = hidden * queries if q_rank is None else q_rank * (hidden + 1 + queries)
    expansion = rank * group.heads * ((group.qk_nope_dim or 0) + group.v_dim)
    return query + hidden * (rank + rope) + rank + expansion + group.heads * group.v_dim * hidden


def _linear(hidden: int, group: AttentionLayers) -> int:
    """Gated DeltaNet: q, k, v, gate; decay and step per head; convolution; norm; output."""
    keys, values = group.kv_heads * group.qk_dim, group.heads * group.v_dim
    mixed = 2 * keys + values
    per_head = group.heads * (2 * hidden + 2)
    convolution = mixed * (group.conv_kernel or 0)
    return hidden * (mixed + 2 * values) + per_head + convolution + group.v_dim
