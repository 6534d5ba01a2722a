"""Intervals that hold as often as they say, for correlated series too."""

import math

import numpy as np
import pytest

from pdplan.simulation.gaps import Gaps, joined, quantiles_s
from pdplan.simulation.statistics import batches, gap_latency, latency, share


def correlated(seed, count=20_000, memory=0.98):
    """A first-order autoregressive series of mean 10 and deviation 1."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, math.sqrt(1 - memory**2), count)
    values = np.empty(count)
    now = rng.normal()
    for i in range(count):
        now = memory * now + noise[i]
        values[i] = now
    return 10 + values


def test_intervals_of_correlated_latencies_hold():
    """At least 88 of 100 for the mean and the p90, where 95 are claimed: independent requests
    would give intervals ten times too narrow."""
    runs = [latency(correlated(seed)) for seed in range(100)]
    assert sum(run.mean.holds(10.0) for run in runs) >= 88
    assert sum(run.p90.holds(10 + 1.2816) for run in runs) >= 88
    width = np.mean([run.mean.high - run.mean.low for run in runs])
    naive = 2 * 1.96 / math.sqrt(20_000)
    assert width > 6 * naive


def test_batches_are_longer_where_neighbours_are_alike():
    rng = np.random.default_rng(1)
    assert len(batches(rng.normal(size=20_000))) == 32
    assert len(batches(np.cumsum(rng.normal(size=20_000)))) == 8
    assert batches(np.arange(7.0)) == []


def test_few_requests_give_their_range():
    found = latency(np.array([1.0, 2.0, 6.0, math.nan]))
    assert found.mean.value == 3
    assert (found.mean.low, found.mean.high) == (1, 6)
    assert math.isnan(latency(np.array([math.nan])).p99.value)


def test_a_share_of_all_or_none_is_not_certain():
    """The rule of three: with n successes of n the share is above 1 - 3.8 / n (Wilson)."""
    sure = share(np.ones(1000))
    assert sure.value == sure.high == 1
    assert sure.low == pytest.approx(1 - 3.84 / 1003.84, abs=1e-5)
    assert share(np.zeros(1000)).high == pytest.approx(3.84 / 1003.84, abs=1e-5)
    half = share(np.random.default_rng(1).random(10_000) < 0.5)
    assert half.high - half.low == pytest.approx(2 * 0.98 / 100, rel=0.5)


def test_gaps_keep_count_and_sum_and_percentiles():
    """Bins of 0.5 %; batches are joined in pairs, nothing is lost."""
    rng = np.random.default_rng(2)
    values = rng.lognormal(-4, 1, 300_000)
    gaps = Gaps()
    for i, value in enumerate(values.tolist()):
        gaps.add(value, 1 + i % 2)
        if i % 20 == 19:
            gaps.finished()
    gaps.close()
    weights = 1 + np.arange(len(values)) % 2
    assert len(gaps.batches) < 64
    count, total = np.sum(gaps.sums, axis=0)
    assert count == weights.sum()
    assert total == pytest.approx((values * weights).sum())
    exact = np.quantile(np.repeat(values, weights), [0.5, 0.9, 0.99])
    assert quantiles_s(joined(gaps.batches), (0.5, 0.9, 0.99)) == pytest.approx(exact, rel=5e-3)
    found = gap_latency(gaps)
    assert found.mean.holds(float((values * weights).sum() / weights.sum()))
    assert found.mean.low < found.mean.value < found.mean.high


def test_a_stretch_of_growing_gaps_is_counted_evenly():
    gaps = Gaps()
    gaps.stretch(0.010, 0.020, 1000.0)
    gaps.close()
    assert gaps.sums[0] == pytest.approx((1000.0, 15.0))
    found = quantiles_s(gaps.batches[0], (0.1, 0.5, 0.9))
    assert found == pytest.approx([0.011, 0.015, 0.019], rel=6e-3)


def test_no_gaps_are_no_number():
    assert math.isnan(gap_latency(Gaps()).p90.value)
