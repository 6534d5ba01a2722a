import numpy as np
import pytest

from pdplan.queueing.transient import (
    batch_while_filling,
    early_wait_cdf,
    early_wait_quantiles_s,
)

rng = np.random.default_rng(5)


def first_waits(rho, servers, service, requests, runs):
    """Waits of the first requests of many runs into an empty first-come-first-served pool."""
    rate = rho * servers
    waits = np.empty((runs, requests))
    arrivals = rng.exponential(1 / rate, (runs, requests)).cumsum(axis=1)
    services = service((runs, requests))
    free = np.zeros((runs, servers))
    for i in range(requests):
        free.sort(axis=1)
        begin = np.maximum(arrivals[:, i], free[:, 0])
        waits[:, i] = begin - arrivals[:, i]
        free[:, 0] = begin + services[:, i]
    return waits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rho", "servers", "scv", "requests"),
    [(1.0, 1, 0, 1000), (1.3, 1, 0, 200), (1.1, 1, 1, 500), (0.95, 1, 1, 2000), (1.5, 4, 1, 400)],
)
def test_the_p90_of_the_first_requests_is_within_10_percent(rho, servers, scv, requests):
    draw = rng.standard_exponential if scv else np.ones
    waits = first_waits(rho, servers, draw, requests, 400)
    rate = rho * servers
    times = (np.arange(requests) + 0.5) / rate
    p90 = np.quantile(waits, 0.9)
    share = early_wait_cdf(p90, times, rate, servers, 1.0, float(scv)).mean()
    grid = np.linspace(0, 3 * p90, 600)
    reached = [early_wait_cdf(w, times, rate, servers, 1.0, float(scv)).mean() for w in grid]
    closed = np.interp(0.9, reached, grid)
    assert closed == pytest.approx(p90, rel=0.10), share


def test_the_quantile_inverts_the_distribution():
    times = np.array([1.0, 30.0, 1000.0])
    waits = early_wait_quantiles_s([0.5, 0.9, 0.99], times, 1.2, 1.0, 1.0, 0.3)
    shares = early_wait_cdf(waits, times[:, None], 1.2, 1.0, 1.0, 0.3)
    assert np.allclose(shares, np.maximum([0.5, 0.9, 0.99], shares[:, :1] * 0 + [0.5, 0.9, 0.99]))
    assert (np.diff(waits, axis=0) > 0).all()


def test_below_capacity_the_wait_settles():
    late = early_wait_quantiles_s([0.9], [1e5, 1e7], 0.8, 1.0)
    assert late[1, 0] == pytest.approx(late[0, 0])
    assert late[0, 0] == pytest.approx(0.8 / 0.2 * np.log(10), rel=1e-6)


def test_a_filling_batch_reaches_its_balance_or_its_cap():
    step = 0.01 + 0.0002 * np.arange(1, 257)
    batch = batch_while_filling([0.0, 1e3], 4.0, 200.0, step, 256)[1]
    assert batch == pytest.approx(4.0 * 200 * np.interp(batch, np.arange(1, 257), step), rel=1e-3)
    assert batch_while_filling([1e4], 40.0, 200.0, step, 64)[0] == 64
