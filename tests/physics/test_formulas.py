"""Physics formulas: broadcasting, limits, and sums by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.physics.attention import (
    attention_s,
    cached_attention_s,
    causal_pairs,
    mean_window,
    padded_head_dim,
    prefill_bytes,
)
from pdplan.physics.collectives import (
    across_nodes_s,
    all_reduce_s,
    engine_all_reduce_s,
    exchange_s,
    kernel_all_reduce_s,
    library_latency_s,
    pipelined_s,
    send_s,
    shared_bytes_per_s,
)
from pdplan.physics.experts import busiest, expected_experts
from pdplan.physics.memory import sequences_that_fit
from pdplan.physics.products import elementwise_s, product_s
from pdplan.physics.roofline import joined_s, roof_s

SIZES = np.array([1.0, 1e3, 1e9])
H100 = {
    "weight_bytes": 1.0,
    "input_bytes": 1.0,
    "flops_per_s": 0.6 * 1979e12,
    "bytes_per_s": 0.8 * 3.35e12,
    "step_s": 0.7e-9,
    "floor_s": 5e-6,
    "staged_bytes": 3.0,
}
CASES = {
    "product_s": lambda x: product_s(x, 4096, 8192, **H100),
    "elementwise_s": lambda x: elementwise_s(x, bytes_per_s=1e12, floor_s=3e-6),
    "attention_s": lambda x: attention_s(x, 2e3, x / 8, 4e14, 1e12, 1e4, 1e-5),
    "cached_attention_s": lambda x: cached_attention_s(4 * x, x, 4e14, 1e12, 1e-5),
    "prefill_bytes": lambda x: prefill_bytes(x, 2 * x, 4096, 4096),
    "padded_head_dim": lambda x: padded_head_dim(x),
    "pipelined_s": lambda x: pipelined_s(x, 1e-5, 1e11),
    "kernel_all_reduce_s": lambda x: kernel_all_reduce_s(x, 8, 4e-6, 1e11),
    "engine_all_reduce_s": lambda x: engine_all_reduce_s(x, 1e-5, 4e-4, 1e6),
    "across_nodes_s": lambda x: across_nodes_s(x / 1e11, x, 8, 2, 1e-5, 5e10),
    "send_s": lambda x: send_s(x, 1e-5, 3e11),
    "library_latency_s": lambda x: library_latency_s(x, 3e-6, 1.6e-6),
    "shared_bytes_per_s": lambda x: shared_bytes_per_s(x, 2e10, 0.4),
    "busiest": lambda x: busiest(x, 256, 1.5),
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


RISING = np.geomspace(1, 1e9, 60)
GROWING = sorted(CASES.keys() - {"shared_bytes_per_s"})


@pytest.mark.parametrize("name", GROWING)
def test_more_takes_longer(name):
    assert (np.diff(CASES[name](RISING)) >= 0).all()


@given(st.integers(1, 32768), st.integers(512, 65536), st.integers(512, 65536))
def test_products_are_never_below_the_roofline(tokens, inputs, outputs):
    flops = 2.0 * tokens * inputs * outputs
    moved = inputs * outputs + tokens * inputs + 2.0 * tokens * outputs
    found = float(product_s(tokens, inputs, outputs, **H100))
    roof = float(roof_s(flops, moved, H100["flops_per_s"], H100["bytes_per_s"]))
    assert found >= roof + H100["floor_s"]
    free = dict.fromkeys(("step_s", "floor_s", "staged_bytes"), 0.0)
    assert float(product_s(tokens, inputs, outputs, **(H100 | free))) <= 2**0.5 * roof * (1 + 1e-9)


def test_quantising_reads_and_writes_every_input():
    staged = product_s(1000, 4096, 8192, **H100) - product_s(
        1000, 4096, 8192, **(H100 | {"staged_bytes": 0.0})
    )
    assert float(staged) == pytest.approx(3 * 1000 * 4096 / H100["bytes_per_s"])


@given(st.floats(0, 1e15), st.floats(0, 1e12), st.floats(1e3, 1e5))
def test_attention_is_never_below_the_roofline(flops, moved, fill):
    roof = float(roof_s(flops, moved, 4e14, 3e12))
    for row in (0.0, flops / 1e6):
        assert float(attention_s(flops, row, moved, 4e14, 3e12, fill, 1e-5)) >= roof
    assert float(cached_attention_s(flops, moved, 4e14, 3e12, 1e-5)) >= roof


def test_attention_limits():
    """Many rows run at full rate; a single one takes its share of the busy chip."""
    many = float(attention_s(1e15, 1e6, 0.0, 4e14, 3e12, 2e4, 0.0))
    assert many == pytest.approx(1e15 / 4e14, rel=1e-6)
    alone = float(attention_s(1e6, 1e6, 0.0, 4e14, 3e12, 2e4, 0.0))
    assert alone == pytest.approx(2e4 * 1e6 / 4e14, rel=1e-6)


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


def test_one_rank_has_no_kernel_and_no_latency():
    assert float(kernel_all_reduce_s(1e9, 1, 1e-3, np.inf)) == 0.0
    assert float(library_latency_s(1, 1e-3, 1e-3)) == 0.0
    assert float(pipelined_s(0.0, 1e-3, 1e9)) == 0.0


@given(st.floats(1, 1e9), st.sampled_from([2, 4, 8]))
def test_reductions_are_never_faster_than_the_link(size, ranks):
    moved_s = 2 * (ranks - 1) / ranks * size / 1e11
    assert float(kernel_all_reduce_s(size, ranks, 4e-6, 1e11)) >= moved_s + 4e-6
    piped = float(pipelined_s(2 * (ranks - 1) / ranks * size, 1e-5, 1e11))
    assert moved_s + 1e-5 <= piped * (1 + 1e-12)  # p below 1 costs more than the sum
    assert piped <= 2 ** (1 / 0.6 - 1) * (moved_s + 1e-5) * (1 + 1e-12)


def test_two_shots_pay_where_tensors_are_large():
    once, twice = 4e-6 + 7 * 1e4 / 1e11, 2 * 4e-6 + 1.75 * 1e8 / 1e11
    assert kernel_all_reduce_s([1e4, 1e8], 8, 4e-6, 1e11).tolist() == pytest.approx([once, twice])


@given(st.floats(1e-6, 1.0), st.floats(1, 1e9), st.integers(1, 16))
def test_across_nodes_is_inside_and_outside_overlapped(inside, size, nodes):
    found = float(across_nodes_s(inside, size, 8, nodes, 1e-5, 5e10))
    outside = 1e-5 + 2 * (nodes - 1) / nodes * size / 8 / 5e10 if nodes > 1 else 0.0
    assert max(inside, outside) <= found * (1 + 1e-12)
    assert found <= (inside + outside) * (1 + 1e-12)


@given(st.integers(1, 512), st.integers(2, 512), st.floats(0, 4))
def test_the_busiest_rank_has_between_the_mean_and_all(ranks, experts, spread):
    load = float(busiest(ranks, experts, spread))
    assert 1 <= load <= ranks
    assert float(busiest(1, experts, spread)) == 1.0
    assert float(busiest(ranks, experts, 0.0)) == 1.0


@pytest.mark.parametrize("ranks", [2, 8, 32])
def test_busiest_against_random_placement(ranks):
    """256 experts of log-normal load, dealt out at random: within 8 % of the mean of maxima."""
    random, experts, spread = np.random.default_rng(5), 256, 0.5
    sigma = np.sqrt(np.log1p(spread**2))
    loads = random.lognormal(-(sigma**2) / 2, sigma, (4000, experts))
    loads /= loads.mean(1, keepdims=True)
    dealt = loads.reshape(4000, ranks, experts // ranks).mean(2)
    assert float(busiest(ranks, experts, spread)) == pytest.approx(dealt.max(1).mean(), rel=0.08)


@given(st.floats(1, 1e9), st.floats(1e-3, 1e3), st.floats(0, 1e3))
def test_fitting_sequences_fill_the_capacity_exactly(capacity, mean, spread):
    n = float(sequences_that_fit(capacity, mean, spread, 2.33))
    assert n * mean + 2.33 * np.sqrt(n) * spread == pytest.approx(capacity, rel=1e-6, abs=1e-6)


def test_nothing_fits_in_less_than_nothing():
    assert float(sequences_that_fit(-5.0, 1.0, 0.5, 2.33)) == 0.0
