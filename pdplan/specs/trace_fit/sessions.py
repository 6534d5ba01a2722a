"""Turns of a session and the time between them."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pdplan.specs.trace_fit.lengths import Reservoir
from pdplan.specs.trace_formats import TraceRequest

OPEN = 200_000
"""Sessions that are followed at a time; the one idle for longest ends when there are more."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions of a trace, cut off at both of its ends."""

    sessions: int
    turns_mean: float
    between_mean_s: float
    """From one request of a session to its next, answer included."""
    between_median_s: float


class SessionTally:
    """Follows sessions through a trace."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, float] = OrderedDict()
        self._sessions = 0
        self._turns = 0
        self._total_s = 0.0
        self._between = Reservoir(1)

    def add(self, requests: Iterable[TraceRequest]) -> None:
        """Take requests in."""
        gaps = []
        for request in requests:
            if request.session is None:
                continue
            self._turns += 1
            before = self._last.pop(request.session, None)
            if before is None:
                self._sessions += 1
            else:
                gaps.append(request.arrival_s - before)
            self._last[request.session] = request.arrival_s
            if len(self._last) > OPEN:
                self._last.popitem(last=False)
        self._total_s += sum(gaps)
        self._between.add(np.array(gaps).reshape(-1, 1))

    def found(self) -> Sessions | None:
        """What was seen; None without sessions."""
        if not self._sessions:
            return None
        later = self._turns - self._sessions
        median = float(np.median(self._between.rows)) if later else 0.0
        mean = self._total_s / later if later else 0.0
        return Sessions(self._sessions, self._turns / self._sessions, mean, median)
