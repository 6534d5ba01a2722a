"""How KV goes from prefill to decode."""

from typing import Literal

from pydantic import model_validator

from pdplan.specs.base import BytesPerSecond, Count, Seconds, Spec

OWN_KEYS = {
    "grouped": ("group_layers", "handshake"),
    "blocks": ("block_tokens", "block_control"),
    "contiguous": ("setup", "copies"),
}
"""Keys that only one mode has."""
NEEDED = {"grouped": "handshake", "blocks": "block_control"}


class KvTransfer(Spec):
    """How KV goes from prefill to decode.

    Sources: grouped layers, EPD-Serve, arXiv 2601.11590; blocks and contiguous buffers, P/D-Serve,
    arXiv 2408.08147.
    """

    mode: Literal["layerwise", "grouped", "blocks", "contiguous", "whole"] = "layerwise"
    """`layerwise`: each layer as it is computed; `grouped`: several layers a message; `whole`,
    `blocks`, `contiguous`: after the pass, at once, block by block, or from one buffer."""
    group_layers: Count | Literal["auto"] = "auto"
    """Layers a message; `auto` takes the fewest whose sending hides behind computing as many."""
    handshake: Seconds | None = None
    """Agreement before every message."""
    block_tokens: Count = 16
    """Tokens a block of paged KV."""
    block_control: Seconds | None = None
    """Control of every block, during which nothing is sent."""
    setup: Seconds = 0.0
    """Agreement before a contiguous buffer is sent."""
    copies: bool = False
    """Whether KV is gathered into the buffer and put back into blocks, at HBM bandwidth."""
    bandwidth: BytesPerSecond | None = None
    """Achieved between two instances, in the place of their network's."""
    pull: bool = False
    """Whether decode fetches KV when it has room: prefill holds it until then."""

    @model_validator(mode="after")
    def _keys_of_its_mode(self) -> "KvTransfer":
        for mode, keys in OWN_KEYS.items():
            for key in keys:
                if key in self.model_fields_set and self.mode != mode:
                    message = f"{key}: mode '{self.mode}' has none; it belongs to '{mode}'"
                    raise ValueError(message)
        needed = NEEDED.get(self.mode)
        if needed is not None and getattr(self, needed) is None:
            message = f"mode '{self.mode}' needs {needed}"
            raise ValueError(message)
        if self.bandwidth == 0:
            message = "bandwidth: must be more than 0"
            raise ValueError(message)
        return self
