"""Pools that serve one request at a time: exact cases, and a simulation."""

import numpy as np
import pytest

from pdplan.queueing.deterministic import md1_wait_tail
from pdplan.queueing.erlang import erlang_c
from pdplan.queueing.one_by_one import Services, request_queue
from pdplan.queueing.sojourn import sojourn_mean_s, sojourn_quantile_s, wait_sum_cdf
from tests.queueing.pool_simulation import lognormal_points, one_by_one, requests

LEVELS = np.array([0.5, 0.9, 0.99])
EXPONENTIAL = Services(np.array(1.0), np.array(1.0), np.array(1.5))
CONSTANT = Services.of([1.0], [1.0])


def late(wait, t):
    """P(W > t)."""
    chances = [float(wait.first.probability), float(wait.more.probability)]
    tails = [float(wait.first.tail_mean_s), float(wait.more.tail_mean_s)]
    return 1 - wait_sum_cdf(t - float(wait.offset_s), chances, tails, (False, True))


@pytest.mark.parametrize("servers", [1, 3, 20, 1000])
@pytest.mark.parametrize("rho", [0.3, 0.8, 0.95])
def test_mmc_is_exact_in_every_percentile(servers, rho):
    wait = request_queue(rho * servers, EXPONENTIAL, servers, "central")
    t = np.array([0.0, 0.1, 1.0, 5.0]) / (servers * (1 - rho))
    expected = erlang_c(servers, rho * servers) * np.exp(-t * servers * (1 - rho))
    assert late(wait, t) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rho", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_md1_percentiles(rho):
    """Mean exact, percentiles of wait plus service within 7 %, 5 % from rho 0.3."""
    wait = request_queue(rho, CONSTANT, 1)
    assert float(wait.mean_s) == pytest.approx(rho / (2 * (1 - rho)), rel=1e-12)
    for level in LEVELS:
        chances = [float(wait.first.probability), float(wait.more.probability)]
        tails = [float(wait.first.tail_mean_s), float(wait.more.tail_mean_s)]
        offset = [1 + float(wait.offset_s)]
        found = sojourn_quantile_s(level, [1.0], offset, chances, tails, (False, True))
        slack = 0.05 if rho >= 0.3 else 0.07
        assert md1_wait_tail(float(found) * (1 + slack) - 1, rho, 1.0) <= 1 - level
        below = float(found) / (1 + slack) - 1
        assert below < 0 or md1_wait_tail(below, rho, 1.0) >= 1 - level


def test_mg1_moments_are_exact():
    """Takacs: E[W^2] = 2 E[W]^2 + lambda E[S^3] / (3 (1 - rho))."""
    points, weight = np.array([0.2, 1.0, 1.5]), np.array([0.2, 0.4, 0.4])
    services = Services.of(points, weight)
    rate = 0.8 / float(services.mean_s)
    wait = request_queue(rate, services, 1)
    mean = rate * (points**2 @ weight) / (2 * 0.2)
    second = 2 * mean**2 + rate * (points**3 @ weight) / (3 * 0.2)
    assert float(wait.mean_s) == pytest.approx(mean)
    a, b = float(wait.first.tail_mean_s), float(wait.more.tail_mean_s)
    p, q = float(wait.first.probability), float(wait.more.probability)
    assert 2 * p * a**2 + 2 * q * a * b + 2 * q * b**2 == pytest.approx(second)


def test_no_steady_state():
    assert np.isinf(request_queue(2.0, CONSTANT, 2).mean_s)
    assert np.isinf(float(request_queue(2.0, CONSTANT, 1, "random").first.tail_mean_s))
    assert float(request_queue(0.0, CONSTANT, 4).mean_s) == 0


def errors(servers, rho, cv, routing, count=60_000):
    points, weight = lognormal_points(1.0, cv, 200)
    arrivals, service = requests(rho * servers, points, weight, count, seed=2)
    spent = one_by_one(arrivals, service, servers, routing)
    wait = request_queue(rho * servers, Services.of(points, weight), servers, routing)
    chances = [float(wait.first.probability), float(wait.more.probability)]
    tails = [float(wait.first.tail_mean_s), float(wait.more.tail_mean_s)]
    offsets = points + float(wait.offset_s)
    found = [
        float(sojourn_mean_s(weight, offsets, chances, tails)),
        *sojourn_quantile_s(LEVELS, weight, offsets, chances, tails, (False, True)),
    ]
    return np.array(found) / [spent.mean(), *np.quantile(spent, LEVELS)] - 1


@pytest.mark.parametrize(
    ("servers", "rho", "cv", "routing"),
    [(4, 0.7, 1.0, "least_loaded"), (16, 0.8, 0.5, "central"), (4, 0.6, 1.0, "round_robin")],
)
def test_usual_encode_pools(servers, rho, cv, routing):
    assert (np.abs(errors(servers, rho, cv, routing)) < [0.05, 0.07, 0.07, 0.12]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("routing", "average", "worst"), [
    ("least_loaded", [0.02, 0.02, 0.03, 0.05], [0.06, 0.06, 0.08, 0.15]),
    ("central", [0.02, 0.02, 0.03, 0.05], [0.06, 0.06, 0.08, 0.15]),
    ("round_robin", [0.04, 0.04, 0.06, 0.09], [0.10, 0.10, 0.15, 0.30]),
])  # fmt: skip
def test_stated_error_against_simulation(routing, average, worst):
    """Mean, p50, p90 and p99 of wait plus service, averaged and at worst."""
    cases = [(n, rho, cv) for n in (2, 8, 32) for rho in (0.4, 0.7, 0.85) for cv in (0.0, 0.5, 1.0)]
    found = np.abs([errors(*case, routing, 40_000) for case in cases])
    assert (found.mean(0) < average).all()
    assert (found.max(0) < worst).all()
