"""Physics formulas: broadcasting, limits, and sums by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.physics.attention import causal_pairs, mean_window
from pdplan.physics.collectives import all_reduce_s, exchange_s
from pdplan.physics.experts import expected_experts
from pdplan.physics.memory import sequences_that_fit
from pdplan.physics.roofline import joined_s, roof_s

SIZES = np.array([1.0, 1e3, 1e9])
CASES = {
    "joined_s": lambda x: joined_s(x, 2e3, 2.5),
    "roof_s": lambda x: roof_s(x, 5e2, 3.0, 2.0),
    "causal_pairs": lambda x: causal_pairs(x, 300.0, 1000.0),
    "mean_window": lambda x: mean_window(x, 1000.0),
    "all_reduce_s": lambda x: all_reduce_s(x, 8, 1e-5, 1e9),
    "exchange_s": lambda x: exchange_s(x, 8, 1e-5, 1e9),
    "expected_experts": lambda x: expected_experts(x, 64, 4, 0.8),
    "sequences_that_fit": lambda x: sequences_that_fit(x, 3.0, 1.0, 2.33),
}


@pytest.mark.parametrize("name", CASES)
def test_an_array_is_its_elements(name):
    together = CASES[name](SIZES)
    alone = [float(CASES[name](x)) for x in SIZES]
    np.testing.assert_array_max_ulp(together, np.array(alone), maxulp=2)  # SIMD pow rounds apart


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 50))
def test_joined_lies_between_the_larger_and_the_sum(compute, memory, norm):
    joined = float(joined_s(compute, memory, norm))
    assert max(compute, memory) <= joined * (1 + 1e-12)
    assert joined <= (compute + memory) * (1 + 1e-12)


def test_joined_limits():
    assert float(joined_s(3.0, 4.0, 1.0)) == pytest.approx(7.0)
    assert float(joined_s(3.0, 4.0, 1e3)) == pytest.approx(4.0)
    assert float(joined_s(0.0, 0.0, 2.0)) == 0.0


@given(st.integers(1, 400), st.integers(0, 400), st.one_of(st.none(), st.integers(1, 500)))
def test_causal_pairs_against_the_sum(new, prefix, window):
    limit = np.inf if window is None else window
    summed = sum(min(prefix + i, limit) for i in range(1, new + 1))
    # The continuous form drops at most half a pair per query.
    assert float(causal_pairs(new, prefix, limit)) == pytest.approx(summed, abs=new / 2 + 1e-6)


def test_causal_pairs_without_tokens_or_window():
    assert float(causal_pairs(0, 100, np.inf)) == 0.0
    assert float(causal_pairs(10, 100, 1)) == pytest.approx(10.0)


@pytest.mark.parametrize("skew", [0.0, 0.5, 1.2])
def test_experts_limits(skew):
    experts, topk = 128, 8
    tokens = np.array([1.0, 2.0, 16.0, 1e7])
    touched = expected_experts(tokens, experts, topk, skew)
    assert touched[0] == pytest.approx(topk)  # one token touches its own experts only
    assert touched[-1] == pytest.approx(experts, rel=1e-3)
    assert (np.diff(touched) > 0).all()
    assert (touched <= np.minimum(tokens * topk, experts) + 1e-9).all()


def test_no_token_touches_no_expert():
    assert float(expected_experts(0.0, 128, 8, 0.5)) == 0.0


def test_skewed_routing_touches_fewer_experts():
    even, skewed = (expected_experts([4.0, 64.0], 128, 8, s) for s in (0.0, 1.0))
    assert (skewed < even).all()


def test_all_experts_when_all_are_chosen():
    assert expected_experts([1.0, 9.0], 8, 8, 0.7).tolist() == pytest.approx([8.0, 8.0])


@pytest.mark.parametrize("law", [all_reduce_s, exchange_s])
def test_one_rank_needs_no_collective(law):
    assert float(law(1e9, 1, 1e-3, np.inf)) == 0.0
    assert float(law(1e9, 2, 1e-3, 1e12)) > 1e-3


@given(st.floats(1, 1e9), st.floats(1e-3, 1e3), st.floats(0, 1e3))
def test_fitting_sequences_fill_the_capacity_exactly(capacity, mean, spread):
    n = float(sequences_that_fit(capacity, mean, spread, 2.33))
    assert n * mean + 2.33 * np.sqrt(n) * spread == pytest.approx(capacity, rel=1e-6, abs=1e-6)


def test_nothing_fits_in_less_than_nothing():
    assert float(sequences_that_fit(-5.0, 1.0, 0.5, 2.33)) == 0.0
