"""Sums of independent waits and deterministic services: latency percentiles in closed form.

A request of kind s (a support point of the workload) takes offset o_s [s] of pure service plus
waits W_1 + ... + W_K, each zero or, with probability p_k, exponential of mean m_k. They are
independent, but for those marked in `follows`: they happen only if the one before them does (its
second phase; p_k is over all requests either way). Percentiles do not add; distributions convolve.
`phases.py` holds the distribution of the sum of waits.

Shapes: weights and offsets [..., S]; probabilities and tail means [..., K], or [..., S, K] (one
axis more than the offsets) when the waits depend on the support point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdplan.queueing.erlang import FloatArray
from pdplan.queueing.phases import PhaseChain, phase_chain, phase_survival

Late: TypeAlias = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Survival function and density [1/s] at an array of times [s]."""

ROUNDING = 1e-14
NEVER = 1e-16
"""Probability of a wait that nobody meets."""
TINY = 1e-300
QUADRATIC = 1e-8
"""Relative Newton step after which the error is its square."""


def wait_sum_cdf(
    t: ArrayLike, probabilities: ArrayLike, tail_means: ArrayLike, follows: tuple[bool, ...] = ()
) -> FloatArray:
    """P(W_1 + ... + W_K <= t) for independent atom-plus-exponential waits.

    Parameters
    ----------
    t
        Time [s], shape [...]; negative gives 0.
    probabilities
        p_k [-], shape [..., K].
    tail_means
        m_k [s], shape [..., K]; 0 is no wait, inf a wait that never ends.

    Notes
    -----
    *Valid for* K <= 4 tested; absolute error < 1e-12, means equal, nearly equal or decades apart.
    *Source*: Cumani, Microelectronics and Reliability 22 (1982) 583-602; see `phases.py`.

    Examples
    --------
    >>> round(float(wait_sum_cdf(1.0, [1.0, 1.0], [1.0, 1.0])), 6)  # Erlang-2: 1 - 2/e
    0.264241
    """
    time = np.asarray(t, dtype=np.float64)
    chain = phase_chain(
        np.asarray(probabilities, np.float64), np.asarray(tail_means, np.float64), follows
    )
    late, _ = phase_survival(time, chain)
    cdf: FloatArray = (1 - late)[()]
    return cdf


def sojourn_cdf(
    t: ArrayLike,
    weights: ArrayLike,
    offsets_s: ArrayLike,
    probabilities: ArrayLike,
    tail_means: ArrayLike,
    follows: tuple[bool, ...] = (),
) -> FloatArray:
    """P(latency <= t) over a weighted set of support points.

    sum_s weights_s P(W_1 + ... + W_K <= t - o_s)

    Parameters
    ----------
    t
        Time [s], shape [...].
    weights
        Share of each support point [-], shape [..., S], summing to 1.
    offsets_s
        o_s [s], shape [..., S].
    probabilities
        p_k [-], shape [..., K] or [..., S, K].
    tail_means
        m_k [s], like probabilities.

    Notes
    -----
    *Valid for* independent waits, independent of the request's own service. *Limits*: a wait that
    never ends leaves its share incomplete for every t.
    *Source*: total probability over the support points.

    Examples
    --------
    >>> round(float(sojourn_cdf(2.0, [0.5, 0.5], [1.0, 3.0], [0.5], [1.0])), 6)
    0.40803
    """
    share, offset, chain = _latency_terms(weights, offsets_s, probabilities, tail_means, follows)
    time = np.asarray(t, dtype=np.float64)[..., None]
    late, _ = phase_survival(time - offset, chain)
    cdf: FloatArray = np.sum(share * (1 - late), axis=-1)[()]
    return cdf


def sojourn_mean_s(
    weights: ArrayLike, offsets_s: ArrayLike, probabilities: ArrayLike, tail_means: ArrayLike
) -> FloatArray:
    """Mean latency: sum_s weights_s (o_s + sum_k p_k m_k).

    Parameters
    ----------
    weights
        Share of each support point [-], shape [..., S].
    offsets_s
        o_s [s], shape [..., S].
    probabilities
        p_k [-], shape [..., K] or [..., S, K].
    tail_means
        m_k [s], like probabilities.

    Notes
    -----
    *Valid for* any waits, dependent or not. *Source*: linearity of the mean.

    Examples
    --------
    >>> float(sojourn_mean_s([0.5, 0.5], [1.0, 3.0], [0.5], [1.0]))
    2.5
    """
    share, offset = (np.asarray(x, dtype=np.float64) for x in (weights, offsets_s))
    waiting, tail = _per_support_point(share, offset, probabilities, tail_means)
    wait = np.sum(waiting * np.where(waiting > 0, tail, 0.0), axis=-1)
    counts = share > 0
    mean: FloatArray = np.sum(
        np.where(counts, share, 0.0) * np.where(counts, offset + wait, 0.0), axis=-1
    )[()]
    return mean


