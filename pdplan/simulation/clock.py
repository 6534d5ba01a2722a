"""The simulated time and what is going to happen."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Handler = Callable[[float, Any], None]


class Clock:
    """Events in the order of their time; those of the same time in the order they were planned."""

    __slots__ = ("events", "now", "planned", "stopped")

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.planned: list[tuple[float, int, Handler, Any]] = []
        self.stopped = False

    def at(self, time_s: float, handler: Handler, what: Any) -> None:  # noqa: ANN401
        """Plan a call of `handler(time_s, what)`."""
        self.events += 1
        heappush(self.planned, (time_s, self.events, handler, what))

    def run(self) -> None:
        """Let everything happen, until nothing is planned or somebody stops the clock."""
        planned = self.planned
        while planned and not self.stopped:
            self.now, _, handler, what = heappop(planned)
            handler(self.now, what)
