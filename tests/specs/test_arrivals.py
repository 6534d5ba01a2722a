"""Bursts and profiles: what they say of the rate, against arrivals drawn at random."""

from pathlib import Path

import numpy as np
import pytest

from pdplan.queueing.dispersion import index_of_dispersion
from pdplan.specs.arrivals import Bursts
from pdplan.specs.traffic import traffic
from pdplan.specs.workload import WorkloadSpec


def build(rate=10.0, **keys):
    workload = WorkloadSpec.model_validate({"isl": 100, "osl": 10} | keys)
    return traffic(workload, rate, Path())


def drawn_counts(rng, rate_rps, bursts, window_s, windows):
    """Arrivals in windows that follow each other, of a Poisson process with two rates."""
    calm_s = bursts.length_s * (1 - bursts.share) / bursts.share
    cycles = int(1.5 * window_s * windows / (bursts.length_s + calm_s)) + 10
    stays = np.column_stack(
        [rng.exponential(calm_s, cycles), rng.exponential(bursts.length_s, cycles)]
    ).ravel()
    rates = rate_rps * np.tile([bursts.calm_factor, bursts.factor], cycles)
    times = np.concatenate([[0.0], np.cumsum(stays)])
    expected = np.concatenate([[0.0], np.cumsum(stays * rates)])
    edges = window_s * np.arange(windows + 1)
    assert edges[-1] < times[-1]
    return rng.poisson(np.diff(np.interp(edges, times, expected)))


@pytest.mark.parametrize("window_s", [1.0, 5.0, 100.0])
@pytest.mark.parametrize(("factor", "share"), [(2.0, 0.3), (4.0, 0.25)])
def test_dispersion_is_that_of_arrivals_drawn_at_random(factor, share, window_s):
    bursts = {"factor": factor, "share": share, "length": "2 s"}
    found = build(burst=bursts)
    rng = np.random.default_rng(7)
    counts = drawn_counts(rng, 10.0, Bursts(factor, share, 2.0), window_s, 20_000)
    assert counts.mean() / window_s == pytest.approx(10, rel=0.04)
    expected = index_of_dispersion(window_s, 1.0, found.dispersion, found.dispersion_s)
    assert counts.var() / counts.mean() == pytest.approx(float(expected), rel=0.05)


def test_dispersion_without_bursts_is_that_of_the_gaps():
    found = build(arrival_scv=2.5)
    assert (found.dispersion, found.dispersion_s, found.bursts) == (2.5, 0.0, None)


def test_bursts_keep_the_mean_and_may_leave_silence_between():
    silent = build(burst={"factor": 4.0, "share": 0.25, "length": "30 s"}).bursts
    assert silent.calm_factor == 0
    some = Bursts(3.0, 0.2, 10.0)
    assert some.share * some.factor + (1 - some.share) * some.calm_factor == pytest.approx(1)


def test_a_plan_is_for_the_busiest_slot():
    found = build(profile={"relative": [1, 1, 4, 2]})
    assert (found.rate_rps, found.peak_factor, found.mean_rate_rps) == (20, 2, 10)
    assert build(peak_factor=1.8).rate_rps == 18
    assert build().mean_rate_rps == 10
