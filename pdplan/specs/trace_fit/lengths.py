"""Prompt and output lengths of a trace together: exact moments, and rows of bounded number."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.specs.points import Array

COLUMNS = ("isl", "osl", "images", "cached")
RESERVOIR = 200_000
"""Rows that are kept of a longer trace, drawn at random with a fixed seed."""
SEED = 1


class Reservoir:
    """Rows of a stream, all of them or an even draw of `most`."""

    def __init__(self, width: int, most: int = RESERVOIR) -> None:
        self._rows: NDArray[np.float64] = np.empty((0, width))
        self._most = most
        self._seen = 0
        self._random = np.random.default_rng(SEED)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Take rows in; each of those seen so far is kept with the same probability."""
        room = max(0, self._most - len(self._rows))
        self._rows = np.concatenate((self._rows, rows[:room])) if room else self._rows
        late = rows[room:]
        order = self._seen + room + np.arange(1, len(late) + 1)
        kept = self._random.random(len(late)) * order < self._most
        self._rows[self._random.integers(self._most, size=int(kept.sum()))] = late[kept]
        self._seen += len(rows)

    @property
    def rows(self) -> NDArray[np.float64]:
        """What is kept."""
        return self._rows


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean, variation and correlation of two lengths over all requests."""

    requests: int
    isl_mean: float
    isl_cv: float
    osl_mean: float
    osl_cv: float
    correlation: float
    """Pearson's, of ISL and OSL; 0 where one of them is constant."""


class RunningMoments:
    """Sums that moments are made of."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = np.zeros(5)

    def add(self, isl: Array, osl: Array) -> None:
        """Take requests in."""
        self._count += len(isl)
        self._sums += [isl.sum(), osl.sum(), isl @ isl, osl @ osl, isl @ osl]

    def moments(self) -> Moments:
        """Moments of all requests so far."""
        isl, osl, isl2, osl2, both = (self._sums / self._count).tolist()
        spread = [
            math.sqrt(max(0.0, square - mean**2)) for mean, square in ((isl, isl2), (osl, osl2))
        ]
        product = spread[0] * spread[1]
        correlation = (both - isl * osl) / product if product > 0 else 0.0
        return Moments(self._count, isl, spread[0] / isl, osl, spread[1] / osl, float(correlation))


def moments_of(isl: Array, osl: Array) -> Moments:
    """Moments of requests that are all at hand.

    >>> moments_of(np.array([1.0, 3.0]), np.array([4.0, 8.0])).correlation
    1.0
    """
    running = RunningMoments()
    running.add(isl, osl)
    return running.moments()
