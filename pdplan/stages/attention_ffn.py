"""A decode step in two halves: attention on one side, FFN on the other, micro-batches in turn."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.micro_batches import barrier_s, pipelined_step_s, serial_step_s
from pdplan.physics.roofline import Floats
from pdplan.specs.model import AttentionLayers, ModelSpec
from pdplan.specs.options.attention_ffn import AttentionFfn
from pdplan.stages.bundle import Bundles
from pdplan.stages.layers import ACTIVATION_BYTES
from pdplan.stages.llm import decode_pass
from pdplan.stages.machine import Machines
from pdplan.stages.memory import DeviceMemory
from pdplan.stages.parts import Parts, attention_parts, rest_of


@dataclass(frozen=True, slots=True, eq=False)
class HalvedStep:
    """A step and its stages, [C, X]; those of one micro-batch, over all layers."""

    total_s: Floats
    attention_s: Floats
    to_ffn_s: Floats
    ffn_s: Floats
    to_attention_s: Floats
    host_s: Floats
    """Of the whole batch, outside the pipeline."""
    micro_batches: Floats
    """No more than requests."""
    roof_s: Floats
    """What the datasheet allows: the busier side at full rates, weights read once a micro-batch."""

    def after(self, drafted: "HalvedStep", times: int) -> "HalvedStep":
        """The same after steps of a draft model."""
        changed = {
            name: getattr(self, name) + times * getattr(drafted, name)
            for name in self.__dataclass_fields__
            if name != "micro_batches"
        }
        return replace(self, **changed)

    @property
    def stages_s(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Stages in the order a layer passes them."""
        return self.attention_s, self.to_ffn_s, self.ffn_s, self.to_attention_s


def sides(model: ModelSpec, options: AttentionFfn) -> tuple[Parts, Parts]:
    """Operators of the attention side and of the FFN side."""
    own = attention_parts(model, weights=options.projections == "attention")
    return own, rest_of(own)


def message_layers(model: ModelSpec, options: AttentionFfn) -> int:
    """Layers after which the sides exchange messages, one each way."""
    routed_only = options.projections == "attention" and model.moe is not None
    return model.moe.layers if routed_only and model.moe is not None else model.layers


def token_bytes(model: ModelSpec, b: Bundles, options: AttentionFfn) -> tuple[Floats, Floats]:
    """Bytes that a token sends to the FFN side and gets back, all layers [C, 1].

    With attention weights on the attention side: k h b to k experts and 2 k h back, or as many
    copies as FFN accelerators that hold them, n (1 - (1 - 1 / n)^k) on average; without experts
    2 h each way. With attention weights on the FFN side: attention's output one way, queries and
    new keys and values the other, (2 + 2 / G) e h a layer together for G query heads a KV head;
    queries and outputs of MLA in its latent space.
    Source: arXiv 2605.28302, arXiv 2405.01814.
    """
    one = np.ones_like(b.ranks)
    layers = message_layers(model, options)
    if options.projections == "ffn":
        back = sum(g.layers * _answers(g) for g in model.attention)
        asked = sum(g.layers * _questions(g) for g in model.attention)
        return ACTIVATION_BYTES * back * one, ACTIVATION_BYTES * asked * one
    if model.moe is None:
        both = layers * model.hidden * ACTIVATION_BYTES * one
        return both, both
    copies = model.moe.topk * one
    if options.sent_per == "rank":
        copies = b.ffn.ep * (1 - (1 - 1 / b.ffn.ep) ** model.moe.topk)
    values = layers * model.hidden * copies * b.ffn.moe_tp
    return values * b.sent_bytes, values * ACTIVATION_BYTES


def _questions(group: AttentionLayers) -> int:
    """Values of a token that one layer's attention needs: queries and what it adds to the cache."""
    if group.kind == "latent":
        return (group.heads + 1) * group.cache_values_per_token
    if group.kind == "linear":
        return 2 * group.kv_heads * group.qk_dim + group.heads * (group.v_dim + 2)
    return group.heads * group.qk_dim + group.cache_values_per_token


def _answers(group: AttentionLayers) -> int:
    """Values of a token that one layer's attention gives."""
    return group.heads * (group.kv_lora_rank or group.v_dim)


