"""Later turns of a session whose prompts are prefilled where their history lies."""

from typing import Annotated, Literal

from pydantic import Field

from pdplan.specs.base import Count, Spec
from pdplan.specs.reuse import HitShare

Factor = Annotated[float, Field(ge=0, le=1000, strict=True)]


class Interference(Spec):
    """Measured slowdown of decode steps that carry the prompt of a later turn."""

    slowdown: Factor
    """By how much a step of `batch` requests gets longer, relative to one without a prompt."""
    tokens: Count = 1024
    """New prompt tokens that it carries."""
    batch: Count = 200
    """Requests that it decodes."""


class LocalPrefill(Spec):
    """Later turns of a session whose prompts are prefilled where their history lies.

    First turns, and turns that bring media, go through the prefill pool. Needs a workload with
    `session`; elsewhere, and where one pool prefills and decodes, it changes nothing.
    """

    share: HitShare | Literal["auto"] = "auto"
    """Share of the later turns that decode instances prefill themselves; `auto` searches it."""
    history: Literal["read", "recompute", "prefix_cache"] = "read"
    """Where the prefill pool has the history of the other later turns from: read from the decode
    instance that holds it, computed again, or found as far as it prefilled it itself."""
    bypass_tokens: Annotated[int, Field(ge=0, le=10**9, strict=True)] = 0
    """Turns with fewer new prompt tokens are always prefilled by decode instances."""
    interference: Interference | None = None
    """Measured, in the place of what the model says a prompt adds to decode steps."""
    ttft_weight: Factor = 1.0
    """Of plans at the same cost the one is taken whose shares score best: weight of a lower TTFT of
    later turns, and (`tpot_weight`) of a lower TPOT."""
    tpot_weight: Factor = 1.0
