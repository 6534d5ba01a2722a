from decimal import Decimal, localcontext
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from pdplan.queueing import wait_sum_cdf
from pdplan.queueing.phases import phase_chain, phase_survival


def cdf_in_160_digits(t, probabilities, tail_means):
    """Mixture over subsets, partial fractions; equal means are set 1e-40 apart."""
    with localcontext() as context:
        context.prec = 160
        means = [Decimal(float(m)) * (1 + i * Decimal(10) ** -40) for i, m in enumerate(tail_means)]
        total, time = Decimal(0), Decimal(float(t))
        for chosen in product([False, True], repeat=len(means)):
            chance, late = Decimal(1), Decimal(0)
            for waits, p in zip(chosen, probabilities, strict=True):
                chance *= Decimal(float(p)) if waits else 1 - Decimal(float(p))
            subset = [m for waits, m in zip(chosen, means, strict=True) if waits]
            for mean in subset:
                term = (-time / mean).exp()
                for other in subset:
                    if other is not mean:
                        term *= mean / (mean - other)
                late += term
            total += chance * (1 - late)
        return float(total)


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3, 0.1, 10.0])
@pytest.mark.parametrize("t", [1e-4, 0.1, 1.0, 7.0, 60.0])
def test_near_equal_means(gap, t):
    means = np.array([1.0, 1 + gap, 1 + 2 * gap, 1.0])
    for size in (2, 3, 4):
        chance = np.array([0.9, 1.0, 0.3, 0.7])[:size]
        expected = cdf_in_160_digits(t, chance, means[:size])
        found = wait_sum_cdf(t, chance, means[:size])
        assert found == pytest.approx(expected, abs=1e-14)  # rounding only


def test_means_of_all_sizes():
    rng = np.random.default_rng(3)
    for _ in range(150):
        size = rng.integers(1, 5)
        chance = rng.random(size)
        close = 1 + 10 ** rng.uniform(-12, 0, size)
        means = np.where(rng.random(size) < 0.5, close, 10 ** rng.uniform(-3, 3, size))
        t = 10 ** rng.uniform(-3, 2.5)
        expected = cdf_in_160_digits(t, chance, means)
        assert wait_sum_cdf(t, chance, means) == pytest.approx(expected, abs=1e-14)


def test_against_the_matrix_exponential():
    """Scipy's expm loses digits for close eigenvalues, hence distinct means here."""
    rates = 1 / np.array([2.0, 0.7, 0.1])
    generator = np.diag(-rates) + np.diag(rates[:-1], 1)
    for t in (0.1, 1.0, 5.0):
        expected = 1 - expm(generator * t)[0].sum()
        found = wait_sum_cdf(t, np.ones(3), 1 / rates)
        assert found == pytest.approx(expected, abs=1e-13)  # rounding of expm


@given(
    chance=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    mean=st.lists(st.floats(0, 1e6), min_size=4, max_size=4),
)
def test_entry_is_a_distribution(chance, mean):
    entry = np.array(phase_chain(np.array(chance), np.array(mean)).entry)
    assert np.all(entry >= 0)
    assert entry.sum() == pytest.approx(1)


def test_density_is_the_slope():
    chain = phase_chain(np.array([0.5, 1.0, 0.9]), np.array([1.0, 2.0, 2.0]))
    t, step = np.array([0.3, 2.0, 9.0]), 1e-5
    slope = (phase_survival(t - step, chain)[0] - phase_survival(t + step, chain)[0]) / (2 * step)
    assert phase_survival(t, chain)[1] == pytest.approx(slope, rel=1e-7)  # central difference


def test_none_and_endless_waits():
    assert wait_sum_cdf(-1e-9, [0.5], [1.0]) == 0
    assert wait_sum_cdf(0.0, [0.5, 0.2], [1.0, 3.0]) == pytest.approx(0.4)
    assert wait_sum_cdf(0.0, [1.0, 1.0], [0.0, 0.0]) == 1
    assert wait_sum_cdf(1e9, [1.0, 0.5], [np.inf, 1.0]) == 0
    assert wait_sum_cdf(1e9, [0.25, 0.5], [np.inf, 1.0]) == pytest.approx(0.75)
    assert wait_sum_cdf(1.0, [1.0, 1.0], [1.0, 1e-300]) == pytest.approx(1 - np.exp(-1))


@pytest.mark.parametrize("means", [(1.0, 1.0), (0.5, 3.0), (3.0, 0.5)])
def test_a_wait_that_follows_another(means):
    """Cox: nothing with 1 - p, one phase with p - q, both with q; beside an independent wait."""
    p, q, t = 0.6, 0.25, np.array([0.0, 0.3, 2.0, 9.0])
    other = (0.4, 1.7)
    chances, tails = [p, q, other[0]], [*means, other[1]]
    found = wait_sum_cdf(t, chances, tails, (False, True, False))
    none = wait_sum_cdf(t, [0.0, 0.0, other[0]], tails)
    one = wait_sum_cdf(t, [1.0, 0.0, other[0]], tails)
    both = wait_sum_cdf(t, [1.0, 1.0, other[0]], tails)
    assert found == pytest.approx((1 - p) * none + (p - q) * one + q * both, abs=1e-14)
    independent = wait_sum_cdf(t, chances, tails)
    assert np.abs(found - independent).max() > 0.01


def test_two_pairs_and_endless_ones():
    chances, tails = [0.5, 0.5, 0.8, 0.2], [1.0, 2.0, 0.3, 4.0]
    pairs = (False, True, False, True)
    alone = wait_sum_cdf(3.0, chances[:2], tails[:2], pairs[:2])
    assert wait_sum_cdf(3.0, [*chances[:2], 0.0, 0.0], tails, pairs) == pytest.approx(alone)
    endless = wait_sum_cdf(1e9, [0.5, 0.2, 0.8, 0.2], [np.inf, np.inf, 0.3, 4.0], pairs)
    assert endless == pytest.approx(0.5)
    sure = wait_sum_cdf(1e9, chances, tails, pairs)
    assert sure == pytest.approx(1.0)
