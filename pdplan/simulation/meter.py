"""How busy the instances of a pool are while requests are counted."""

INF = float("inf")


class Window:
    """The time in which things are counted."""

    __slots__ = ("begin_s", "end_s")

    def __init__(self) -> None:
        self.begin_s, self.end_s = INF, INF

    @property
    def span_s(self) -> float:
        """Length so far."""
        return max(self.end_s - self.begin_s, 0.0)


class Meter:
    """Busy time of a pool's instances, and what they carried in it."""

    __slots__ = ("busy_s", "carried_s", "peak", "preemptions", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.busy_s = self.carried_s = self.peak = 0.0
        self.preemptions = 0

    def work(self, begin_s: float, end_s: float, requests: float) -> None:
        """Count work on a number of requests at once."""
        window = self.window
        begin_s = begin_s if begin_s > window.begin_s else window.begin_s
        end_s = end_s if end_s < window.end_s else window.end_s
        if end_s > begin_s:
            self.busy_s += end_s - begin_s
            self.carried_s += (end_s - begin_s) * requests
