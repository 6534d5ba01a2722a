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

import numpy as np

from pdplan.queueing.erlang import FloatArray

SERIES_TERMS = 15
"""Terms of the divided-difference series: below 1e-17 of the first for a spread up to 1."""


@dataclass(frozen=True, slots=True)
class PhaseChain:
    """Chain of phases, slowest first; every array has the caller's leading axes.

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

    entry: tuple[FloatArray, ...]
    means_s: tuple[FloatArray, ...]
    probabilities: tuple[FloatArray, ...]
    finished: FloatArray

    def time_bound_s(self, late: FloatArray) -> FloatArray:
        """Time t [s] with P(sum > t | no endless wait) <= late, by the union bound."""
        bound = np.zeros(np.broadcast_shapes(np.shape(late), np.shape(self.finished)))
        for probability, mean in zip(self.probabilities, self.means_s, strict=True):
            waits = probability > 0
            share = len(self.means_s) * np.where(waits, probability, 1.0)
            with np.errstate(divide="ignore"):
                term = mean * np.maximum(np.log(share) - np.log(late), 0.0)
            bound = bound + np.where(waits, term, 0.0)
        return bound


def phase_chain(probabilities: FloatArray, tail_means_s: FloatArray) -> PhaseChain:
    """Canonical chain of the sum of K waits.

    A slow phase i in front of a chain that skips the faster phase l obeys
    {i} = r {l} + (1 - r) {i, l},  r = mu_i / mu_l,  which inserts every skipped phase.

    Parameters
    ----------
    probabilities
        p_k [-], shape [..., K].
    tail_means_s
        m_k [s], shape [..., K]; 0 is no wait, inf one that never ends.

    Examples
    --------
    >>> chain = phase_chain(np.array([0.5, 0.5]), np.array([1.0, 2.0]))
    >>> [float(e) for e in chain.entry]
    [0.375, 0.375, 0.25]
    """
    chance, mean = np.broadcast_arrays(probabilities, tail_means_s)
    endless = np.isinf(mean)
    finished = np.prod(np.where(endless, 1 - chance, 1.0), axis=-1)
    active = (chance > 0) & (mean > 0) & ~endless
    slowest = np.max(np.where(active, mean, 0.0), axis=-1, keepdims=True)
    filler = np.where(slowest > 0, slowest, 1.0)
    chance, mean = np.where(active, chance, 0.0), np.where(active, mean, filler)
    order = np.argsort(-mean, axis=-1, kind="stable")
    size = mean.shape[-1]
    p = [np.take_along_axis(chance, order, axis=-1)[..., k] for k in range(size)]
    m = [np.take_along_axis(mean, order, axis=-1)[..., k] for k in range(size)]

    entry: list[FloatArray] = [np.zeros(finished.shape)] * size + [np.ones(finished.shape)]
    for i in reversed(range(size)):
        moved = np.zeros(finished.shape)
        after = [(1 - p[i]) * e for e in entry]
        for j in range(size, i, -1):
            moved = moved + p[i] * entry[j]
            if j - 1 > i:
                after[j - 1] = after[j - 1] + moved * (m[j - 1] / m[i])
                moved = moved * ((m[i] - m[j - 1]) / m[i])
        after[i] = moved
        entry = after
    return PhaseChain(tuple(entry), tuple(m), tuple(p), finished)


def phase_survival(t: FloatArray, chain: PhaseChain) -> tuple[FloatArray, FloatArray]:
    """P(sum > t) and the density of the sum at t [1/s]; t [s] broadcasts with the chain.

    Examples
    --------
    >>> chain = phase_chain(np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    >>> late, density = phase_survival(np.array(1.0), chain)  # Erlang-2 at 1: 2/e and 1/e
    >>> round(float(late), 12), round(float(density), 12)
    (0.735758882343, 0.367879441171)
    """
    elapsed = np.maximum(t, 0.0)
    ages = np.broadcast_arrays(*(np.minimum(elapsed / mean, 1e18) for mean in chain.means_s))
    size = len(ages)
    rows: list[FloatArray] = [np.exp(-age) for age in ages]
    product: list[FloatArray] = [np.ones(ages[0].shape) for _ in ages]
    occupancy = [chain.entry[phase] * rows[phase] for phase in range(size)]
    for width in range(1, size):
        for first in range(size - width):
            last = first + width
            rows[first] = _divided_difference(ages[first : last + 1], rows[first], rows[first + 1])
            product[first] = product[first] * ages[last - 1]
            reached = chain.entry[first] * product[first] * rows[first]
            occupancy[last] = occupancy[last] + reached
    survival = np.clip(sum(occupancy[1:], start=occupancy[0]), 0.0, 1.0)
    started = np.asarray(t) >= 0
    late = np.where(started, 1 - chain.finished + chain.finished * survival, 1.0)
    density = np.where(started, chain.finished * occupancy[-1] / chain.means_s[-1], 0.0)
    return late, density


def _divided_difference(
    nodes: list[FloatArray] | tuple[FloatArray, ...], left: FloatArray, right: FloatArray
) -> FloatArray:
    """|exp(-x)[nodes]|, nodes rising, from those without the last (left) and the first (right).

    Nodes closer than 1 use the series e^-c sum_n (-1)^n h_n(nodes - c) / (n + k)!, with h_n the
    complete homogeneous symmetric polynomials: there the quotient would cancel.
    """
    spread = np.asarray(nodes[-1] - nodes[0])
    close = spread < 1
    result = np.asarray((left - right) / np.where(close, 1.0, spread))
    if not np.any(close):
        return result
    near = [node[close] for node in nodes]
    centre = (near[0] + near[-1]) / 2
    homogeneous = [np.ones(centre.shape)] + [np.zeros(centre.shape)] * (SERIES_TERMS - 1)
    for node in near:
        shift = centre - node
        for n in range(1, SERIES_TERMS):
            homogeneous[n] = homogeneous[n] + shift * homogeneous[n - 1]
    factorial = np.cumprod(np.arange(1.0, SERIES_TERMS + len(nodes)))[len(nodes) - 2 :]
    series = sum((h / f for h, f in zip(homogeneous, factorial, strict=False)), start=0.0 * centre)
    result[close] = np.exp(-centre) * series
    return result
