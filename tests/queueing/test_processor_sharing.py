import heapq
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.queueing import (
    decode_states,
    erlang_c,
    largest_stable_batch,
    tpot_quantile_s,
)

STEPS = {
    "memory_bound": (0.010 + 5e-5 * np.arange(1, 601), 0.3),
    "mixed": (0.010 + 2e-4 * np.arange(1, 601), 0.5),
    "small_batch": (0.010 + 1e-3 * np.arange(1, 401), 0.5),
    "compute_bound": (0.010 + 1e-3 * np.arange(1, 401), 0.7),
}
LENGTH_SCV = {"deterministic": 0.0, "geometric": 1.0}


def simulate(step, arrival_rps, mean_steps, cap, lengths, requests=300_000, seed=3):
    """Per-request TPOT and admission wait; all in service advance on one token clock."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / arrival_rps, requests)).tolist()
    if lengths == "deterministic":
        length = [float(mean_steps)] * requests
    else:
        length = rng.geometric(1 / mean_steps, requests).astype(float).tolist()
    pace = [np.inf, *step.tolist()]
    begun, tpot, wait = [0.0] * requests, np.zeros(requests), np.zeros(requests)
    serving, queue, head, clock, now, i = [], [], 0, 0.0, 0.0, 0
    while i < requests or serving:
        batch = len(serving)
        leaves = now + (serving[0][0] - clock) * pace[batch] if batch else np.inf
        if i < requests and arrivals[i] <= leaves:
            clock += (arrivals[i] - now) / pace[batch]
            now = arrivals[i]
            queue.append(i)
            i += 1
        else:
            now, (clock, done) = leaves, heapq.heappop(serving)
            tpot[done] = (now - begun[done]) / length[done]
        while head < len(queue) and len(serving) < cap:
            job, head = queue[head], head + 1
            begun[job], wait[job] = now, now - arrivals[job]
            heapq.heappush(serving, (clock + length[job], job))
    keep = slice(requests // 10, -requests // 10)
    return tpot[keep], wait[keep]


@pytest.mark.parametrize("lengths", LENGTH_SCV)
@pytest.mark.parametrize("name", STEPS)
def test_tpot_against_simulation(name, lengths):
    step, fraction = STEPS[name]
    rate = fraction / (200 * (step[1] - step[0]))
    measured, _ = simulate(step, rate, 200, step.size, lengths)
    states = decode_states(step, rate, 200, step.size)
    levels = np.array([0.5, 0.9, 0.95, 0.99])
    found = tpot_quantile_s(states, step, levels, LENGTH_SCV[lengths])
    assert states.tpot_mean_s == pytest.approx(measured.mean(), rel=0.01)  # stated in docstring
    expected = np.quantile(measured, levels)
    assert found[:3] == pytest.approx(expected[:3], rel=0.02)  # stated in docstring
    assert found[3] == pytest.approx(expected[3], rel=0.03)


def test_binding_cap_against_simulation():
    step = 0.010 + 2e-4 * np.arange(1, 33)
    rate = 0.9 * 32 / (200 * step[-1])
    tpot, wait = simulate(step, rate, 200, 32, "geometric")
    states = decode_states(step, rate, 200, 32)
    assert states.tpot_mean_s == pytest.approx(tpot.mean(), rel=0.01)
    assert states.wait.probability == pytest.approx((wait > 0).mean(), abs=0.03)
    assert states.wait.mean_s == pytest.approx(wait.mean(), rel=0.15)  # long busy periods


def test_constant_step_is_mmc():
    """A step time that ignores the batch makes the instance an M/M/cap queue."""
    states = decode_states(np.full(20, 0.01), 8.0, 100.0, 10)
    assert states.wait.probability == pytest.approx(erlang_c(10, 8.0), rel=1e-12)
    assert states.wait.tail_mean_s == pytest.approx(1 / (10 - 8), rel=1e-12)
    assert states.mean_batch == pytest.approx(8.0)
    assert states.tpot_mean_s == pytest.approx(0.01)
    assert tpot_quantile_s(states, np.full(20, 0.01), 0.99) == pytest.approx(0.01)


@given(
    rate=st.floats(0, 50),
    base=st.floats(1e-3, 0.1),
    slope=st.floats(0, 0.01),
    cap=st.integers(1, 64),
)
def test_balances(rate, base, slope, cap):
    step = base + slope * np.arange(1, 65)
    states = decode_states(step, rate, 100.0, cap)
    assert states.idle + states.probability.sum() == pytest.approx(1)
    assert states.seen.sum() == pytest.approx(1)
    assert np.all(states.probability[cap:] == 0)
    batch = np.sum(states.probability * np.arange(1, 65))
    assert states.mean_batch == pytest.approx(batch, rel=1e-9, abs=1e-12)  # Little's law
    assert base <= states.tpot_mean_s * (1 + 1e-12)
    assert states.stable == (states.utilization < 1)


def test_limits():
    step = np.linspace(0.01, 0.02, 16)
    idle = decode_states(step, 0.0, 100.0, 16)
    assert (idle.idle, idle.tpot_mean_s, idle.wait.mean_s) == (1.0, step[0], 0.0)
    assert tpot_quantile_s(idle, step, 0.99) == pytest.approx(step[0])
    full = decode_states(step, 100.0, 100.0, 8)
    assert not full.stable
    assert (full.idle, full.mean_batch, full.tpot_mean_s) == (0.0, 8.0, pytest.approx(step[7]))
    assert full.wait.probability == 1
    assert np.isinf(full.wait.tail_mean_s)


def test_percentile_falls_below_the_step_percentile():
    step = 0.01 + 1e-3 * np.arange(1, 101)
    states = decode_states(step, 2.5, 200.0, 100)
    steps = step[np.searchsorted(np.cumsum(states.seen), 0.99)]
    levels = tpot_quantile_s(states, step, [0.5, 0.9, 0.99])
    assert np.all(np.diff(levels) > 0)
    assert states.tpot_mean_s < levels[2] < steps


def test_largest_stable_batch():
    step = np.array([[0.01, 0.02, 0.03], [0.05, 0.06, 0.07], [0.01, 0.03, 0.02]])
    assert largest_stable_batch(step, 0.025).tolist() == [2, 0, 3]
    assert largest_stable_batch(step, [0.03, 0.05, 0.01]).tolist() == [3, 1, 1]


def test_arrays_equal_scalars():
    step = np.linspace(0.01, 0.02, 32) * np.array([[1.0], [2.0]])
    rate, cap = np.array([0.0, 5.0, 400.0]), np.array([[32], [8]])
    states = decode_states(step[:, None, :], rate, 50.0, cap)
    table = tpot_quantile_s(states, step[:, None, :], [0.5, 0.9])
    assert table.shape == (2, 3, 2)
    for i in range(2):
        for j in range(3):
            one = decode_states(step[i], rate[j], 50.0, cap[i, 0])
            assert states.tpot_mean_s[i, j] == pytest.approx(one.tpot_mean_s, rel=1e-13)
            assert states.wait.probability[i, j] == pytest.approx(one.wait.probability)
            assert table[i, j, 1] == pytest.approx(tpot_quantile_s(one, step[i], 0.9))


def test_results_cannot_be_written():
    states = decode_states(np.full(4, 0.01), 1.0, 10.0, 4)
    with pytest.raises(ValueError, match="read-only"):
        states.probability[0] = 1


def test_fast_enough():
    step = 0.01 + 1e-4 * np.arange(1, 513) * np.linspace(1, 2, 2000)[:, None]
    best = np.inf
    for _ in range(3):
        start = perf_counter()
        decode_states(step, 2.0, 200.0, 512)
        best = min(best, perf_counter() - start)
    assert best < 0.25  # about 0.04 s on a laptop core
