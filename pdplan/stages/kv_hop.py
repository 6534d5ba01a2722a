"""KV on its way from prefill to decode: groups of layers, blocks, one buffer, fetched or sent."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats
from pdplan.specs.options.kv_transfer import KvTransfer
from pdplan.stages.transfer import Link


@dataclass(frozen=True, slots=True, eq=False)
class GroupedLink(Link):
    """Several layers a message, each agreed upon before: T = M t_hs + bytes / BW."""

    handshake_s: float = 0.0
    group_layers: int | None = None
    """None where the fewest are taken that hide."""

    def pieces(self, size_bytes: ArrayLike) -> Floats:
        """Messages M = ceil(L / G), as even as can be."""
        wire = self.wire_s(size_bytes)
        if self.group_layers is not None:
            return np.asarray(np.ceil(self.layers / self.group_layers) + 0 * wire)
        return fewest_messages(self.layers, self.handshake_s, wire, self.overlap_s)

    def moving_s(self, size_bytes: ArrayLike) -> Floats:
        """Handshakes and bytes."""
        return np.asarray(self.pieces(size_bytes) * self.handshake_s + self.wire_s(size_bytes))


def fewest_messages(
    layers: int, handshake_s: float, wire_s: ArrayLike, compute_s: ArrayLike
) -> Floats:
    """Messages of a transfer in groups of layers, [X, S].

    The smallest G with t_hs + G b_l / BW <= G t_l hides all but the last group (wire_s = L b_l /
    BW, compute_s = L t_l). Where no G <= L does, M t_hs + C / M of the exposed time is least at
    M = sqrt(C / t_hs).

    Source: EPD-Serve, arXiv 2601.11590, where the group's size follows from the layer's compute
    and the handshake; the law is derived here.

    >>> float(fewest_messages(32, 1e-3, 0.032, 0.096))  # 1 + G <= 3 G from G = 1 on
    32.0
    >>> float(fewest_messages(32, 4e-3, 0.032, 0.064))  # 4 + G <= 2 G from G = 4 on
    8.0
    """
    wire, compute = np.asarray(wire_s, float), np.asarray(compute_s, float)
    spare = (compute - wire) / layers
    hides = spare * layers >= handshake_s
    least = np.ceil(handshake_s / np.where(hides, np.maximum(spare, 1e-300), 1.0) - 1e-9)
    hidden = np.ceil(layers / np.clip(least, 1, layers))
    best = layers + 0 * compute if handshake_s <= 0 else np.sqrt(compute / handshake_s)
    exposed = np.clip(np.round(best), 1, layers)
    return np.asarray(np.where(hides, hidden, exposed) + 0 * wire)


@dataclass(frozen=True, slots=True, eq=False)
class BlockLink(Link):
    """Paged KV block by block: T = n (t_ctl + block / BW); the last block is sent whole."""

    blocks: Floats | float = 0.0
    """Of each support point's prompt [S]."""
    filled: Floats | float = 1.0
    """Share of their room that it uses [S]."""
    control_s: float = 0.0

    def moving_s(self, size_bytes: ArrayLike) -> Floats:
        """Control and bytes of every block."""
        return np.asarray(self.blocks * self.control_s + self.wire_s(size_bytes) / self.filled)


@dataclass(frozen=True, slots=True, eq=False)
class ContiguousLink(Link):
    """From one buffer into another: T = t_setup + bytes / BW, and a copy at each end if asked."""

    setup_s: float = 0.0
    copy_s_per_byte: Floats | float = 0.0
    """Of both copies together."""

    def moving_s(self, size_bytes: ArrayLike) -> Floats:
        """Setup and bytes; while KV is copied the wire is free."""
        return np.asarray(self.setup_s * (np.asarray(size_bytes) > 0) + self.wire_s(size_bytes))

    def exposed_s(self, size_bytes: ArrayLike) -> Floats:
        """Transfer and copies: nothing of them overlaps."""
        copies = np.asarray(size_bytes) * self.copy_s_per_byte
        return np.asarray(Link.exposed_s(self, size_bytes) + copies)


