import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdplan.queueing import (
    sojourn_cdf,
    sojourn_mean_s,
    sojourn_quantile_s,
    wait_sum_cdf,
)

LEVELS = np.array([0.1, 0.5, 0.9, 0.95, 0.99, 0.999])


@st.composite
def latencies(draw):
    kinds, waits = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    share = np.array(draw(st.lists(st.floats(0.01, 1), min_size=kinds, max_size=kinds)))
    offset = draw(st.lists(st.floats(0, 10), min_size=kinds, max_size=kinds))
    chance = draw(st.lists(st.floats(0, 1), min_size=waits, max_size=waits))
    mean = draw(st.lists(st.floats(1e-3, 100), min_size=waits, max_size=waits))
    return share / share.sum(), np.array(offset), np.array(chance), np.array(mean)


@given(latency=latencies())
@settings(deadline=None)
def test_cdf_is_a_distribution(latency):
    cdf = sojourn_cdf(np.linspace(-1, 300, 400), *latency)
    assert np.all((cdf >= 0) & (cdf <= 1 + 1e-12))
    assert np.all(np.diff(cdf) >= -1e-12)


@given(latency=latencies())
@settings(deadline=None)
def test_quantile_inverts_the_cdf(latency):
    t = sojourn_quantile_s(LEVELS, *latency)
    assert np.all(sojourn_cdf(t * (1 + 1e-9) + 1e-300, *latency) >= LEVELS - 1e-12)
    before = sojourn_cdf(np.maximum(t * (1 - 1e-9), 0) - 1e-300, *latency)
    assert np.all((before <= LEVELS + 1e-12) | (t == 0))


@given(latency=latencies(), chance=st.floats(0, 1), mean=st.floats(1e-3, 100))
@settings(deadline=None)
def test_a_further_wait_never_lowers_a_percentile(latency, chance, mean):
    share, offset, chances, means = latency
    before = sojourn_quantile_s(LEVELS, share, offset, chances[:3], means[:3])
    after = sojourn_quantile_s(
        LEVELS, share, offset, np.append(chances[:3], chance), np.append(means[:3], mean)
    )
    assert np.all(after >= before * (1 - 1e-9))


def test_percentiles_do_not_add():
    chance, mean = np.array([0.5, 0.7]), np.array([1.0, 2.0])
    both = sojourn_quantile_s(0.99, [1.0], [0.0], chance, mean)
    alone = sum(sojourn_quantile_s(0.99, [1.0], [0.0], chance[[k]], mean[[k]]) for k in range(2))
    assert both < 0.9 * alone


def test_against_simulation():
    rng = np.random.default_rng(5)
    size = 1_000_000
    share, offset = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.5, 3.0])
    chance, mean = np.array([0.8, 0.4, 0.5]), np.array([0.5, 1.0, 0.1])
    waits = (rng.random((size, 3)) < chance) * rng.exponential(mean, (size, 3))
    sample = rng.choice(offset, size, p=share) + waits.sum(axis=1)
    found = sojourn_quantile_s([0.5, 0.9, 0.99], share, offset, chance, mean)
    assert found == pytest.approx(np.quantile(sample, [0.5, 0.9, 0.99]), rel=0.01)  # 3 sigma
    assert sojourn_mean_s(share, offset, chance, mean) == pytest.approx(sample.mean(), rel=0.005)


def test_percentile_at_a_jump_is_the_service_itself():
    found = sojourn_quantile_s([0.3, 0.5, 0.6], [0.5, 0.5], [1.0, 2.0], [0.0], [1.0])
    assert found.tolist() == [1.0, 1.0, 2.0]


def test_single_exponential():
    found = sojourn_quantile_s(0.999, [1.0], [2.0], [0.5], [3.0])
    assert found == pytest.approx(2 + 3 * np.log(500), rel=1e-12)


def test_endless_waits_are_never_finished():
    assert np.isinf(sojourn_quantile_s(0.5, [1.0], [1.0], [1.0, 0.5], [np.inf, 1.0]))
    assert np.isinf(sojourn_mean_s([1.0], [1.0], [1.0], [np.inf]))
    partly = sojourn_quantile_s([0.5, 0.7, 0.8], [1.0], [1.0], [0.25, 1.0], [np.inf, 1.0])
    assert partly[:2] == pytest.approx(1 - np.log(1 - np.array([0.5, 0.7]) / 0.75), rel=1e-9)
    assert np.isinf(partly[2])
    by_kind = sojourn_quantile_s(
        [0.3, 0.6], [0.5, 0.5], [1.0, 1.0], [[0.0], [1.0]], [[1.0], [np.inf]]
    )
    assert by_kind.tolist() == [1.0, np.inf]


def test_arrays_equal_scalars():
    rng = np.random.default_rng(6)
    share, offset = np.full(4, 0.25), rng.random((5, 4))
    chance, mean = rng.random((5, 3)), rng.random((5, 3))
    table = sojourn_quantile_s(LEVELS, share, offset, chance, mean)
    assert table.shape == (5, 6)
    for i in range(5):
        for j, level in enumerate(LEVELS):
            one = sojourn_quantile_s(level, share, offset[i], chance[i], mean[i])
            assert table[i, j] == pytest.approx(one, rel=1e-10)  # iterations stop separately
    cdf = sojourn_cdf(1.0, share, offset, chance, mean)
    expected = np.mean(wait_sum_cdf(1.0 - offset, chance[:, None, :], mean[:, None, :]), axis=1)
    assert cdf == pytest.approx(expected)


def test_waits_by_support_point():
    share, offset = np.array([0.5, 0.5]), np.array([0.0, 1.0])
    same = sojourn_quantile_s(LEVELS, share, offset, [0.5, 0.2], [1.0, 2.0])
    spelled = sojourn_quantile_s(LEVELS, share, offset, [[0.5, 0.2]] * 2, [[1.0, 2.0]] * 2)
    assert spelled == pytest.approx(same)
