"""Normal and gamma probabilities in numpy: importing scipy would take longer than most answers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray

NORMAL = (0.2316419, 0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)
NEAR = 0.03
"""Distance from the mean over the mean at which a series takes over."""


def normal_cdf(z: ArrayLike) -> FloatArray:
    """P(Z <= z) of the standard normal distribution [-].

    Notes
    -----
    *Error* below 1e-7. *Source*: Abramowitz & Stegun, Handbook of Mathematical Functions (1964),
    26.2.17.

    Examples
    --------
    >>> normal_cdf([-40.0, 0.0, 1.0]).round(4).tolist()
    [0.0, 0.5, 0.8413]
    """
    z = np.asarray(z, dtype=np.float64)
    beyond = _mills(np.abs(z)) * np.exp(-np.minimum(z * z / 2, 700.0))
    return np.asarray(np.where(z > 0, 1 - beyond, beyond))


def _mills(z: FloatArray) -> FloatArray:
    """P(Z > z) exp(z^2 / 2) for z >= 0."""
    p, *terms = NORMAL
    t = 1 / (1 + p * z)
    total = np.zeros_like(t)
    for term in reversed(terms):
        total = (total + term) * t
    return total / math.sqrt(2 * math.pi)


def gamma_tail(shape: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """P(G > x) of a gamma variable of a shape a and scale 1, and x^a e^-x / Gamma(a + 1).

    The tail of shape b = a + 4 by its uniform expansion, and down from there by Q(a, x) =
    Q(a + 1, x) - x^a e^-x / Gamma(a + 1). With h the root of 2 (x/b - 1 - ln x/b) signed as x - b:
    Q(b, x) = P(Z > h sqrt(b)) + e^(-b h^2 / 2) / sqrt(2 pi b) (1 / (x/b - 1) - 1 / h).

    Notes
    -----
    *Valid for* a >= 1 and x >= 0.
    *Error* of the tail below 6e-5, of the other 1e-5 (`test_special`).
    *Source*: Temme, SIAM J. Math. Anal. 10 (1979) 757-766, first term.

    Examples
    --------
    >>> tail, term = gamma_tail(np.array(1.0), np.array(2.0))  # e^-2 and 2 e^-2
    >>> float(tail.round(3)), float(term.round(3))
    (0.135, 0.271)
    """
    b = shape + 4.0
    x = np.maximum(x, 1e-9)
    off = x / b - 1
    half = np.maximum(off - np.log(x / b), 0.0)
    h = np.copysign(np.sqrt(2 * half), off)
    falls = np.exp(-np.minimum(b * half, 700.0))
    root = np.sqrt(b)
    beyond = _mills(np.abs(h) * root) * falls
    beyond = np.where(h > 0, beyond, 1 - beyond)
    near = np.abs(off) < NEAR
    safe_off, safe_h = np.where(near, 1.0, off), np.where(near, 1.0, h)
    series = -1 / 3 + h * (1 / 12 - h * (2 / 135 - h / 864))
    term = falls / (math.sqrt(2 * math.pi) * root)
    beyond = beyond + term * np.where(near, series, 1 / safe_off - 1 / safe_h)
    term = term / (1 + 1 / (12 * b) + 1 / (288 * b * b))
    for step in range(4):
        term = term * ((b - step) / x)
        beyond = beyond - term
    return np.clip(beyond, 0.0, 1.0), term
