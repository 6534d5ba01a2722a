"""Stages on shares of a device: closed forms, and against simulation."""

import numpy as np
import pytest

from pdplan.queueing.compute_share import (
    divided_sojourn_s,
    least_shares,
    passes_busy,
    running_busy,
    slowdown,
)


def test_all_compute_units_slow_nothing():
    assert slowdown(1.0, np.linspace(0, 1, 5)) == pytest.approx(np.ones(5))


def test_no_sensitivity_needs_no_share():
    assert float(slowdown(0.0, 0.0)) == 1.0


def test_least_shares_meet_the_objectives_exactly():
    x, y = least_shares(
        0.4, 0.05, rate_rps=6.0, prefill_s=0.05, step_s=0.03, sensitivity=0.62, overhead_s=0.1
    )
    assert 0.1 + float(divided_sojourn_s(x, 6.0, 0.05)) == pytest.approx(0.4)
    assert 0.03 * float(slowdown(y, 0.62)) == pytest.approx(0.05)


def test_objectives_below_what_no_share_changes_are_out_of_reach():
    x, y = least_shares(
        0.1, 0.01, rate_rps=1.0, prefill_s=0.05, step_s=0.03, sensitivity=0.6, overhead_s=0.1
    )
    assert np.isinf(x)
    assert np.isinf(y)


def simulated(rate, base, work, count=60_000):
    rng = np.random.default_rng(1)
    arrived = np.cumsum(rng.exponential(1 / rate, count))
    i, now, busy = 0, 0.0, 0.0
    while i < count:
        now = max(now, arrived[i])
        taken = max(int(np.searchsorted(arrived, now, side="right")), i + 1)
        length = base + work * (taken - i)
        busy, now, i = busy + length, now + length, taken
    return busy / now


@pytest.mark.parametrize("rate", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("base", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("work", [0.05, 0.2])
def test_busy_share_of_passes_against_simulation(rate, base, work):
    found = float(passes_busy(rate, base, work))
    assert found == pytest.approx(simulated(rate, base, work), rel=0.02)


def test_more_than_can_be_served_is_always_busy():
    assert float(passes_busy(10.0, 0.1, 0.2)) == 1.0


def test_many_running_requests_leave_no_idle_time():
    assert running_busy([0.0, 50.0]) == pytest.approx([0.0, 1.0])
