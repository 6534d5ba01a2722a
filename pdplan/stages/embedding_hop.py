"""Media embeddings fetched from a shared store instead of sent from encode to prefill."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats
from pdplan.specs.options.embedding_transfer import EmbeddingTransfer
from pdplan.stages.transfer import Link


@dataclass(frozen=True, slots=True, eq=False)
class StoreLink(Link):
    """A fetch from a store, T = latency + bytes / BW, begun when prefill is told of the request.

    On a hit max(0, T - T_sched) of it is exposed. On a miss the look-up is, and then either
    prefill encodes by itself (that time is its own) or embeddings are sent directly. Of hits and
    misses the mean is taken for every request. The network carries the bytes all the same.
    """

    store_latency_s: float = 0.0
    store_bytes_per_s: float = np.inf
    scheduling_s: float = 0.0
    hit_share: float = 1.0
    recomputes: bool = True
    network_latency_s: Floats | float = 0.0
    """Of a transfer past the store."""

    def moving_s(self, size_bytes: ArrayLike) -> Floats:
        """A fetch that hits."""
        fetch = store_s(size_bytes, self.store_latency_s, self.store_bytes_per_s)
        return np.asarray(fetch + self.latency_s)

    def occupied_s(self, size_bytes: ArrayLike) -> Floats:
        """Time of its bytes on the instances' own network."""
        return self.wire_s(size_bytes)

    def exposed_s(self, size_bytes: ArrayLike) -> Floats:
        """Mean delay of a request."""
        hit = np.maximum(self.moving_s(size_bytes) - self.scheduling_s, 0.0)
        if self.hit_share >= 1:
            return hit
        miss = max(self.store_latency_s - self.scheduling_s, 0.0)
        direct = self.network_latency_s + self.wire_s(size_bytes)
        sent = 0.0 if self.recomputes else direct
        return np.asarray(self.hit_share * hit + (1 - self.hit_share) * (miss + sent))

    def slack_s(self, size_bytes: ArrayLike) -> Floats:
        """Wait for the wire that delays no request: what scheduling has left."""
        return np.maximum(self.scheduling_s - self.moving_s(size_bytes), 0.0)


def store_s(size_bytes: ArrayLike, latency_s: float, bytes_per_s: float) -> Floats:
    """Time of a fetch from a store: latency + bytes / bandwidth.

    Measured for 100 to 2,691 tokens of 3,584 values: within 15 % with 4.1 ms and 0.252 GB/s; at
    116 MB 36 % less than measured (EPD-Serve, arXiv 2601.11590).

    >>> round(float(store_s(1196 * 3584 * 2, 4.1e-3, 0.252e9)), 4)
    0.0381
    """
    return np.asarray(latency_s + np.asarray(size_bytes, float) / bytes_per_s)


def overlap_share(scheduling_s: ArrayLike, transfer_s: ArrayLike) -> Floats:
    """Share of a fetch that scheduling hides: min(1, T_sched / T).

    >>> round(float(overlap_share(0.728109, 0.729724)), 4)
    0.9978
    """
    share = np.asarray(scheduling_s, float) / np.asarray(transfer_s, float)
    return np.asarray(np.minimum(share, 1.0))


def embedding_link(link: Link, option: EmbeddingTransfer) -> Link:
    """Make a hop fetch from a store, if it is told to."""
    if option.mode == "direct":
        return link
    return StoreLink(
        link.source_bytes_per_s,
        link.target_bytes_per_s,
        np.zeros_like(link.latency_s),  # the store's takes its place
        link.overlap_s,
        link.layers,
        store_latency_s=option.latency,
        store_bytes_per_s=option.bandwidth,
        scheduling_s=option.scheduling,
        hit_share=option.hit_share,
        recomputes=option.recompute_on_miss,
        network_latency_s=link.latency_s,
    )


def missed_share(option: EmbeddingTransfer | None, stages: str) -> float:
    """Share of media requests that a pool encodes though another one is there to do it.

    >>> missed_share(EmbeddingTransfer(mode="store", hit_share=0.75), "PD")
    0.25
    >>> missed_share(EmbeddingTransfer(mode="store", hit_share=0.75), "EP")
    0.0
    """
    if option is None or "P" not in stages or "E" in stages:
        return 0.0
    return option.recomputed_share
