import numpy as np
import pytest

from pdplan.queueing import md1_tail_decay_per_s, md1_wait_tail


def lindley_waits(utilization, customers=2_000_000):
    rng = np.random.default_rng(7)
    walk = np.cumsum(1 - rng.exponential(1 / utilization, customers))
    return walk - np.minimum(np.minimum.accumulate(walk), 0)


@pytest.mark.parametrize("utilization", [0.3, 0.6, 0.8])
def test_tail_against_lindley_recursion(utilization):
    waits = lindley_waits(utilization)
    t = np.array([0.0, 0.5, 1.0, 2.5, 6.0])
    measured = (waits[:, None] > t).mean(axis=0)
    assert md1_wait_tail(t, utilization, 1.0) == pytest.approx(measured, abs=0.006)  # 3 sigma


@pytest.mark.parametrize("utilization", [0.05, 0.3, 0.7, 0.9])
def test_tail_integrates_to_the_mean(utilization):
    kinks = np.arange(300)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    t = kinks[:, None] + (nodes + 1) / 2
    mean = np.sum(md1_wait_tail(t, utilization, 1.0) * weights / 2)
    assert mean == pytest.approx(utilization / (2 * (1 - utilization)), rel=1e-9)  # P-K


@pytest.mark.parametrize("utilization", [0.1, 0.5, 0.8, 0.95, 0.99])
def test_exact_form_meets_the_asymptote(utilization):
    below, above = md1_wait_tail(np.array([24 - 1e-12, 24.0]), utilization, 1.0)
    assert below == pytest.approx(above, abs=1e-9)  # stated in docstring


@pytest.mark.parametrize("utilization", [1e-12, 1e-3, 0.2, 0.9, 0.999999])
def test_decay_solves_its_equation(utilization):
    eta = md1_tail_decay_per_s(utilization / 2, 2.0)
    left = utilization / 2 * np.expm1(2 * eta)
    assert left == pytest.approx(eta, rel=1e-9)  # conditioning near rho = 1 costs six digits


def test_limits():
    assert md1_tail_decay_per_s(0.0, 1.0) == np.inf
    assert md1_tail_decay_per_s(1.0, 1.0) == 0
    assert md1_wait_tail(-1.0, 0.5, 1.0) == 1
    assert md1_wait_tail(5.0, 1.5, 1.0) == 1
    assert md1_wait_tail(5.0, 0.0, 1.0) == 0
    assert md1_wait_tail(0.0, 0.4, 1.0) == pytest.approx(0.4)


def test_arrays_equal_scalars():
    t, rate = np.array([0.2, 3.0, 40.0]), np.array([[0.1], [0.9]])
    table = md1_wait_tail(t, rate, 1.0)
    for i, one_rate in enumerate(rate[:, 0]):
        for j, one_t in enumerate(t):
            assert table[i, j] == pytest.approx(float(md1_wait_tail(one_t, one_rate, 1.0)))
