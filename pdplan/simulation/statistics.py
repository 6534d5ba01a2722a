"""Estimates from one run: requests follow each other, so that their latencies are correlated.

A run is cut into batches in the order that requests finish, long enough that what one shows tells
little of the next; the spread between batches gives the interval (batch means, and batch
quantiles, after Law, Simulation Modeling and Analysis, 5th ed., section 9.5.3).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pdplan.simulation.gaps import Gaps, joined, quantiles_s
from pdplan.simulation.result import Estimate, Latency

Floats = NDArray[np.float64]
LEVELS = (0.5, 0.9, 0.95, 0.99)
MOST_BATCHES, FEWEST_BATCHES = 32, 8
CORRELATED = 0.25
"""Correlation of neighbouring batch means from which batches are taken longer."""
CONFIDENCE = 0.95


def batches(values: Floats) -> list[Floats]:
    """Cut a series into equal batches, as many as are about independent; [] for short series.

    >>> len(batches(np.tile([1.0, 2.0], 320))), len(batches(np.arange(640.0)))
    (32, 8)
    """
    count = MOST_BATCHES
    while count > FEWEST_BATCHES:
        size = len(values) // count
        means = values[: size * count].reshape(count, -1).mean(1) if size else np.zeros(count)
        if size >= 2 and _neighbours(means) < CORRELATED:
            break
        count //= 2
    size = len(values) // count
    if size < 2:
        return []
    return list(values[len(values) - size * count :].reshape(count, size))


def _neighbours(means: Floats) -> float:
    """Correlation of neighbours."""
    off = means - means.mean()
    spread = float(off @ off)
    return float(off[1:] @ off[:-1]) / spread if spread > 0 else 0.0


def interval(value: float, by_batch: Floats, least: float, most: float) -> Estimate:
    """Student interval around a value from its values in batches; (least, most) without batches."""
    by_batch = by_batch[np.isfinite(by_batch)]
    if len(by_batch) < FEWEST_BATCHES:
        return Estimate(value, least, most)
    student = float(stdtrit(len(by_batch) - 1, (1 + CONFIDENCE) / 2))
    half = student * float(by_batch.std(ddof=1)) / float(np.sqrt(len(by_batch)))
    return Estimate(value, max(value - half, 0.0), value + half)


def latency(values: Floats) -> Latency:
    """Mean and percentiles of a latency over requests; nan where nothing was measured."""
    values = values[np.isfinite(values)]
    if not len(values):
        nothing = Estimate(*[float("nan")] * 3)
        return Latency(*[nothing] * 5)
    parts = batches(values)
    least, most = float(values.min()), float(values.max())

    def estimate(of: Callable[[Floats], float]) -> Estimate:
        return interval(float(of(values)), np.array([of(part) for part in parts]), least, most)

    def at(level: float) -> Callable[[Floats], float]:
        return lambda part: float(np.quantile(part, level))

    return Latency(estimate(lambda part: float(part.mean())), *(estimate(at(q)) for q in LEVELS))


def share(met: Floats) -> Estimate:
    """Share of requests that met their objectives, between 0 and 1.

    The interval is not narrower than Wilson's for independent requests, which does not vanish
    where all or none of them did.
    """
    if not len(met):
        return Estimate(*[float("nan")] * 3)
    value, n = float(met.mean()), len(met)
    z = -float(stdtrit(1e9, (1 - CONFIDENCE) / 2))
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(value * (1 - value) / n + z * z / (4 * n * n)))
    found = interval(value, np.array([part.mean() for part in batches(met)]), 0.0, 1.0)
    low, high = min(found.low, middle - half), max(found.high, middle + half)
    return Estimate(value, max(low, 0.0), min(high, 1.0))


def gap_latency(gaps: Gaps) -> Latency:
    """Mean and percentiles of the gaps between tokens."""
    gaps.close()
    count = sum(n for n, _ in gaps.sums)
    if count <= 0:
        return latency(np.zeros(0))
    whole = quantiles_s(joined(gaps.batches), LEVELS)
    per = max(len(gaps.batches) // MOST_BATCHES, 1)
    groups = range(0, len(gaps.batches) - per + 1, per)
    by_batch = np.array([quantiles_s(joined(gaps.batches[i : i + per]), LEVELS) for i in groups])
    totals = np.array([np.sum(gaps.sums[i : i + per], axis=0) for i in groups])
    mean = sum(total for _, total in gaps.sums) / count
    means = totals[:, 1] / np.where(totals[:, 0] > 0, totals[:, 0], np.nan)
    ends = quantiles_s(joined(gaps.batches), (0.0, 1.0))
    return Latency(
        interval(mean, means, *ends),
        *(interval(value, by_batch[:, i], *ends) for i, value in enumerate(whole)),
    )
