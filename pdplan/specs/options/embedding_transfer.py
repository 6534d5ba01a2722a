"""How media embeddings go from encode to prefill."""

from typing import Literal

from pydantic import model_validator

from pdplan.specs.base import BytesPerSecond, Seconds, Share, Spec

STORE_LATENCY_S = 4.1e-3
STORE_BYTES_PER_S = 0.252e9
"""4.1 ms + 3.97 ms/MB: line through five of the six transfers of 100 to 16,206 tokens of 3,584
values that EPD-Serve measured (arXiv 2601.11590); within 15 % of those, 36 % below that of
116 MB."""


class EmbeddingTransfer(Spec):
    """How media embeddings go from encode to prefill.

    Source: hash and prefetch from a shared store, EPD-Serve, arXiv 2601.11590.
    """

    mode: Literal["direct", "store"] = "direct"
    """`direct`: from one instance to the other; `store`: prefill is told a hash and fetches the
    embeddings from a shared store."""
    latency: Seconds = STORE_LATENCY_S
    """Of one look-up in the store."""
    bandwidth: BytesPerSecond = STORE_BYTES_PER_S
    """At which the store is read."""
    scheduling: Seconds = 0.0
    """Time that prefill takes to schedule a request, during which it fetches."""
    hit_share: Share = 1.0
    """Share of the look-ups that find the embeddings."""
    recompute_on_miss: bool = True
    """Whether prefill encodes what it misses (and holds the towers), or has it sent directly."""

    @model_validator(mode="after")
    def _store_has_its_keys(self) -> "EmbeddingTransfer":
        others = sorted(self.model_fields_set - {"mode"})
        if self.mode == "direct" and others:
            message = f"{others[0]}: mode 'direct' has none; it belongs to 'store'"
            raise ValueError(message)
        if self.bandwidth == 0:
            message = "bandwidth: must be more than 0"
            raise ValueError(message)
        return self

    @property
    def recomputed_share(self) -> float:
        """Share of media requests that prefill encodes itself."""
        if self.mode == "direct" or not self.recompute_on_miss:
            return 0.0
        return 1 - self.hit_share
