"""Transfers between two pools: each end's network carries one at a time."""

from pdplan.simulation.model import LinkModel


class Link:
    """A hop from the instances of one pool to those of the next.

    A transfer of T on the wire takes its sender's network for T, first come first served, and its
    receiver's for T from when it begins to come in; a receiver that is busy keeps nobody else's
    transfers at the sender waiting (packets of several flows share a network). The faster end is
    taken for as much less. With layer-wise
    sending it may start when the first of L layers is computed, and its last layer cannot leave
    before all are: alone it ends max(T / L, T - C (L - 1) / L) after a pass of C.
    """

    __slots__ = (
        "_received", "_taken", "latency_s", "layers", "layerwise", "received_s", "receiver_share",
        "sender_share", "sent_s", "transfers", "waited_s",
    )  # fmt: skip

    def __init__(self, model: LinkModel, sources: int, targets: int) -> None:
        self.latency_s, self.layers = model.latency_s, model.layers
        self.layerwise = model.layerwise
        self.sender_share, self.receiver_share = model.sender_share, model.receiver_share
        self._taken, self._received = [0.0] * sources, [0.0] * targets
        self.sent_s, self.received_s = [0.0] * sources, [0.0] * targets
        self.waited_s, self.transfers = 0.0, 0

    def send(self, source: int, wire_s: float, started_s: float, computed_s: float) -> float:
        """When a transfer of what is computed from `started_s` to `computed_s` leaves its sender.

        >>> link = Link(LinkModel(layers=4, layerwise=True), 1, 2)
        >>> link.send(0, 2.0, 0.0, 8.0), link.send(0, 2.0, 0.0, 8.0)
        (2.0, 4.0)
        >>> Link(LinkModel(0.5, 4), 1, 1).send(0, 2.0, 0.0, 8.0)
        8.0
        """
        begin = self._ready(started_s, computed_s)
        start = max(begin, self._taken[source])
        taken_s = wire_s * self.sender_share
        self._taken[source] = start + taken_s
        self.sent_s[source] += taken_s
        return start

    def receive(
        self, target: int, wire_s: float, start_s: float, started_s: float, computed_s: float
    ) -> float:
        """When a transfer that leaves its sender at `start_s` has arrived.

        >>> link = Link(LinkModel(layers=4, layerwise=True), 1, 1)
        >>> link.receive(0, 2.0, 2.0, 0.0, 8.0), link.receive(0, 2.0, 3.0, 0.0, 3.0)
        (8.5, 6.0)
        """
        last = wire_s / self.layers if self.layerwise else wire_s
        alone = max(self._ready(started_s, computed_s) + wire_s, computed_s + last)
        taken_s = wire_s * self.receiver_share
        end = max(start_s, self._received[target]) + taken_s
        self._received[target] = end
        end = max(end, start_s + wire_s, computed_s + last)
        self.received_s[target] += taken_s
        self.waited_s += end - alone
        self.transfers += 1
        return end + self.latency_s

    def _ready(self, started_s: float, computed_s: float) -> float:
        """When there is something to send."""
        if not self.layerwise:
            return computed_s
        return started_s + (computed_s - started_s) / self.layers
