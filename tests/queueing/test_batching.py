"""Bulk service: exact where it is a known queue, measured against a simulation elsewhere."""

import heapq
from itertools import product

import numpy as np
import pytest

from pdplan.queueing import batched_queue, gigc_wait_allen_cunneen

ALONE_S = 1.0


def simulate(rate, added_s, most, servers, requests=40_000, seed=7):
    """Sojourn times: a free server takes all who wait, `most` at most, into one pass."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, requests))
    free = [0.0] * servers
    found = np.empty(requests)
    first = 0
    while first < requests:
        start = max(heapq.heappop(free), arrivals[first])
        last = first + 1
        while last < requests and arrivals[last] <= start and last - first < most:
            last += 1
        end = start + ALONE_S + (last - first - 1) * added_s
        found[first:last] = end - arrivals[first:last]
        heapq.heappush(free, end)
        first = last
    return found[requests // 10 :]


@pytest.mark.parametrize("servers", [1, 4, 32])
@pytest.mark.parametrize("scv", [0.0, 1.0, 3.0])
def test_whole_budget_requests_are_a_plain_queue(servers, scv):
    rate = 0.8 * servers
    queue = batched_queue(rate, ALONE_S, 0.3, 1.0, scv, servers)
    plain = gigc_wait_allen_cunneen(rate, ALONE_S, scv, servers)
    assert float(queue.wait.mean_s) == pytest.approx(float(plain.mean_s), rel=1e-9)
    assert float(queue.pass_s) == pytest.approx(ALONE_S)


def test_capacity_is_that_of_full_passes():
    full = 8 / (ALONE_S + 7 * 0.1)  # eight requests in one pass
    assert float(batched_queue(full, ALONE_S, 0.1, 1 / 8, 0.0, 1).utilization) == pytest.approx(1)
    assert np.isinf(batched_queue(1.01 * full, ALONE_S, 0.1, 1 / 8, 0.0, 1).wait.mean_s)
    assert np.isfinite(batched_queue(0.99 * full, ALONE_S, 0.1, 1 / 8, 0.0, 1).wait.mean_s)


def test_light_load_meets_nobody():
    queue = batched_queue(1e-6, ALONE_S, 0.1, 0.1, 0.0, 4)
    assert float(queue.pass_s) == pytest.approx(ALONE_S, rel=1e-5)
    assert float(queue.wait.mean_s) == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_stated_error_against_simulation():
    means, ninetieths = [], []
    for servers, most, added, load in product((1, 2, 8), (50, 10, 4, 2, 1), (0.05, 0.3, 0.8),
                                              (0.2, 0.5, 0.8, 0.9)):  # fmt: skip
        rate = load * servers / (added + (ALONE_S - added) / most)
        queue = batched_queue(rate, ALONE_S, added, 1 / most, 0.0, servers)
        sojourns = simulate(rate, added, most, servers)
        mean = float(queue.wait.mean_s + queue.pass_s)
        ninetieth = float(queue.wait.quantile_s(0.9) + queue.pass_s)
        means.append(abs(mean / sojourns.mean() - 1))
        ninetieths.append(abs(ninetieth / np.quantile(sojourns, 0.9) - 1))
    assert np.mean(means) < 0.09
    assert max(means) < 0.5
    assert np.mean(ninetieths) < 0.125
    assert max(ninetieths) < 0.56
