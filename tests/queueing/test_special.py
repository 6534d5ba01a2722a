"""Normal and gamma probabilities against scipy's."""

import numpy as np
from scipy import special

from pdplan.queueing.special import gamma_tail, normal_cdf


def test_normal():
    z = np.linspace(-40, 40, 10_001)
    assert np.abs(normal_cdf(z) - special.ndtr(z)).max() < 1e-7


def test_gamma():
    shape, mean = np.meshgrid(np.geomspace(1, 1000, 50), np.r_[1e-6, np.linspace(0.01, 4, 500), 90])
    x = shape * mean
    tail, term = gamma_tail(shape, x)
    assert np.abs(tail - special.gammaincc(shape, x)).max() < 6e-5
    exact = np.exp(shape * np.log(x) - x - special.gammaln(shape + 1))
    assert np.abs(term - exact).max() < 1e-5
    tail, term = gamma_tail(np.ones(1), np.zeros(1))
    assert abs(tail[0] - 1) < 1e-5
    assert term[0] < 1e-5
