"""Media that enter the decoder late: a few states of the encoder, in its last layers only."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import Count, Spec

Number = Annotated[int, Field(ge=0, le=10**6, strict=True)]


class LateInjection(Spec):
    """Class states of an encoder's last layers, put in front of the decoder's hidden states.

    The decoder's layers before `start_layer` see no media. From there each stream of media is
    `tokens_per_layer` tokens, replaced by those of a deeper state every few layers up to
    `end_layer`, and kept to the last one. Models that take media as tokens of the prompt, or by
    cross-attention, need no such key.
    Source: eP-ALM, arXiv 2303.11403, and its released configurations.
    """

    mode: Literal["layer_cls"]
    start_layer: Number
    """First layer that sees them, counted from 0."""
    end_layer: Count
    """The first that has no state of its own any more."""
    states: Count
    """Encoder states that are sent."""
    tokens_per_layer: Count = 1
    soft_prompt_tokens: Number = 0
    """Learned tokens in front of every prompt."""

    @model_validator(mode="after")
    def _in_order(self) -> "LateInjection":
        if self.start_layer >= self.end_layer:
            message = f"start_layer: {self.start_layer} is not before end_layer {self.end_layer}"
            raise ValueError(message)
        if self.states > self.end_layer - self.start_layer:
            layers = self.end_layer - self.start_layer
            message = f"states: {self.states} cannot take turns in {layers} layers"
            raise ValueError(message)
        return self

    def late_share(self, layers: int) -> float:
        """Share of the decoder's layers that media tokens pass.

        >>> cls = LateInjection(mode="layer_cls", start_layer=19, end_layer=31, states=6)
        >>> cls.late_share(32)
        0.40625
        """
        return (layers - self.start_layer) / layers

    def early_share(self, layers: int) -> float:
        """Share of prefill that needs no media."""
        return self.start_layer / layers

    def tokens(self, layers: int) -> float:
        """What one stream of media adds to a prompt, in tokens that pass all layers.

        Its compute and its cache are those of so many: f = (L - start) / L for each.
        """
        return self.tokens_per_layer * self.late_share(layers)

    def states_per_token(self, layers: int) -> float:
        """Embeddings sent for each such token."""
        return self.states / self.tokens(layers)
