"""Answers that the fleet begins and users' devices finish."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import Bytes, BytesPerSecond, Count, Fraction, Seconds, Share, Spec

Rate = Annotated[float, Field(gt=0)]


class Handoff(Spec):
    """Answers that the fleet begins and users' devices finish.

    The fleet prefills and sends the first tokens; the device prefills the same prompt meanwhile,
    and the tokens it is shown, and goes on by itself. No cache travels.
    """

    device_prefill: Rate
    """Prompt tokens that a device prefills in a second."""
    device_decode: Annotated[Seconds, Field(gt=0)]
    """Time in which a device decodes a token."""
    tokens: Count | Literal["auto"] = "auto"
    """Tokens that the fleet sends; auto is as few as let nobody wait, by prompt."""
    pace: Seconds = 0.050
    """Time between tokens at which they are shown."""
    rtt: Seconds = 0.050
    """Round trip between a user and the fleet."""
    uplink: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """From a user; without it, no limit. The prompt goes up as token ids of 4 bytes."""
    cloud_ttft: Seconds | None = None
    """What the fleet's first token takes at least, as the user sees it: what auto counts on.
    By default what the network takes."""
    refinement: Fraction | Literal["auto"] = 1.0
    """Share of the prompt that the device prefills; below 1 the fleet says which after its own
    prefill. Auto is 1 or `quality_floor`, whichever lets the fleet send fewer tokens."""
    quality_floor: Fraction | None = None
    """Least share of the prompt that keeps the quality of answers."""
    refine: Seconds = 0.0
    """Time that choosing the share adds before the device can start."""
    capable: Share = 1.0
    """Share of requests whose devices can take part."""
    device_memory: Bytes | None = None
    """Memory of a device, if it is to be checked."""
    device_weights: Bytes | None = None
    """What the model and its cache take there; by default the weights of the model served, in
    its checkpoint's format."""

    @model_validator(mode="after")
    def _is_sound(self) -> "Handoff":
        if self.refinement == "auto" and self.quality_floor is None:
            message = "refinement: auto needs quality_floor, the least share that may be kept"
            raise ValueError(message)
        floor = self.quality_floor or 0.0
        if self.refinement != "auto" and self.refinement < floor:
            message = f"refinement: {self.refinement:g} is below the quality_floor of {floor:g}"
            raise ValueError(message)
        return self
