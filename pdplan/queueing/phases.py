"""The sum of independent atom-plus-exponential waits as one chain of exponential phases.

Sort the rates mu_1 <= ... <= mu_K. The sum starts in phase j with probability e_j (or is zero,
with e_{K+1}) and runs through phases j..K in order: Cumani's canonical form. All e_j are
positive, and so are the phase occupancies, which are divided differences of the exponential:

P(in phase l at t | start j) = (-1)^(l-j) mu_j ... mu_{l-1} exp(-t x)[x = mu_j, ..., mu_l].

No term cancels another, so equal and nearly equal means need no special case.

Source: Cumani, Microelectronics and Reliability 22 (1982) 583-602; McCurdy, Ng and Parlett,
Mathematics of Computation 43 (1984) 501-528 (divided differences of the exponential).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import factorial

import numpy as np
from numpy.typing import NDArray

from pdplan.queueing.erlang import FloatArray

SERIES_TERMS = 19
"""Terms of the divided-difference series: what is left out is below 1e-17 for a spread up to 1."""
INVERSE_FACTORIALS = np.array([1 / factorial(n) for n in range(SERIES_TERMS + 64)])
APART = 4.0
"""Between the means that stand for waits that nobody meets: any do, these are seldom close."""
SPENT = 150.0
"""After so many of the slowest mean, fewer than 1e-50 are left of a chain of 10 phases."""
TINY = 1e-280
LONGEST = 1e20
"""Shortest mean and longest time [s] that are told apart from none and for ever."""


@dataclass(frozen=True, slots=True)
class PhaseChain:
    """Chain of phases, slowest first; the first axis is the phases', then come the caller's.

    Attributes
    ----------
    entry
        e_1..e_K and the atom e_{K+1} [-].
    means_s
        Mean time in each phase [s], falling.
    probabilities
        Waiting probability that belongs to each phase [-].
    finished
        Probability that no endless wait was drawn [-].
    """

    entry: FloatArray
    means_s: FloatArray
    probabilities: FloatArray
    finished: FloatArray

    def time_bound_s(self, late: FloatArray) -> FloatArray:
        """Time t [s] with P(sum > t | no endless wait) <= late, by the union bound."""
        waits = self.probabilities > 0
        share = len(self.means_s) * np.where(waits, self.probabilities, 1.0)
        with np.errstate(divide="ignore"):
            terms = self.means_s * np.maximum(np.log(share) - np.log(late), 0.0)
        return np.asarray(np.where(waits, terms, 0.0).sum(axis=0))


def phase_chain(
    probabilities: FloatArray, tail_means_s: FloatArray, follows: tuple[bool, ...] = ()
) -> PhaseChain:
    """Canonical chain of the sum of K waits.

    A slow phase i in front of a chain that skips the faster phase l obeys
    {i} = r {l} + (1 - r) {i, l},  r = mu_i / mu_l,  which inserts every skipped phase.
    Where a wait follows another, the chain is the mixture of that with and without both.

    Parameters
    ----------
    probabilities
        p_k [-], shape [..., K].
    tail_means_s
        m_k [s], shape [..., K]; 0 is no wait, inf one that never ends.
    follows
        For each wait whether it happens only if the one before it does, with a probability over
        all of at most that one's; of all others it is independent.

    Examples
    --------
    >>> chain = phase_chain(np.array([0.5, 0.5]), np.array([1.0, 2.0]))
    >>> [float(e) for e in chain.entry]
    [0.375, 0.375, 0.25]
    >>> chain = phase_chain(np.array([0.5, 0.5]), np.array([1.0, 2.0]), (False, True))
    >>> [float(e) for e in chain.entry]
    [0.5, 0.0, 0.5]
    """
    chance, mean = np.broadcast_arrays(probabilities, tail_means_s)
    endless = np.isinf(mean)
    ends = np.where(endless, 1 - chance, 1.0)
    if any(follows):
        later = np.array([*follows, *[False] * (mean.shape[-1] - len(follows))])
        ends = np.where(later & np.roll(endless & (chance > 0), 1, axis=-1), 1.0, ends)
    finished = np.prod(ends, axis=-1)
    active = (chance > 0) & (mean > 0) & ~endless
    fastest = np.min(np.where(active, mean, np.inf), axis=-1, keepdims=True)
    fastest = np.where(np.isfinite(fastest), fastest, 1.0)
    filler = np.maximum(fastest / APART ** np.arange(1, mean.shape[-1] + 1), TINY)
    chance, mean = np.where(active, chance, 0.0), np.where(active, mean, filler)
    order = np.argsort(-mean, axis=-1, kind="stable")
    m = _sorted(mean, order)
    weight, branch = _branches(chance, follows)
    entry = np.sum(weight * _entries(_sorted(branch, order), m), axis=1)
    return PhaseChain(entry, m, _sorted(chance, order), finished)


def _sorted(values: FloatArray, order: NDArray[np.int64]) -> FloatArray:
    """Values [..., K] of waits in the order of phases, which become the first axis."""
    places = np.broadcast_to(order, values.shape)
    return np.moveaxis(np.take_along_axis(values, places, axis=-1), -1, 0)


def _branches(chance: FloatArray, follows: tuple[bool, ...]) -> tuple[FloatArray, FloatArray]:
    """Shares [B, ...] and probabilities [B, ..., K] of cases in which all waits are independent."""
    pairs = [k for k, later in enumerate(follows) if later]
    weight = np.ones((2 ** len(pairs), *chance.shape[:-1]))
    branch = np.repeat(chance[None], len(weight), axis=0)
    for case, met in enumerate(product((False, True), repeat=len(pairs))):
        for k, first in zip(pairs, met, strict=True):
            before = chance[..., k - 1]
            weight[case] *= before if first else 1 - before
            branch[case, ..., k - 1] = float(first)
            share = np.minimum(chance[..., k] / np.where(before > 0, before, 1.0), 1.0)
            branch[case, ..., k] = share if first else 0.0
    return weight, branch


def _entries(p: FloatArray, m: FloatArray) -> FloatArray:
    """Entry probabilities of the sum of independent waits, slowest first.

    p [K, B, ...], m [K, ...].
    """
    size = len(m)
    entry = np.zeros((size + 1, *p.shape[1:]))
    entry[size] = 1.0
    for i in reversed(range(size)):
        moved = np.zeros(p.shape[1:])
        before = p[i] * entry
        entry *= 1 - p[i]
        for j in range(size, i + 1, -1):
            moved = moved + before[j]
            entry[j - 1] += moved * (m[j - 1] / m[i])
            moved = moved * ((m[i] - m[j - 1]) / m[i])
        entry[i] = moved + before[i + 1]
    return entry


def phase_survival(t: FloatArray, chain: PhaseChain) -> tuple[FloatArray, FloatArray]:
    """P(sum > t) and the density of the sum at t [1/s]; t [s] broadcasts with the chain.

    Examples
    --------
    >>> chain = phase_chain(np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    >>> late, density = phase_survival(np.array(1.0), chain)  # Erlang-2 at 1: 2/e and 1/e
    >>> round(float(late), 12), round(float(density), 12)
    (0.735758882343, 0.367879441171)
    """
    time = np.asarray(t, dtype=np.float64)
    shape = np.broadcast_shapes(time.shape, chain.finished.shape)
    begun = np.broadcast_to((time >= 0) & (time <= SPENT * chain.means_s[0]), shape)
    elapsed = np.minimum(np.broadcast_to(time, shape)[begun], LONGEST)
    entry, mean = (_over(values, shape)[:, begun] for values in (chain.entry, chain.means_s))
    finished = np.broadcast_to(chain.finished, shape)[begun]
    with np.errstate(over="ignore"):
        ages = np.minimum(elapsed / np.maximum(mean, TINY), 1e18)
    ages = np.ascontiguousarray(ages)
    occupancy = _occupancy(ages, entry)
    late = np.broadcast_to(np.where(time >= 0, 1 - chain.finished, 1.0), shape).copy()
    density = np.zeros(shape)
    survival = np.minimum(occupancy.sum(axis=0), 1.0)
    late[begun] = 1 - finished + finished * survival
    density[begun] = finished * occupancy[-1] / mean[-1]
    return late, density


def _over(values: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Values [K, ...] with every other axis broadcast to a shape."""
    filled = len(shape) - (values.ndim - 1)
    whole = values.reshape(len(values), *[1] * filled, *values.shape[1:])
    return np.broadcast_to(whole, (len(values), *shape))


def _occupancy(ages: FloatArray, entry: FloatArray) -> FloatArray:
    """Probability of each phase [K, N] at ages t mu_j [K, N], rising."""
    size, count = ages.shape
    rows, product = np.exp(-ages), np.ones(ages.shape)
    occupancy = entry[:size] * rows
    series = _Series(ages)
    for width in range(1, size):
        spread = ages[width:] - ages[:-width]
        close = spread < 1
        rows = (rows[:-1] - rows[1:]) / np.where(close, 1.0, spread)
        series.widen(width, close)
        rows.ravel()[series.near - width * count] = series.values(width)
        product = product[:-1] * ages[width - 1 : -1]
        occupancy[width:] += entry[: size - width] * product * rows
    return occupancy


class _Series:
    """|exp(-x)[nodes]| of nodes closer than 1, where the quotient of differences would cancel.

    exp(-z) sum_n h_n(z - nodes) / (n + w)!  for w + 1 nodes, the last z: no term is negative.
    h_n, the complete homogeneous symmetric polynomials, have the generating function
    prod 1 / (1 - y v) over y = z - node, and 1 / (1 - y v) = (1 + y v) (1 + (y v)^2) (1 + (y v)^4)
    and so on; a wider set of nodes with the same last one has one more factor.
    """

    def __init__(self, ages: FloatArray) -> None:
        self.ages, self.count = ages.ravel(), ages.shape[1]
        self.near = np.arange(self.count, self.ages.size)
        """Last nodes of the sets that are close, as places in the ages."""
        self.homogeneous = np.zeros((SERIES_TERMS, 0))

    def widen(self, width: int, close: NDArray[np.bool_]) -> None:
        """Take in the node before the first of each set, and keep those that are close."""
        kept = self.near >= width * self.count
        kept[kept] = close.ravel()[self.near[kept] - width * self.count]
        self.near = self.near[kept]
        apart = self.ages[self.near] - self.ages[self.near - width * self.count]
        if width == 1:
            self.homogeneous = np.ones((SERIES_TERMS, len(apart)))
            self.homogeneous[1:] = apart
            np.multiply.accumulate(self.homogeneous, axis=0, out=self.homogeneous)
            return
        self.homogeneous = self.homogeneous[:, kept]
        shift = 1
        while shift < SERIES_TERMS and apart.any():
            self.homogeneous[shift:] += apart * self.homogeneous[:-shift]
            apart, shift = apart**2, 2 * shift

    def values(self, width: int) -> FloatArray:
        """Divided differences of the sets."""
        return np.asarray(
            np.exp(-self.ages[self.near])
            * (INVERSE_FACTORIALS[width : width + SERIES_TERMS] @ self.homogeneous)
        )
