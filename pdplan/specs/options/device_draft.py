"""Tokens drafted on users' devices and checked by the fleet."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import Bytes, BytesPerSecond, Count, Seconds, Spec

AUTO = "auto"
MOST_DRAFTED = 16
"""Drafted tokens that are tried where their number is left open: 1 to so many."""


class DeviceDraft(Spec):
    """Tokens drafted on users' devices and checked by the fleet."""

    mode: Literal["ar_cloud", "dsd", "dsd_topk", "split"] = "split"
    """What travels. `ar_cloud`: nothing is drafted, the fleet streams its tokens; `dsd`: drafts go
    up with their whole distributions; `dsd_topk`: with the likeliest entries of them; `split`: with
    one probability each, and a distribution comes down where one is rejected."""
    draft_tokens: Annotated[int, Field(gt=0, le=64, strict=True)] | Literal["auto"] = "auto"
    """Tokens drafted for each check; auto finds the number between 1 and 16."""
    acceptance: Annotated[float, Field(ge=0, lt=1, strict=True)] | None = None
    """Probability that a drafted token holds, given that those before it did."""
    accept_rate: Annotated[float, Field(ge=0, lt=1, strict=True)] | None = None
    """In its place: accepted over proposed tokens, as measured."""
    measured_draft_tokens: Annotated[int, Field(gt=0, le=64, strict=True)] | None = None
    """Drafted tokens at which that was measured; by default `draft_tokens`."""
    draft_step: Seconds = 0.0
    """Time in which a device drafts one token."""
    rtt: Seconds = 0.020
    """Round trip between a user and the fleet."""
    uplink: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """From a user; without it, no limit."""
    downlink: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """To a user; without it, no limit."""
    prob_bytes: Count = 2
    """Bytes of a probability that travels in a whole distribution or alone."""
    top_k: Count = 8
    """Entries of a distribution that go up in mode `dsd_topk`, 6 bytes each."""
    cell_uplink: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """What all users together can send; without it, no limit."""
    device_memory: Bytes | None = None
    """Memory of a device, if it is to be checked against `draft_weights`."""
    draft_weights: Bytes | None = None
    """Weights of the draft model and its cache on a device."""

    @property
    def drafts(self) -> bool:
        """Whether devices draft at all."""
        return self.mode != "ar_cloud"

    @model_validator(mode="after")
    def _is_complete(self) -> "DeviceDraft":
        if not self.drafts:
            return self
        if (self.acceptance is None) == (self.accept_rate is None):
            message = "acceptance: give either acceptance or accept_rate"
            raise ValueError(message)
        if self.draft_step <= 0:
            message = "draft_step: needs the time in which a device drafts a token, e.g. '10 ms'"
            raise ValueError(message)
        measured = self.measured_draft_tokens is not None or self.draft_tokens != AUTO
        if self.accept_rate is not None and not measured:
            message = (
                "accept_rate: needs measured_draft_tokens, the number of drafted tokens at which "
                "it was measured, where draft_tokens is auto"
            )
            raise ValueError(message)
        if (self.device_memory is None) != (self.draft_weights is None):
            message = "device_memory: needs draft_weights, and the other way round"
            raise ValueError(message)
        needed, room = self.draft_weights or 0.0, self.device_memory or 0.0
        if needed > room:
            message = (
                f"draft_weights: {needed / 1e9:.2f} GB do not fit into "
                f"{room / 1e9:.2f} GB of device_memory"
            )
            raise ValueError(message)
        return self
