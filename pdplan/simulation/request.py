"""A request on its way through the fleet."""

from dataclasses import dataclass

NEVER = -1.0
"""Time of what has not happened."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What is known of a request when it arrives; requests alike share one."""

    tokens: float
    """Text and media tokens."""
    new: float
    """Those of them that prefill computes; the others are in the prefix cache."""
    request_class: int = 0
    images: int = 0
    media: bool = False
    """Whether there is something to encode."""
    host_s: float = 0.0
    """Host time to prepare the media."""
    encode_s: float = 0.0
    """Device time to encode them on one instance."""
    encode_fixed_s: float = 0.0
    """Part of it that each of several instances takes which share them."""
    pieces: int = 1
    """Pieces of media that several instances could share."""
    ride_s: float = 0.0
    """What the prompt adds to decode steps that carry its chunks."""
    layered_s: float = 0.0
    """What it adds to decode steps that carry it through groups of layers."""
    embedding_wire_s: float = 0.0
    """Time of its embeddings on the network."""
    kv_wire_s: float = 0.0
    """Time of its KV on the network."""
    cross_bytes: float = 0.0
    """Encoder positions kept for cross-attention, on one accelerator."""


class Request:
    """One request: what it asked for, where it is, and when things happened to it."""

    __slots__ = (
        "admission", "admitted_s", "arrival_s", "base_bytes", "base_context", "base_step",
        "context", "delivered_s", "encode_start_s", "encoded_s", "first_s",
        "groups", "index", "last_s", "left", "osl", "preemptions", "prefill_end_s",
        "prefill_queued_s", "prefill_start_s", "prefix", "prompt", "ready_s", "slope", "todo",
    )  # fmt: skip

    def __init__(self, index: int, arrival_s: float, prompt: Prompt, osl: int, steps: int) -> None:
        self.index, self.arrival_s, self.prompt, self.osl = index, arrival_s, prompt, osl
        self.left = steps
        """Decode steps still to run."""
        self.todo = prompt.new
        """Prompt tokens still to prefill."""
        self.prefix = prompt.tokens - prompt.new
        """Prompt tokens in the cache."""
        self.context = prompt.tokens
        """Tokens that have to be in the cache before the next decode step."""
        self.groups = 0
        self.preemptions = 0
        self.admission = 0
        self.base_bytes = self.slope = 0.0
        self.base_context, self.base_step = prompt.tokens, 0
        self.ready_s = arrival_s
        """When the host has done its part."""
        self.first_s = self.last_s = NEVER
        self.encode_start_s = self.encoded_s = NEVER
        self.prefill_queued_s = self.prefill_start_s = self.prefill_end_s = NEVER
        self.delivered_s = self.admitted_s = NEVER
