"""What moves between pools: embeddings from encode to prefill, KV from prefill to decode."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats
from pdplan.specs.dtypes import DTYPE_BYTES
from pdplan.specs.model import ModelSpec
from pdplan.stages.layers import ACTIVATION_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A hop between two pools; ends as arrays [X] over choices of columns."""

    source_bytes_per_s: Floats
    target_bytes_per_s: Floats
    latency_s: Floats
    overlap_s: Floats
    """Time of the stage before it during which it can already send."""
    layers: int
    """Pieces that it is sent in; the last one cannot overlap."""

    def exposed_s(self, size_bytes: ArrayLike) -> Floats:
        """Part of a transfer that delays the request.

        alpha + max(T / L, T - C (L - 1) / L): T on the wire, C of compute before it, L layers;
        with nothing to overlap it is alpha + T.
        Source: layer-wise sending as in Splitwise (Patel et al., ISCA 2024, section IV-C).
        """
        wire, pieces = self.moving_s(size_bytes), self.pieces(size_bytes)
        last = wire / pieces
        left = wire - self.overlap_s * (pieces - 1) / pieces
        return self.latency_s + np.maximum(last, left)

    def slack_s(self, size_bytes: ArrayLike) -> Floats:
        """Wait for the wire that delays no request: (C - T) (L - 1) / L, with the terms above."""
        spare = np.maximum(self.overlap_s - self.moving_s(size_bytes), 0.0)
        pieces = self.pieces(size_bytes)
        return np.asarray(spare * (pieces - 1) / pieces)

    def pieces(self, size_bytes: ArrayLike) -> Floats | int:
        """Messages that a transfer is sent in."""
        return self.layers

    @property
    def sender_share(self) -> Floats:
        """Share of the sender's network that one transfer takes: less than all of a faster end."""
        return np.asarray(np.minimum(self.target_bytes_per_s / self.source_bytes_per_s, 1.0))

    @property
    def receiver_share(self) -> Floats:
        """The same of the receiver's."""
        return np.asarray(np.minimum(self.source_bytes_per_s / self.target_bytes_per_s, 1.0))

    def moving_s(self, size_bytes: ArrayLike) -> Floats:
        """Time that a transfer takes, waits left out."""
        return self.wire_s(size_bytes)

    def occupied_s(self, size_bytes: ArrayLike) -> Floats:
        """Time for which it keeps others from the wire."""
        return self.moving_s(size_bytes)

    def wire_s(self, size_bytes: ArrayLike) -> Floats:
        """Time the bytes are on the wire, at the slower end."""
        slower = np.minimum(self.source_bytes_per_s, self.target_bytes_per_s)
        return np.asarray(size_bytes / np.maximum(slower, 1e-9))


def kv_bytes(
    model: ModelSpec, kv_dtype: str, prompt_tokens: ArrayLike, cross_tokens: ArrayLike
) -> Floats:
    """Cache of one prompt as sent over the network, once per distinct value [S]."""
    prompt = np.asarray(prompt_tokens, float)
    size: Floats | float = 0.0
    for group in model.attention:
        kept = np.minimum(prompt, float(group.window or np.inf))
        if group.kind == "cross":
            kept = np.asarray(cross_tokens, float)
        values = group.cache_values_per_token or group.cross_values_per_token
        size = size + group.layers * (values * kept * DTYPE_BYTES[kv_dtype] + group.state_bytes)
    return np.asarray(size)


def cache_copies(model: ModelSpec, tp: ArrayLike) -> Floats:
    """Times that a cache is sent: KV heads are replicated when TP exceeds their number.

    Source: Mooncake's vLLM connector sends every rank's heads (vllm-v1-pd-performance).
    """
    heads = [group.kv_heads for group in model.attention if group.kind in ("full", "window")]
    return np.maximum(np.asarray(tp, float) / min(heads, default=np.inf), 1.0)


def embedding_bytes(model: ModelSpec, media_tokens: ArrayLike, cross_tokens: ArrayLike) -> Floats:
    """Media embeddings of one request in 16 bits [S]; late ones one for each state."""
    encoder = model.vision or model.audio
    width = encoder.embedding_width if encoder is not None else model.hidden
    sent = np.asarray(media_tokens, float) + np.asarray(cross_tokens, float)
    if model.vision_inject is not None:
        sent = sent * model.vision_inject.states_per_token(model.layers)
    return np.asarray(ACTIVATION_BYTES * width * sent)