def halved_step(
    model: ModelSpec,
    b: Bundles,
    options: AttentionFfn,
    *,
    sequences: ArrayLike,
    context_tokens: ArrayLike,
    cross_tokens: ArrayLike = 0.0,
    context_spread: float = 0.0,
    positions: float = 1.0,
) -> HalvedStep:
    """One decode step of `sequences` running requests, [C, X].

    Each side takes what `decode_pass` says of its operators for one micro-batch, so that small
    micro-batches read all weights again; messages take a latency a layer and their bytes over the
    bandwidth between the sides; stages overlap by `pipelined_step_s` with one resource for each
    side and each way. Host work of a step comes once. context_spread [tokens], standard deviation
    of a request's context: attention groups wait for the one with most (`barrier_s`).

    Never faster than either side's roofline. With one micro-batch and free messages it is the sum
    of both sides; that is `decode_pass` on like accelerators but for products that are joined with
    memory time side by side (below 1 %).
    """
    batch = np.asarray(sequences, float)
    micro = np.minimum(b.micro_batches, np.maximum(batch, 1.0))
    each = batch / micro
    quiet = b.quiet()
    own, other = sides(model, options)

    def attend(context: ArrayLike) -> tuple[Floats, Floats]:
        done = decode_pass(
            model,
            quiet.attention,
            sequences=each,
            context_tokens=context,
            cross_tokens=cross_tokens,
            positions=positions,
            parts=own,
        )
        return done.total_s, done.roof_s

    context = np.asarray(context_tokens, float)
    attention, attention_roof = attend(context)
    if options.barrier and context_spread > 0 and (b.attention.dp > 1).any():
        groups = np.minimum(b.attention.dp, np.maximum(each, 1.0))
        longer, _ = attend(context + context_spread / np.sqrt(np.maximum(each / groups, 1.0)))
        attention = barrier_s(attention, longer, b.attention.dp)
    ffn = decode_pass(
        model, quiet.ffn, sequences=each, context_tokens=0.0, positions=positions, parts=other
    )
    there, back = token_bytes(model, b, options)
    latency = message_layers(model, options) * b.latency_s
    kept = 1 - options.hidden

    def sent(size: Floats) -> Floats:
        return np.asarray(kept * (latency + each * positions * size / b.bytes_per_s))

    stages = (attention, sent(there), ffn.total_s, sent(back))
    copies = (1.0, 1.0, b.copies, 1.0)
    if options.overlap:
        total = pipelined_step_s(stages, micro, model.layers, copies)
    else:
        total = serial_step_s(stages, micro)
    m = b.attention if own.projections else b.ffn
    host = m.step_s + batch * m.sequence_s
    roof = micro * np.maximum(attention_roof, ffn.roof_s / b.copies)
    parts = (*stages, host + 0 * total, micro + 0 * total, roof)
    return HalvedStep(total + host, *parts)


def side_bytes(model: ModelSpec, m: Machines, parts: Parts, *, tables: bool = True) -> Floats:
    """Weights of some operators on one accelerator [C, 1]; `tables`: embedding and LM head.

    Norms, embedding and LM head lie with the projections.
    """
    counts = model.parameters()
    held = parts.dense_weights(model) + counts.norms * parts.projections
    outer = (counts.embedding + counts.lm_head) * ACTIVATION_BYTES * (tables and parts.projections)
    routed = counts.experts_routed * parts.experts
    dense = (held * m.weight_bytes + outer) / (m.tp * m.pp)
    return np.asarray(dense + routed * m.moe_weight_bytes / (m.moe_ranks * m.pp))


def side_memory(
    model: ModelSpec, m: Machines, weights: Floats, pass_tokens: ArrayLike
) -> DeviceMemory:
    """Divide the memory of one accelerator of a side that holds some weights.

    pass_tokens [tokens]: the largest micro-batch that it works on, or its share of one.
    """
    workspace = m.activation_bytes_per_token * model.hidden * ACTIVATION_BYTES
    return DeviceMemory(
        weights=weights,
        activations=workspace * np.asarray(pass_tokens, float) / m.tp,
        reserve=m.reserve_bytes,
        limit=m.usable_bytes,
        cache_share=m.cache_share,
    )
