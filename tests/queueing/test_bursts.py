"""Bursts before a queue: limits, and simulations of two-rate arrivals."""

import numpy as np
import pytest

from pdplan.queueing.bursts import burst_wait
from pdplan.queueing.one_by_one import Services, request_queue
from tests.queueing.pool_simulation import one_by_one, requests


def error(factor, share, length, servers, rho, count=60_000):
    points, weight = np.array([0.5, 1.5]), np.array([0.5, 0.5])
    services = Services.of(points, weight)
    rate = rho * servers
    arrivals, service = requests(rate, points, weight, count, 3, (factor, share, length))
    measured = one_by_one(arrivals, service, servers, "central").mean()
    added = burst_wait(
        rate, 1.0, float(services.scv), servers, factor=factor, share=share, length_s=length
    )
    plain = request_queue(rate, services, servers, "central")
    return (1 + float(plain.mean_s) + float(added.mean_s)) / measured - 1


@pytest.mark.slow
def test_stated_error_against_simulation():
    found = {}
    for servers in (1, 4):
        for rho in (0.5, 0.65, 0.8):
            for factor, share in ((2.0, 0.25), (4.0, 0.1)):
                for length in (0.5, 5.0, 50.0):
                    case = (factor, share, length, servers, rho)
                    found[case] = error(*case, count=100_000 if length < 50 else 400_000)
    off = np.abs(list(found.values()))
    assert off.mean() < 0.08
    assert off.max() < 0.35


def test_limits():
    kept = {"factor": 4.0, "share": 0.1}
    assert float(burst_wait(0.7, 1.0, 0.5, 1, length_s=1e-9, **kept).mean_s) < 1e-3
    assert np.isinf(burst_wait(1.0, 1.0, 0.5, 1, length_s=5.0, **kept).mean_s)
    idle = burst_wait(1e-9, 1.0, 0.5, 1, length_s=5.0, **kept)
    assert np.isfinite(idle.mean_s)
    loads = np.linspace(0.05, 0.95, 30)
    assert (np.diff(burst_wait(loads, 1.0, 0.5, 1, length_s=5.0, **kept).mean_s) > -1e-3).all()
    lengths = np.array([1.0, 10.0, 100.0])
    longer = [float(burst_wait(0.7, 1.0, 0.5, 4, length_s=x, **kept).mean_s) for x in lengths]
    assert (np.diff(longer) > 0).all()
