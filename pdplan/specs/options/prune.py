"""Layers left out of prefill and decode, and KV that is not sent."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from pdplan.specs.base import Fraction, Share, Spec

Number = Annotated[int, Field(ge=0, le=10**6, strict=True)]
Layers = Number | tuple[Number, ...]
"""How many layers, or which (counted from 0)."""


class Prune(Spec):
    """Layers left out of prefill and decode, and KV that is not sent.

    Decode needs the KV of every layer that it keeps, so what prefill leaves out decode leaves out
    too. Source: targeted pruning for prefill-decode disaggregation, arXiv 2509.04467.
    """

    prefill_layers: Layers = 0
    """Left out of prefill: a number of layers, or their list, counted from 0."""
    decode_layers: Layers = 0
    """Left out of decode; those of prefill are among them."""
    kv_layers_trimmed: Layers = 0
    """Layers that decode keeps but whose KV is sent of the prompt's ends only."""
    first_tokens: Number = 0
    """Tokens at the beginning of the prompt whose KV is sent in trimmed layers."""
    last_tokens: Number = 0
    """The same at its end."""
    kv_share: Fraction | None = None
    """Share of the prompt's whole KV that is sent, in the place of trimmed layers."""
    accuracy_drop: Share | None = None
    """Accuracy that pruning costs, as measured by the user; it is shown, never modelled."""
    max_accuracy_drop: Share | None = None
    """Most that may be lost; a plan that loses more, or an unknown amount, is refused."""

    @model_validator(mode="after")
    def _nested(self) -> "Prune":
        for key in ("prefill_layers", "decode_layers", "kv_layers_trimmed"):
            named = getattr(self, key)
            if isinstance(named, tuple) and len(set(named)) != len(named):
                message = f"{key}: a layer is named twice"
                raise ValueError(message)
        before, after, trimmed = self.prefill_layers, self.decode_layers, self.kv_layers_trimmed
        if isinstance(before, tuple) and isinstance(after, tuple):
            alone = sorted(set(before) - set(after))
            if alone:
                message = (
                    f"prefill_layers: layer {alone[0]} is not among decode_layers; "
                    "decode would lack its KV"
                )
                raise ValueError(message)
        if how_many(before) > how_many(after):
            message = (
                f"prefill_layers: {how_many(before)} left out, but only {how_many(after)} of "
                "decode, which would lack their KV"
            )
            raise ValueError(message)
        if isinstance(after, tuple) and isinstance(trimmed, tuple):
            both = sorted(set(after) & set(trimmed))
            if both:
                message = f"kv_layers_trimmed: layer {both[0]} is left out of decode altogether"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _one_way_to_trim(self) -> "Prune":
        kept, trimmed = self.first_tokens + self.last_tokens, how_many(self.kv_layers_trimmed)
        if self.kv_share is not None and (kept or trimmed):
            message = "kv_share: takes the place of kv_layers_trimmed, first_tokens and last_tokens"
            raise ValueError(message)
        if trimmed and not kept:
            message = "kv_layers_trimmed: needs first_tokens or last_tokens; a layer with no KV of "
            message += "the prompt belongs in decode_layers"
            raise ValueError(message)
        if kept and not trimmed:
            message = "first_tokens and last_tokens need kv_layers_trimmed"
            raise ValueError(message)
        return self

    @property
    def any(self) -> bool:
        """Whether anything is left out at all."""
        sent = 1.0 if self.kv_share is None else self.kv_share
        return bool(how_many(self.decode_layers) or how_many(self.kv_layers_trimmed)) or sent < 1

    @property
    def end_tokens(self) -> int:
        """Tokens of a prompt whose KV is sent in trimmed layers."""
        return self.first_tokens + self.last_tokens

    def words(self) -> str:
        """Say what is left out, for a report.

        >>> Prune(decode_layers=4, kv_layers_trimmed=20, last_tokens=128).words()
        '4 layers of decode, KV of 20 layers but for 128 tokens; accuracy lost: not stated'
        """
        parts: list[str] = []
        for name, layers in (("prefill", self.prefill_layers), ("decode", self.decode_layers)):
            if how_many(layers):
                parts.append(f"{_layers(layers)} of {name}")
        if how_many(self.kv_layers_trimmed):
            trimmed = _layers(self.kv_layers_trimmed)
            parts.append(f"KV of {trimmed} but for {self.end_tokens} tokens")
        if self.kv_share is not None and self.kv_share < 1:
            parts.append(f"{1 - self.kv_share:.1%} of the KV on its way")
        lost = "not stated" if self.accuracy_drop is None else f"{self.accuracy_drop:.2%} (given)"
        return f"{', '.join(parts)}; accuracy lost: {lost}"


def how_many(layers: Any) -> int:  # noqa: ANN401  (a number or a list of numbers)
    """Count the layers of a set that is given by number or by list.

    >>> how_many(3), how_many((4, 5))
    (3, 2)
    """
    return len(layers) if isinstance(layers, tuple) else int(layers)


def _layers(layers: Layers) -> str:
    count = how_many(layers)
    return f"{count} layer" + ("" if count == 1 else "s")
