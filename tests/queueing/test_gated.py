"""Gated steps against a simulation, which is exact up to its noise; batches by enumeration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.queueing.gated import gated_steps, together_s

BASE_S = 0.01
CHAINS, STEPS, FIRST = 1000, 1000, 60


def simulate(added_s, arrival_rps, clump, seed=3):
    """Mean step, and mean time from an arrival to the end of the step that it falls into.

    Poisson arrivals are spread evenly over the step in which they come.
    """
    random = np.random.default_rng(seed)
    step = np.full(CHAINS, BASE_S)
    total, left, arrived = 0.0, 0.0, 0
    for i in range(STEPS):
        came = clump * random.poisson(arrival_rps / clump * step)
        if i >= FIRST:
            total += step.sum()
            left += (came * step / 2).sum()
            arrived += came.sum()
        step = BASE_S + added_s * came
    return total / CHAINS / (STEPS - FIRST), left / arrived


@pytest.mark.parametrize("clump", [1, 3])
@pytest.mark.parametrize("added_s", [0.004, 0.03])
@pytest.mark.parametrize("load", [0.1, 0.3, 0.5, 0.8])
def test_gated_steps_against_simulation(load, added_s, clump):
    rate = load / added_s
    found = gated_steps(BASE_S, added_s, rate, clump)
    mean, residual = simulate(added_s, rate, clump)
    # The moments are exact; 2 and 4 % are noise of a million steps, which grows with the load.
    assert float(found.mean_s) == pytest.approx(mean, rel=0.02)
    assert float(found.residual_s) == pytest.approx(residual, rel=0.04)


def test_gated_steps_limits():
    idle = gated_steps(BASE_S, 0.03, 0.0)
    assert float(idle.mean_s) == float(idle.seen_s) == BASE_S
    free = gated_steps(BASE_S, 0.0, 1e3)
    assert float(free.seen_s) == BASE_S
    loaded = gated_steps(BASE_S, 0.03, np.linspace(0, 33, 50))
    assert (np.diff(loaded.mean_s) > 0).all()
    assert (np.diff(loaded.seen_s) > 0).all()
    assert (loaded.seen_s >= loaded.mean_s).all()
    assert np.isfinite(gated_steps(BASE_S, 0.03, 1e9).seen_s)


@given(st.floats(0, 30), st.floats(1, 8))
def test_prompts_that_clump_see_longer_steps(rate, clump):
    alone, clumped = gated_steps(BASE_S, 0.03, rate), gated_steps(BASE_S, 0.03, rate, clump)
    assert float(clumped.mean_s) == float(alone.mean_s)
    assert float(clumped.seen_s) >= float(alone.seen_s)


def enumerated(count, batch):
    """Mean completion time of unit jobs, each at the end of its batch."""
    return np.mean([min(count, batch * -(-job // batch)) for job in range(1, count + 1)])


@pytest.mark.parametrize("batch", [1, 2, 7, 16])
def test_together_is_exact_for_full_batches(batch):
    for batches in (1, 2, 5, 20):
        count = batches * batch
        assert float(together_s(2.0, count, batch)) == pytest.approx(2 * enumerated(count, batch))


@given(st.integers(1, 400), st.integers(1, 64))
def test_together_against_enumeration(count, batch):
    """A last batch that is not full: at most 8 % too long, just beyond one batch; never short."""
    found, exact = float(together_s(1.0, count, batch)), enumerated(count, batch)
    assert exact * (1 - 1e-12) <= found <= 1.08 * exact