def kv_link(
    link: Link,
    option: KvTransfer,
    *,
    prompt_tokens: Floats,
    compute_s: Floats,
    memory_bytes_per_s: tuple[Floats, Floats],
) -> Link:
    """Make a hop send as it is told.

    link: as it is by default; prompt_tokens [S]; compute_s = prefill of each prompt [X, S];
    memory_bytes_per_s = HBM bandwidth of the instances at both ends, each [X, 1].
    """
    if option.bandwidth is not None:
        given = np.full_like(link.source_bytes_per_s, option.bandwidth)
        link = replace(link, source_bytes_per_s=given, target_bytes_per_s=given)
    if option.mode == "layerwise":
        return link
    if option.mode == "grouped":
        group = None if option.group_layers == "auto" else int(option.group_layers)
        return GroupedLink(
            **_fields(replace(link, overlap_s=compute_s)),
            handshake_s=option.handshake or 0.0,
            group_layers=group,
        )
    late = _fields(replace(link, overlap_s=np.zeros_like(compute_s), layers=1))
    if option.mode == "blocks":
        blocks = np.ceil(prompt_tokens / option.block_tokens)
        filled = prompt_tokens / np.maximum(blocks * option.block_tokens, 1.0)
        return BlockLink(
            **late, blocks=blocks, filled=filled, control_s=option.block_control or 0.0
        )
    if option.mode == "contiguous":
        copying = sum(1 / bandwidth for bandwidth in memory_bytes_per_s) if option.copies else 0.0
        return ContiguousLink(**late, setup_s=option.setup, copy_s_per_byte=copying)
    return Link(**late)


def network_bytes(
    option: KvTransfer | None,
    size_bytes: Floats,
    bytes_per_s: Floats,
    prompt_tokens: Floats,
    weight: Floats,
    layers: int,
) -> Floats:
    """Bytes that would keep a network as busy as transfers do with their control [K].

    Of layers whose grouping is left open one handshake is counted, the least there is.

    size_bytes, bytes_per_s = mean of a transfer and bandwidth of an instance [K]; prompt_tokens,
    weight [S].
    """
    if option is None:
        return size_bytes
    control = 0.0
    if option.mode == "blocks":
        blocks = float(np.ceil(prompt_tokens / option.block_tokens) @ weight)
        control = blocks * (option.block_control or 0.0)
    elif option.mode == "grouped":
        fixed = option.group_layers != "auto"
        messages = np.ceil(layers / int(option.group_layers)) if fixed else 1.0
        control = float(messages) * (option.handshake or 0.0)
    slower = bytes_per_s / option.bandwidth if option.bandwidth is not None else 1.0
    return np.asarray(size_bytes * slower + control * bytes_per_s)


def hidden_share(exposed_s: ArrayLike, taken_s: ArrayLike) -> Floats:
    """Share of a transfer that delays nobody: 1 - exposed / taken.

    >>> round(float(hidden_share(0.955_24, 1.127_45)), 4)
    0.1527
    """
    return np.asarray(1 - np.asarray(exposed_s, float) / np.asarray(taken_s, float))


def buffered_bytes(
    rate_rps: float, senders: float, held_s: ArrayLike, size_bytes: ArrayLike, weight: Floats
) -> float:
    """KV of prompts that wait for decode on one sender: (rate / n) E[held time x bytes].

    Where decode fetches KV when it has room, prefill holds it until then: by Little's law this
    much on average, which must fit beside the prompt that runs.
    """
    return float((np.asarray(held_s) * np.asarray(size_bytes)) @ weight) * rate_rps / senders


def _fields(link: Link) -> dict[str, Any]:
    return {name: getattr(link, name) for name in Link.__dataclass_fields__}
