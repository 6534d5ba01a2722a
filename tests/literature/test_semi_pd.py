"""Figures of semi-PD (arXiv 2504.19867)."""

import pytest

from pdplan.queueing.compute_share import divided_sojourn_s, least_shares, slowdown
from pdplan.specs.options.sharing import SENSITIVITY

SHARES = [0.8, 0.6, 0.5, 0.4, 0.3, 0.2]
FIT = [1.156, 1.415, 1.622, 1.933, 2.451, 3.488]
"""TPOT over that with all compute units, of the paper's fit .6284 / y + .3818."""


def test_decode_slows_down_as_the_fit_of_figure_10():
    assert slowdown(SHARES, SENSITIVITY["D"]) == pytest.approx(FIT, abs=5e-4)


def test_a_share_of_compute_units_is_no_share_of_bandwidth():
    """In proportion, decode would take twice as long on half the units: 23 % more than it does."""
    proportional = slowdown(SHARES, 1.0)
    assert (abs(proportional / FIT - 1) > 0.08).all()
    assert float(slowdown(0.5, 1.0)) == 2.0


def test_decode_keeps_the_part_that_no_share_changes():
    """The floor of the fit: .3818 / 1.0102 of the latency."""
    assert 1 - SENSITIVITY["D"] == pytest.approx(0.378, abs=5e-4)


def test_waits_of_equations_1_to_3():
    """50 ms of prefill on all units; None: more comes than is served."""
    published = {
        1.0: [62.5, 83.3, 125.0],
        0.6: [125.0, 250.0, None],
        0.4: [250.0, None, None],
    }
    for share, waits in published.items():
        found = divided_sojourn_s(share, [4.0, 8.0, 12.0], 0.05)
        for value, wait in zip(found, waits, strict=True):
            assert value * 1e3 == pytest.approx(float("inf") if wait is None else wait, abs=0.05)


def test_constants_of_the_fit_are_those_of_theory():
    """a1 = 100 l and lambda = 100 r l in percent: w = a1 / (x - lambda)."""
    alone, rate = 0.05, 6.0
    for percent in (40, 60, 90):
        fitted = 100 * alone / (percent - 100 * rate * alone)
        assert float(divided_sojourn_s(percent / 100, rate, alone)) == pytest.approx(fitted)


def test_least_shares_of_the_fits():
    """x = lambda + a1 / (S_p - b1), y = a2 / (S_d - b2), of the normalised fits of figure 10."""
    step, s = 0.6284 + 0.3818, SENSITIVITY["D"]
    x, y = least_shares(
        2.0, 1.5, rate_rps=0.3, prefill_s=0.6809, step_s=step, sensitivity=s, overhead_s=0.022
    )
    assert float(x) == pytest.approx(0.3 * 0.6809 + 0.6809 / (2.0 - 0.022))
    assert float(y) == pytest.approx(0.6284 / (1.5 - 0.3818))