def sojourn_quantile_s(
    levels: ArrayLike,
    weights: ArrayLike,
    offsets_s: ArrayLike,
    probabilities: ArrayLike,
    tail_means: ArrayLike,
    follows: tuple[bool, ...] = (),
) -> FloatArray:
    """Smallest t with P(latency <= t) >= level; inf where never reached.

    The distribution jumps only at the offsets: the interval between two of them is found first,
    from below (the percentile of the offsets alone), then the point in it, by safeguarded Newton
    on the log of the survival function either time.

    Parameters
    ----------
    levels
        Scalar, or [L]: then levels are the last axis of the result.
    weights
        Share of each support point [-], shape [..., S].
    offsets_s
        o_s [s], shape [..., S].
    probabilities
        p_k [-], shape [..., K] or [..., S, K].
    tail_means
        m_k [s], like probabilities.

    Notes
    -----
    *Valid for* levels in [0, 1); relative error < 1e-9 (tested through the distribution).
    *Limits*: a level above the share that ever completes gives inf; so does 1 with any wait.
    *Source*: inversion of `sojourn_cdf`.

    Examples
    --------
    >>> float(sojourn_quantile_s(0.5, [1.0], [1.0], [0.4], [2.0]))  # 60 % do not wait
    1.0
    >>> sojourn_quantile_s([0.5, 0.9], [1.0], [0.0], [1.0], [1.0]).round(6).tolist()
    [0.693147, 2.302585]
    """
    wanted = np.asarray(levels, dtype=np.float64)
    level = np.atleast_1d(wanted)
    share, offset, chain = _latency_terms(
        weights, offsets_s, probabilities, tail_means, follows, levels_axis=True
    )

    def late(time: FloatArray) -> tuple[FloatArray, FloatArray]:
        survival, density = phase_survival(time[..., None] - offset, chain)
        return np.sum(share * survival, axis=-1), np.sum(share * density, axis=-1)

    completes = np.sum(share * chain.finished, axis=-1)
    shape = np.broadcast_shapes(completes.shape, offset.shape[:-1], level.shape)
    reached = np.broadcast_to((level <= completes + ROUNDING) & (completes > 0), shape)
    goal = np.minimum(level / np.where(completes > 0, completes, 1.0), 1.0)
    ceiling = np.max(offset + chain.time_bound_s(1 - goal[..., None]), axis=-1)
    target = np.broadcast_to(1 - level, shape)
    jumps = _Jumps.of(share, offset, share * chain.finished * chain.entry[-1], shape)
    low, high, start = jumps.enclosing(np.broadcast_to(ceiling, shape), late, target)
    found = _crossing(low, np.where(np.isfinite(high), high, low), start, late, target)
    result = np.where(reached & np.isfinite(high), found, np.inf)
    quantile: FloatArray = (result if wanted.ndim else result[..., 0])[()]
    return quantile


