"""Rounds with an overhead and a budget: exact limits, and the chain of rounds simulated."""

import numpy as np
import pytest

from pdplan.queueing import (
    PromptMoments,
    company_within,
    mg1_wait,
    pass_spread,
    passes_rps,
    room_after,
    rounds,
    saturated_shares,
)
from pdplan.queueing.gated import gated_steps

ONE = np.ones(1)


def equal(work_s, fill, takes=1.0):
    return PromptMoments.of([[work_s]], [[fill]], [[takes]], [1.0])


@pytest.mark.parametrize("busy", [0.1, 0.5, 0.9])
def test_tiny_prompts_are_served_in_gated_rounds(busy):
    c, work = 0.01, 0.02
    rate = busy / work
    found = rounds(equal(work, 1e-9), rate * ONE, c * ONE, (1 - busy) / c * ONE)
    gated = gated_steps(c, work, rate)
    assert found.residual_s[0] == pytest.approx(float(gated.residual_s), rel=1e-6)
    # What came before within the same round: as much as will come after.
    assert found.delay_s[0] == pytest.approx(float(gated.residual_s) * (1 + busy), rel=1e-6)


@pytest.mark.parametrize("servers", [1, 4])
def test_rounds_of_one_prompt_without_vacations_are_a_plain_queue(servers):
    c, work, rate = 0.3, 0.2, 1.2  # per server
    found = rounds(
        equal(work, 1.0), rate * ONE, c * ONE, rate * ONE, spread=0 * ONE, running=0.0,
        servers=servers,
    )  # fmt: skip
    assert found.utilization[0] == pytest.approx(0.6)
    if servers == 1:
        assert found.delay_s[0] == pytest.approx(float(mg1_wait(rate, 0.5, 0.0).mean_s))
    else:
        assert found.delay_s[0] < float(mg1_wait(rate, 0.5, 0.0).mean_s) / 3


def chain(busy, load, fill, exponential, chains=600, steps=700):
    """Residual and square mean of rounds of unit overhead by simulation of the chain."""
    random = np.random.default_rng(5)
    full, rate = busy / load, load / fill
    present, total, square, served = np.zeros(chains), 0.0, 0.0, 0.0
    for i in range(steps):
        taken = np.minimum(present, 1)
        length = 1 + full * taken
        if i > steps // 5:
            total, square = total + length.sum(), square + (length**2).sum()
            served += (taken**2).sum()
        came = random.poisson(rate * length)
        new = (
            random.gamma(np.maximum(came, 1e-9), fill) * (came > 0) if exponential else came * fill
        )
        present = np.maximum(present - 1, 0) + new
    return square / total / 2, served / chains / (steps - 1 - steps // 5)


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize(("busy", "load"), [(0.1, 0.6), (0.3, 0.3), (0.6, 0.1), (0.6, 0.25)])
@pytest.mark.parametrize("fill", [0.05, 0.3, 0.7, 1.3])
def test_square_means_are_those_of_the_chain(fill, busy, load, exponential):
    full, rate = busy / load, load / fill
    values = fill * -np.log1p(-(np.arange(400) + 0.5) / 400) if exponential else np.array([fill])
    weight = np.full(len(values), 1 / len(values))
    prompts = PromptMoments.of([values * full], [values], [np.ceil(values)], weight)
    found = rounds(prompts, rate * ONE, ONE, (1 - busy) * ONE)
    residual, square = chain(busy, load, fill, exponential)
    assert found.residual_s[0] == pytest.approx(residual, rel=0.05)
    assert found.square_fill[0] == pytest.approx(square, abs=0.02)


@pytest.mark.parametrize("ahead", [1e-6, 0.2, 3.0])
@pytest.mark.parametrize("fill", [0.3, 1.0, 2.4])
def test_room_by_integration(fill, ahead):
    behind = 0.6
    front = -ahead / behind * np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    waited = np.mean(np.ceil(front + fill) - front - fill)
    left = np.ceil(fill) - fill
    found = room_after(fill * ONE, ONE, ahead * ONE, behind * ONE)
    assert found[0] == pytest.approx((1 - behind) * left + behind * waited, abs=2e-3)


def test_a_prompt_takes_the_rounds_it_needs_at_least():
    assert room_after(0.6 * ONE, 2 * ONE, 1e-9 * ONE, 1e-9 * ONE)[0] == pytest.approx(1.4)


@pytest.mark.parametrize("scv", [0.125, 0.25, 0.5, 4.0])
@pytest.mark.parametrize("time", [0.2, 1.0, 4.0])
def test_company_is_that_of_renewal_arrivals(time, scv):
    random = np.random.default_rng(2)
    shape = (40_000, 40)
    if scv < 1:
        gaps = random.gamma(1 / scv, scv, shape)
    else:
        p = (1 + np.sqrt((scv - 1) / (scv + 1))) / 2
        first = random.random(shape) < p
        gaps = random.exponential(1.0, shape) / (2 * np.where(first, p, 1 - p))
    came = (np.cumsum(gaps, axis=1) < time).sum(1).mean()
    assert time * company_within(time, scv) == pytest.approx(came, abs=0.07)


def test_dispersed_moments_are_those_of_batches():
    # Twins: one arrival of twice the work at half the rate, seen as an excess dispersion of 1.
    single, twins = equal(1.0, 0.5), equal(2.0, 1.0)
    found = single.dispersed(ONE)
    assert (found.ww[0], found.wf[0], found.ff[0]) == (twins.ww[0] / 2, 1.0, 0.5)
    assert found.www[0] == pytest.approx(twins.www[0] / 2)
    same = single.dispersed(0 * ONE)
    assert same.ww[0] == single.ww[0]


def test_passes_of_lone_prompts_and_of_crowds():
    step = np.full((1, 4), 0.01)
    few = passes_rps(equal(0.02, 0.1), 0.01 * ONE, 0.01 * ONE, step, 1.0, 4)
    assert few[0] == pytest.approx(0.01, rel=0.01)
    # Passes of hardly any length: one for all that came in each decode step.
    many = passes_rps(equal(1e-6, 1e-6), 500.0 * ONE, 1e-9 * ONE, step, 1e-9, 4)
    assert many[0] == pytest.approx(100 * -np.expm1(-5.0), rel=0.01)
    full = passes_rps(equal(1e-4, 0.5), 5000.0 * ONE, 1e-4 * ONE, step, 1.0, 4)
    assert full[0] == pytest.approx(2500.0)  # never less than the budget allows
    assert pass_spread(equal(1.0, 0.5), ONE, ONE)[0] == 0.0


def test_a_full_batch_lets_in_as_many_as_it_frees():
    step = np.full((1, 100), 0.02)
    passing, decoding = saturated_shares(equal(0.1, 0.01), ONE, 0.05 * ONE, step, 10.0, 100)
    # 10 places a step are filled by one pass of 10 prompts.
    assert passing[0] == pytest.approx(0.1 + 0.005)
    assert decoding[0] == pytest.approx(10 * 0.02 / 100)
