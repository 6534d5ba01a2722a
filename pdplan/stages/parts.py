"""Which operators of a decode step run on an instance, where they are divided between two kinds."""

from dataclasses import dataclass

from pdplan.specs.model import ModelSpec


@dataclass(frozen=True, slots=True)
class Parts:
    """Operators of a layer; all of them on an instance that decodes alone."""

    attention: bool = True
    """Over the cache, which lies there."""
    projections: bool = True
    """Into and out of attention, with norms, the LM head and the host's work of a step."""
    dense: bool = True
    """Feed-forward layers that every token passes."""
    shared: bool = True
    """Experts that every token passes, and the router."""
    experts: bool = True
    """Routed experts."""

    @property
    def whole(self) -> bool:
        """Whether nothing runs elsewhere."""
        return self == WHOLE

    def dense_weights(self, model: ModelSpec) -> int:
        """Weights that every token is multiplied with, the LM head aside."""
        counts = model.parameters()
        return (
            counts.attention * self.projections
            + counts.dense_ffn * self.dense
            + counts.experts_shared * self.shared
            + counts.router * self.shared
        )

    def reductions(self, model: ModelSpec) -> tuple[int, int]:
        """Sums over tensor-parallel ranks: always, and of expert layers that one group runs."""
        routed = model.moe.layers if model.moe is not None else 0
        always = model.layers * self.projections + (model.layers - routed) * self.dense
        return always, routed * (self.shared or self.experts)


WHOLE = Parts()
CACHE = Parts(projections=False, dense=False, shared=False, experts=False)
"""Attention side that holds nothing but KV."""


def attention_parts(model: ModelSpec, *, weights: bool) -> Parts:
    """What an attention side runs: with weights, all but what routed experts (or FFNs) do.

    Of a model with routed experts its dense layers and shared experts stay beside attention, so
    that only tokens for routed experts travel.
    """
    if not weights:
        return CACHE
    return Parts(dense=model.moe is not None, experts=False)


def rest_of(parts: Parts) -> Parts:
    """What is left for the other side."""
    return Parts(*(not getattr(parts, name) for name in parts.__dataclass_fields__))