def _per_support_point(
    share: FloatArray, offset: FloatArray, probabilities: ArrayLike, tail_means: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Give the waits the shape [..., S or 1, K]."""
    waiting = np.asarray(probabilities, dtype=np.float64)
    tail = np.asarray(tail_means, dtype=np.float64)
    if max(waiting.ndim, tail.ndim) <= max(share.ndim, offset.ndim):
        return waiting[..., None, :], tail[..., None, :]
    return waiting, tail


def _latency_terms(
    weights: ArrayLike,
    offsets_s: ArrayLike,
    probabilities: ArrayLike,
    tail_means: ArrayLike,
    follows: tuple[bool, ...],
    *,
    levels_axis: bool = False,
) -> tuple[FloatArray, FloatArray, PhaseChain]:
    """Weights, offsets and wait chain as [..., S], or [..., 1, S] to leave room for levels."""
    share, offset = (np.asarray(x, dtype=np.float64) for x in (weights, offsets_s))
    waiting, tail = _per_support_point(share, offset, probabilities, tail_means)
    met = np.any(waiting > NEVER, axis=tuple(range(waiting.ndim - 1)))
    if waiting.shape[-1] == tail.shape[-1] and not met.all() and met.any():
        follows = tuple(k < len(follows) and follows[k] for k in np.flatnonzero(met).tolist())
        waiting, tail = waiting[..., met], tail[..., met]
    if share.ndim == 1 and offset.ndim == 1 and len(share) == len(offset) and not share.all():
        counts = share > 0
        if len(waiting) == len(share) and waiting.ndim == 2:
            waiting = waiting[counts]
        if len(tail) == len(share) and tail.ndim == 2:
            tail = tail[counts]
        share, offset = share[counts], offset[counts]
    if levels_axis:
        share, offset = share[..., None, :], offset[..., None, :]
        waiting, tail = waiting[..., None, :, :], tail[..., None, :, :]
    return share, offset, phase_chain(waiting, tail, follows)


@dataclass(frozen=True, slots=True, eq=False)
class _Jumps:
    """Offsets in rising order, what of the requests comes up to each, and the jump at each."""

    at_s: FloatArray
    below: FloatArray
    """Share of requests with a smaller or the same offset: no fewer than come by then."""
    atom: FloatArray
    """Share of requests that take no longer than this offset."""

    @classmethod
    def of(
        cls, share: FloatArray, offset: FloatArray, atom: FloatArray, shape: tuple[int, ...]
    ) -> _Jumps:
        """Sort them; offsets [..., S] for quantiles of a shape [...]."""
        whole = np.broadcast_shapes((*shape, 1), share.shape, offset.shape, atom.shape)
        order = np.argsort(np.broadcast_to(offset, whole), axis=-1, kind="stable")
        at, parts, atoms = (
            np.take_along_axis(np.broadcast_to(x, whole), order, axis=-1)
            for x in (offset, share, atom)
        )
        return cls(at, np.cumsum(parts, axis=-1), atoms)

    def __getitem__(self, index: NDArray[np.int64]) -> FloatArray:
        places = np.clip(index, 0, self.at_s.shape[-1] - 1)[..., None]
        return np.take_along_axis(self.at_s, places, axis=-1)[..., 0]

    def enclosing(
        self, ceiling: FloatArray, late: Late, target: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Interval free of jumps that holds the quantile, of zero width when it is a jump.

        And where in it the quantile is to be expected.
        """
        size = self.at_s.shape[-1]
        least = np.sum(1 - self.below > target[..., None] + 2 * ROUNDING, axis=-1)
        before = np.minimum(least, size - 1) - 1
        after = np.full(target.shape, size)
        middle, start = before + 1, np.full(target.shape, np.nan)
        left = np.ones(target.shape)
        goal = np.maximum(target, TINY)
        for turn in count():
            searching = after - before > 1
            if not searching.any():
                break
            time = self[middle]
            survival, density = late(time)
            is_late = survival > target + ROUNDING
            before = np.where(searching & is_late, middle, before)
            after = np.where(searching & ~is_late, middle, after)
            left = np.where(searching & ~is_late, survival, left)
            step = np.log(np.maximum(survival, TINY) / goal) * survival
            start = np.where(searching, time + step / np.maximum(density, TINY), start)
            guess = np.sum(self.at_s <= start[..., None], axis=-1) - ~is_late
            halfway = (before + after) // 2
            middle = halfway if turn % 3 == 2 else np.clip(guess, before + 1, after - 1)
        high = np.where(after < size, self[after], np.maximum(ceiling, self[before]))
        jump = np.sum(self.atom * (self.at_s == high[..., None]), axis=-1)
        at_jump = (after < size) & (left + jump > target + ROUNDING)
        return np.where(at_jump | (before < 0), high, self[before]), high, start


def _crossing(
    low: FloatArray, high: FloatArray, start: FloatArray, late: Late, target: FloatArray
) -> FloatArray:
    """Time in [low, high] where the survival function falls to target, all elements at once."""
    goal = np.maximum(target, TINY)
    time = np.where((start >= low) & (start <= high), start, (low + high) / 2)
    previous = high - low
    settled = previous <= 0
    for _ in range(200):
        if np.all(settled):
            break
        survival, density = late(time)
        low = np.where(survival > target, time, low)
        high = np.where(survival > target, high, time)
        ratio = np.log(np.maximum(survival, TINY) / goal)
        step = ratio * survival / np.maximum(density, TINY)
        newton = (np.abs(step) < previous / 2) & (time + step >= low) & (time + step <= high)
        new = np.where(newton, time + step, (low + high) / 2)
        previous = np.abs(new - time)
        time = np.where(settled, time, new)
        settled |= previous <= np.where(newton, QUADRATIC, 1e-12) * np.abs(time)
    return time
