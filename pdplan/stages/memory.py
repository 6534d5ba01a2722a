"""What fills the memory of one accelerator, and how many requests fit beside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.memory import sequences_that_fit
from pdplan.physics.roofline import Floats
from pdplan.specs.model import ModelSpec
from pdplan.stages.layers import ACTIVATION_BYTES
from pdplan.stages.llm import cache_shard
from pdplan.stages.machine import Machines

CERTAINTY = 2.33
"""Standard deviations of cache use kept free: 99 % of the time nothing is preempted."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceMemory:
    """Bytes on one accelerator, each [C, 1]."""

    weights: Floats
    activations: Floats
    reserve: Floats
    limit: Floats
    cache_share: Floats

    @property
    def cache(self) -> Floats:
        """What is left for KV; negative where the weights alone do not fit."""
        left: Floats = self.limit - self.weights - self.activations - self.reserve
        return left * self.cache_share


def device_memory(
    model: ModelSpec,
    m: Machines,
    *,
    pass_tokens: ArrayLike,
    language: bool = True,
    towers: bool = False,
    draft_bytes: Floats | float = 0.0,
) -> DeviceMemory:
    """Divide the memory of one accelerator.

    pass_tokens [tokens]: the largest pass the instance runs. `language` and `towers` say which
    weights are resident: an encode instance holds the towers alone. draft_bytes [B]: weights of a
    draft model beside them.
    """
    counts = model.parameters()
    weights = np.zeros_like(m.tp)
    if language:
        weights = decoder_bytes(model, m) + draft_bytes
    if towers:
        held = counts.vision + counts.projector + counts.audio
        weights = weights + held * ACTIVATION_BYTES / m.tp
    workspace = m.activation_bytes_per_token * model.hidden * ACTIVATION_BYTES
    return DeviceMemory(
        weights=weights,
        activations=workspace * np.asarray(pass_tokens, float) / m.tp,
        reserve=m.reserve_bytes,
        limit=m.usable_bytes,
        cache_share=m.cache_share,
    )


def decoder_bytes(model: ModelSpec, m: Machines, *, tables: bool = True) -> Floats:
    """Weights of the language model on one accelerator; `tables`: embedding and LM head, [C, 1]."""
    counts = model.parameters()
    routed = counts.experts_routed
    dense = counts.language - routed - counts.embedding - counts.lm_head
    held = (counts.embedding + counts.lm_head) * ACTIVATION_BYTES * tables
    weights = (dense * m.weight_bytes + held) / (m.tp * m.pp)
    return np.asarray(weights + routed * m.moe_weight_bytes / (m.moe_ranks * m.pp))


def cache_bytes_per_sequence(
    model: ModelSpec, m: Machines, context_tokens: ArrayLike, cross_tokens: ArrayLike = 0.0
) -> Floats:
    """KV and state of one sequence on one accelerator of its group, [C, X]."""
    context = np.asarray(context_tokens, float)
    held: Floats | float = 0.0
    for group in model.attention:
        kept = np.minimum(context, float(group.window or np.inf))
        if group.kind == "linear":
            held = held + group.layers * group.state_bytes / m.tp
            continue
        values = group.cache_values_per_token or group.cross_values_per_token
        if group.kind == "cross":
            kept = np.asarray(cross_tokens, float)
        shard = cache_shard(m, group.kv_heads, group.kind == "latent")
        held = held + group.layers * values * m.kv_bytes * kept * shard
    return np.asarray(held / m.pp)


def resident_sequences(
    cache_bytes: Floats, m: Machines, mean_bytes: Floats, spread_bytes: ArrayLike
) -> Floats:
    """Requests that fit in the cache of an instance at once, [C, X] (data-parallel groups add)."""
    return np.asarray(m.dp * sequences_that_fit(cache_bytes, mean_bytes, spread_bytes, CERTAINTY))
