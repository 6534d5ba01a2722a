"""How arrivals are spread over time, from one pass over them in order.

Every class takes arrival times [s] in rising order, chunk by chunk, and holds little.
"""

import math
from dataclasses import dataclass

import numpy as np

from pdplan.specs.points import Array

MOST_BARS = 1024
MOST_HOURS = 1_000_000
COARSE = 0.01


@dataclass(frozen=True, slots=True)
class Window:
    """Arrivals in consecutive intervals of a length; the last, partial one is left out."""

    length_s: float
    number: int
    """Intervals that were counted."""
    mean: float
    dispersion: float
    """Index of dispersion for counts [-]: variance over mean; 1 is Poisson."""
    third: float
    """Third factorial cumulant [-]: mu_3 - 3 var + 2 mean; 0 is Poisson."""
    most: int
    """Arrivals in the busiest."""


class WindowCounts:
    """Power sums of the counts in intervals of a length."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._sums = np.zeros(3)
        self._open = 0
        self._count = 0
        self._most = 0

    def add(self, times_s: Array) -> None:
        """Take arrivals in."""
        index, counts = np.unique((times_s / self._length_s).astype(np.int64), return_counts=True)
        if index[0] == self._open:
            counts[0] += self._count
        else:
            self._close()
        closed = counts[:-1].astype(float)
        self._sums += [closed.sum(), closed @ closed, closed @ closed**2]
        self._most = max(self._most, int(closed.max(initial=0.0)))
        self._open, self._count = int(index[-1]), int(counts[-1])

    def _close(self) -> None:
        n = float(self._count)
        self._sums += [n, n**2, n**3]
        self._most = max(self._most, self._count)

    def window(self) -> Window:
        """What was counted so far."""
        number = self._open
        if number == 0:
            return Window(self._length_s, 0, 0.0, 1.0, 0.0, 0)
        mean, square, cube = self._sums / number
        variance = square - mean**2
        third = cube - 3 * mean * square + 2 * mean**3
        return Window(
            self._length_s,
            number,
            float(mean),
            float(variance / mean) if mean > 0 else 1.0,
            float(third - 3 * variance + 2 * mean),
            self._most,
        )


class Gaps:
    """Sums of the times between arrivals."""

    def __init__(self) -> None:
        self._sums = np.zeros(3)
        self._zeros = 0
        self._least = math.inf
        self._last: float | None = None

    def add(self, times_s: Array) -> None:
        """Take arrivals in."""
        before = times_s[:1] if self._last is None else np.array([self._last])
        gaps = np.diff(np.concatenate((before, times_s)))
        gaps = gaps[1:] if self._last is None else gaps
        self._sums += [len(gaps), gaps.sum(), gaps @ gaps]
        positive = gaps[gaps > 0]
        self._zeros += len(gaps) - len(positive)
        self._least = min(self._least, float(positive.min(initial=math.inf)))
        self._last = float(times_s[-1])

    @property
    def span_s(self) -> float:
        """Time from the first arrival to the last."""
        return float(self._sums[1])

    @property
    def rate_rps(self) -> float:
        """Mean rate; 0 where all arrive at once."""
        return float(self._sums[0] / self._sums[1]) if self._sums[1] > 0 else 0.0

    @property
    def clock_step_s(self) -> float:
        """Step of the clock that arrivals were written with; 0 where it is too fine to matter.

        It matters where more than one gap in a hundred is 0, and is the least other gap.
        """
        return self._least if self._zeros > COARSE * self._sums[0] else 0.0

    @property
    def scv(self) -> float:
        """Squared coefficient of variation of the gaps; Poisson is 1."""
        if self._sums[1] <= 0:
            return 1.0
        count, total, square = self._sums
        return float(max(0.0, square * count / total**2 - 1))


class Bars:
    """Arrivals in equal intervals over the whole trace, whose length doubles as it goes on."""

    def __init__(self, most: int = MOST_BARS, length_s: float = 1.0) -> None:
        self._counts = np.zeros(most)
        self.length_s = length_s
        self._used = 0

    def add(self, times_s: Array) -> None:
        """Take arrivals in."""
        while times_s[-1] >= len(self._counts) * self.length_s:
            joined = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.concatenate((joined, np.zeros(len(joined))))
            self.length_s *= 2
        places = (times_s / self.length_s).astype(np.int64)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._used = int(places[-1]) + 1

    @property
    def counts(self) -> Array:
        """Arrivals in each interval up to the last arrival."""
        return self._counts[: self._used]


class Hours:
    """Arrivals in each hour of the clock."""

    def __init__(self, clock_s: float) -> None:
        self._clock_s = clock_s
        self._counts = np.zeros(24)

    def add(self, times_s: Array) -> None:
        """Take arrivals in; those beyond a million hours are not counted."""
        hours = ((times_s + self._clock_s) / 3600).astype(np.int64)
        hours = hours[hours < MOST_HOURS]
        if len(hours) and hours[-1] >= len(self._counts):
            room = np.zeros(max(int(hours[-1]) + 1, 2 * len(self._counts)) - len(self._counts))
            self._counts = np.concatenate((self._counts, room))
        self._counts += np.bincount(hours, minlength=len(self._counts))

    @property
    def counts(self) -> Array:
        """Arrivals in each hour from midnight of the first day on, zeros at the end."""
        return self._counts
