"""Passes of several prompts: exact where it is a known queue, else against a simulation."""

from itertools import product

import numpy as np
import pytest

from pdplan.queueing.batching import batched_queue
from pdplan.queueing.passes import PromptSizes, pass_queue
from pdplan.queueing.sojourn import sojourn_mean_s, sojourn_quantile_s
from tests.queueing.pool_simulation import lognormal_points, passes, requests

LEVELS = np.array([0.5, 0.9, 0.99])


def sizes_of(points, weight):
    count = np.maximum(np.ceil(points - 1e-9), 1)
    return PromptSizes.of(points, count, points - count + 1, weight), count


def compared(base, mean, cv, servers, rho, *, routing="least_loaded", requests_=40_000, seed=1):
    """Relative errors of mean, p50, p90 and p99 of the time in a pool; budget 1, full pass 1."""
    points, weight = lognormal_points(mean, cv, 200)
    arrivals, tokens = requests(rho * servers / mean, points, weight, requests_, seed)
    spent = passes(arrivals, tokens, tokens * (1 - base), base, servers, routing)
    sizes, count = sizes_of(points, weight)
    queue = batched_queue(rho * servers / mean, base, 1.0, sizes, servers, routing)
    offsets = count * base + points * (1 - base) + queue.wait.offset_s
    waits = (queue.wait.first, queue.wait.more)
    chances = [float(w.probability) for w in waits]
    tails = [float(w.tail_mean_s) for w in waits]
    found = sojourn_quantile_s(LEVELS, weight, offsets, chances, tails, (False, True))
    mean_s = sojourn_mean_s(weight, offsets, chances, tails)
    measured = [spent.mean(), *np.quantile(spent, LEVELS)]
    return np.array([mean_s, *found]) / measured - 1


def test_whole_budget_prompts_are_a_plain_queue():
    for rho in (0.3, 0.6, 0.9):
        queue = batched_queue(rho, 0.2, 1.0, PromptSizes.equal(1.0), 1)
        expected = rho / (2 * (1 - rho))  # M/D/1
        assert 1 + float(queue.wait.mean_s) == pytest.approx(1 + expected, rel=0.04)


def test_long_prompts_are_a_plain_queue():
    """Of many passes: M/G/1, plus what is left of budgets and shared, half a pass or so."""
    points, weight = lognormal_points(50.0, 1.0)
    sizes, _ = sizes_of(points, weight)
    for rho in (0.3, 0.6, 0.9):
        queue = batched_queue(rho / 50, 1e-6, 1.0, sizes, 1)
        expected = rho * float(sizes.second) / 50 / (2 * (1 - rho))
        assert 50 + float(queue.wait.mean_s) == pytest.approx(50 + expected, rel=0.03)


def test_capacity_is_that_of_full_passes():
    sizes = PromptSizes.equal(1 / 8)
    assert float(batched_queue(8.0, 0.3, 1.0, sizes, 1).utilization) == pytest.approx(1)
    assert np.isinf(batched_queue(8.08, 0.3, 1.0, sizes, 1).wait.mean_s)
    assert np.isfinite(batched_queue(7.92, 0.3, 1.0, sizes, 1).wait.mean_s)


@pytest.mark.parametrize(("mean", "cv"), [(0.1, 0.0), (0.4, 2.0), (2.5, 1.0)])
def test_pools_saturate_at_their_capacity(mean, cv):
    """Throughput of an overloaded instance: full passes, within 2 %."""
    points, weight = lognormal_points(mean, cv)
    _, tokens = requests(1.0, points, weight, 20_000)
    arrivals = np.linspace(0, 1e-3, len(tokens))
    last = passes(arrivals, tokens, tokens * 0.7, 0.3, 1).max()
    assert tokens.sum() / last == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("servers", [1, 4, 64])
def test_light_load_meets_nobody(servers):
    queue = batched_queue(1e-7, 0.2, 1.0, PromptSizes.equal(0.3), servers)
    assert float(queue.wait.mean_s) == pytest.approx(0, abs=1e-5)


def test_more_instances_and_less_load_never_wait_longer():
    sizes, _ = sizes_of(*lognormal_points(0.3, 1.0))
    count = np.arange(4, 65)
    queue = batched_queue(10.0, 0.1, 1.0, sizes, count)
    assert (np.diff(np.asarray(queue.wait.mean_s)) <= 1e-12).all()
    rates = np.linspace(0.1, 3.3, 60)
    one = pass_queue(rates, 0.1, 1.0, sizes)
    assert (np.diff(one.extra_s) >= 0).all()
    assert (np.diff(one.busy) >= -1e-9).all()


def test_arrays_equal_scalars():
    sizes, _ = sizes_of(*lognormal_points(0.3, 1.0))
    table = batched_queue(np.array([2.0, 20.0]), 0.1, 1.0, sizes, np.array([1, 8]))
    for i, (rate, servers) in enumerate(((2.0, 1), (20.0, 8))):
        one = batched_queue(rate, 0.1, 1.0, sizes, servers)
        assert table.wait.mean_s[i] == pytest.approx(float(one.wait.mean_s), rel=1e-12)


@pytest.mark.parametrize(
    ("base", "mean", "cv", "servers", "rho"),
    [(0.05, 0.1, 1.0, 1, 0.7), (0.05, 0.4, 1.0, 4, 0.6), (0.1, 2.0, 1.0, 4, 0.8)],
)
def test_error_of_usual_pools(base, mean, cv, servers, rho):
    error = np.abs(compared(base, mean, cv, servers, rho))
    assert (error < [0.05, 0.07, 0.07, 0.12]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "average", "worst"), [
    (1, [0.04, 0.06, 0.07, 0.12], [0.16, 0.24, 0.25, 0.40]),
    (4, [0.04, 0.05, 0.07, 0.10], [0.18, 0.24, 0.28, 0.35]),
    (32, [0.04, 0.05, 0.05, 0.10], [0.18, 0.24, 0.28, 0.35]),
])  # fmt: skip
def test_stated_error_against_simulation(servers, average, worst):
    """Mean, p50, p90 and p99 of the time in the pool, averaged and at worst; runs are short."""
    loads = ((0.0, 0.5), (0.0, 0.85), (1.0, 0.7), (2.0, 0.4))
    cases = product((0.02, 0.1, 0.4), (0.05, 0.3, 1.5), loads)
    count = 100_000 if servers == 1 else 40_000
    found = [compared(a, m, cv, servers, rho, requests_=count) for a, m, (cv, rho) in cases]
    found = np.abs(found)
    assert (found.mean(0) < average).all()
    assert (found.max(0) < worst).all()


@pytest.mark.slow
@pytest.mark.parametrize(("routing", "average", "worst"), [
    ("random", 0.05, 0.12), ("central", 0.08, 0.35), ("round_robin", 0.11, 0.6),
])  # fmt: skip
def test_other_routings(routing, average, worst):
    cases = product((0.05, 0.3), (0.05, 0.5), (0.0, 1.0), (4,), (0.5, 0.8))
    found = np.abs([compared(*case, routing=routing, requests_=30_000)[0] for case in cases])
    assert found.mean() < average
    assert found.max() < worst
