"""Decode split into attention and FFN pools that work on micro-batches in turn."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import BytesPerSecond, Count, Seconds, Share, Spec

Counts = tuple[Count, ...]
Number = Annotated[int, Field(ge=0, le=4096, strict=True)]


class AttentionFfn(Spec):
    """Decode split into attention and FFN pools that work on micro-batches in turn.

    Belongs to placements with `A-F`. Lists are what the solver may choose from; empty is automatic.
    """

    projections: Literal["attention", "ffn"] = "attention"
    """Which side holds the weights around attention: with `ffn` the attention side holds KV only.
    With `attention` it also holds dense and shared experts of a model with routed ones."""
    attention_hardware: tuple[str, ...] = ()
    """Kinds of accelerator for the attention side; empty: any on offer."""
    ffn_hardware: tuple[str, ...] = ()
    """The same for the FFN side. Where both lists are empty, both sides are of one kind."""
    attention_gpus: tuple[Number, ...] = ()
    """Accelerators of the attention side of one bundle; 0, alone, is instances that are not split.
    """
    attention_tp: Counts = ()
    """Accelerators that share the heads of a request; groups of so many take requests each."""
    ffn_gpus: Counts = ()
    """Accelerators of the FFN side of one bundle."""
    micro_batches: Annotated[tuple[Annotated[Count, Field(le=16)], ...], Field(min_length=1)] = (
        1, 2, 3, 4,
    )  # fmt: skip
    """Parts of the batch that pass the two sides in turn."""
    copies: Annotated[Counts, Field(min_length=1)] = (1,)
    """Of the FFN side, which serve one attention side in turn; fewer than micro-batches."""
    overlap: bool = True
    """Whether micro-batches overlap; without, their times add up."""
    sent_per: Literal["expert", "rank"] = "expert"
    """A token is sent once for each of its experts, or for each FFN accelerator they lie on."""
    network: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """Achieved bandwidth of one accelerator between the sides, one way, outside a scale-up domain;
    none: the hardware's port at the engine's efficiency of exchanges."""
    message_latency: Annotated[Seconds, Field(ge=0)] | None = None
    """Of one message; two a layer and micro-batch. None: the engine's latency of exchanges."""
    hidden: Annotated[Share, Field(lt=1)] = 0.0
    """Share of the messages' time that is hidden behind the operators before them."""
    barrier: bool = True
    """Whether a step waits for the attention group with the longest contexts."""

    @model_validator(mode="after")
    def _copies_take_turns(self) -> "AttentionFfn":
        if min(self.copies) > 1 and min(self.copies) >= max(self.micro_batches):
            message = (
                f"copies: {min(self.copies)} copies of the FFN side need more than "
                f"{max(self.micro_batches)} micro-batches to be kept busy"
            )
            raise ValueError(message)
        if 0 in self.attention_gpus and self.attention_gpus != (0,):
            message = "attention_gpus: 0 (instances that are not split) stands alone"
            raise ValueError(message)
        return self
