"""Images of one request on several workers."""

import numpy as np
import pytest

from pdplan.queueing import Services, fork_join_s, parallel_s, request_queue, split_merge_s


def simulated(rate, parts, requests=500_000):
    """Mean time until the last of k exponential parts is done, each at a queue of its own."""
    random = np.random.default_rng(6)
    arrivals = np.cumsum(random.exponential(1 / rate, requests))
    last = np.zeros(requests)
    for _ in range(parts):
        services = random.exponential(1.0, requests)
        total = np.cumsum(services)
        ends = total + np.maximum.accumulate(arrivals - (total - services))
        last = np.maximum(last, ends - arrivals)
    return last[requests // 10 :].mean()


@pytest.mark.parametrize("parts", [1, 2, 4, 16])
@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_fork_join_against_simulation(parts, rho):
    """Exact for one and two parts, 5 % beyond; 3 % is noise."""
    found = float(fork_join_s(rho, 1.0, parts))
    assert found == pytest.approx(simulated(rho, parts), rel=0.03 if parts < 3 else 0.05)


def test_limits():
    assert float(fork_join_s(0.0, 2.0, 8)) == pytest.approx(float(split_merge_s(2.0, 8)), rel=1e-9)
    assert np.isinf(fork_join_s(1.0, 1.0, 4))
    assert split_merge_s(1.0, [1, 2, 3]).tolist() == pytest.approx([1.0, 1.5, 11 / 6])
    assert parallel_s(6.0, [1, 2, 3, 6, 12], 3).tolist() == [6.0, 3.0, 2.0, 2.0, 2.0]


def test_images_together_are_one_fast_server():
    """Four workers on requests of eight images: a quarter of the service at a quarter of pools."""
    whole = Services.of([8.0], [1.0])
    shared = Services.of(parallel_s([8.0], [8.0], 4), [1.0])
    assert float(shared.mean_s) == 2.0
    four = request_queue(0.4, whole, 4, "central")
    one = request_queue(0.4, shared, 1, "central")
    light = request_queue(1e-6, shared, 1, "central")
    assert float(light.mean_s) + 2.0 == pytest.approx(2.0, rel=1e-4)
    # The same capacity: less waiting with four queues, but a service of 8 instead of 2.
    assert float(four.mean_s) < float(one.mean_s)
    assert 2.0 + float(one.mean_s) < 8.0 + float(four.mean_s)
