"""What decode steps and prompts of one process know of each other."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.roofline import Floats
from pdplan.queueing import DecodeStates, PromptMoments, Stream, Wait


@dataclass(frozen=True, slots=True, eq=False)
class RunningSteps:
    """Decode steps while requests run."""

    batch: Floats
    variance: Floats
    step_s: Floats
    slope_s: Floats

    @classmethod
    def of(cls, states: DecodeStates, step_s: Floats) -> "RunningSteps":
        """Read off states and steps [K, N]."""
        busy = np.maximum(1 - states.idle, 1e-12)
        sizes = np.arange(1.0, step_s.shape[-1] + 1)
        pi = states.probability
        batch, square = (pi @ np.stack([sizes, sizes**2], -1)).T / busy
        variance = np.maximum(square - batch**2, 0.0)
        mean = np.einsum("kn,kn->k", pi, step_s) / busy
        width = np.maximum(np.sqrt(variance), 1.0)
        top = step_s.shape[-1] - 1
        low = np.clip((batch - 1 - width).astype(np.int64), 0, max(top - 1, 0))
        high = np.clip((batch - 1 + width).astype(np.int64), np.minimum(low + 1, top), top)
        ends = [np.take_along_axis(step_s, i[:, None], axis=1)[:, 0] for i in (low, high)]
        slope = (ends[1] - ends[0]) / np.maximum(high - low, 1)
        return cls(batch, variance, mean, slope)


def clumped(stream: Stream, p: PromptMoments, share: Floats) -> Stream:
    """Arrivals in decode, counted against the time that prompts leave for it.

    I' = (I + b^2 C_w^2) / (1 - b)^2 for a share b of time that grows with the prompts that come:
    a cluster of arrivals makes a step long, in which more arrive.
    Exact for the total of M/G/1 busy periods; b = r E[w], C_w^2 the SCV of w.
    """
    share = np.clip(share, 0.0, 0.999)
    scv = np.maximum(p.ww / np.maximum(p.w, 1e-100) ** 2 - 1, 0.0)
    dispersion = (stream.dispersion + share**2 * scv) / (1 - share) ** 2
    return replace(stream, dispersion=np.maximum(dispersion, stream.scv))


def fitted_wait(mean_s: Floats, variance_s2: Floats) -> tuple[Wait, Floats]:
    """Atom and exponential of a mean and a variance, and a constant where it varies less.

    Wider than an exponential (variance C^2 mean^2, C^2 > 1): P(W > t) = p exp(-p t / mean),
    p = 2 / (1 + C^2); narrower: mean - deviation always, and an exponential of the deviation.

    >>> wait, always = fitted_wait(np.array([1.0, 1.0]), np.array([3.0, 0.25]))
    >>> wait.probability.tolist(), wait.tail_mean_s.tolist(), always.tolist()
    ([0.5, 1.0], [2.0, 0.5], [0.0, 0.5])
    """
    known = np.isfinite(mean_s) & np.isfinite(variance_s2)
    mean, variance = np.where(known, mean_s, 1.0), np.where(known, variance_s2, 1.0)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    steady = np.maximum(mean - deviation, 0.0)
    rest = mean - steady
    scv = np.where(rest > 0, variance / np.maximum(rest, 1e-300) ** 2, 1.0)
    chance = 2 / (1 + np.maximum(scv, 1.0))
    tail = rest / chance
    return (
        Wait(np.where(known, chance, 1.0), np.where(known, tail, np.inf)),
        np.where(known, steady, 0.0),
    )


@dataclass(frozen=True, slots=True, eq=False)
class PromptEffect:
    """What prompts in the same process do to the decoding of requests, of K columns."""

    dispersion: Floats
    """Limit of the index of dispersion of requests that reach decode [K]."""
    late_s: Floats
    """Time that prompts left behind by a request's own add to its decode [K]."""
    arrivals: Floats
    """Prompts that come during a decode step's own time [K]."""
    riding_s: Floats
    """Mean of what prompts add to a request's decode time, per step of its own [K]."""
    riding_s2: Floats
    """Variance of the same, per step [K]."""
    carrying: Floats
    """Share of the gaps between tokens that prompts lengthen [K]."""
    carried_s2: Floats
    """Second moment of what they add to such a gap [K]."""

    def take(self, rows: NDArray[np.int64]) -> "PromptEffect":
        """Some of the columns."""
        return PromptEffect(*(getattr(self, field.name)[rows] for field in fields(self)))

    def lengthened(
        self, deviation_s: Floats, variance_s2: Floats, steps: Floats, levels: Floats
    ) -> Floats:
        """Percentiles of TPOT less its mean in decode alone, with prompts [K, J, L].

        late / o + S (w d / sd + (1 - w) z),  S^2 = sd^2 + riding_s2 / o,  w = (sd / S)^2

        with d = deviation_s [K, J, L] the percentile and sd^2 = variance_s2 [K, J] the variance
        by the batch, o = steps [J] of requests (or [K, J]), z the standardised percentile of what
        prompts add: nothing with probability exp(-o arrivals), else a gamma law of what then are
        its mean and variance (its percentiles after Wilson and Hilferty).
        """
        mean, noise = self.riding_s[:, None] + 0 * steps, self.riding_s2[:, None] / steps
        none = np.exp(-self.arrivals[:, None] * steps)
        some = np.maximum(1 - none, 1e-12)
        met = mean / some
        narrow = np.maximum((noise + mean**2) / some - met**2, 1e-300)
        shape = np.clip(met**2 / narrow, 1e-3, 1e12)[..., None]
        level = np.clip((levels - none[..., None]) / some[..., None], 1e-9, 1 - 1e-9)
        root = np.maximum(1 - 1 / (9 * shape) + normal_quantile(level) / (3 * np.sqrt(shape)), 0.0)
        ridden = np.where(levels > none[..., None], met[..., None] * root**3, 0.0)
        score = (ridden - mean[..., None]) / np.sqrt(np.maximum(noise, 1e-300))[..., None]
        whole = np.maximum(variance_s2 + noise, 1e-300)
        share = variance_s2 / whole
        kept = np.sqrt(share)[..., None] * deviation_s
        added = (np.sqrt(whole) * (1 - share))[..., None] * score
        return np.asarray(
            self.late_s[:, None, None] / (steps + 0 * share)[..., None] + kept + added
        )


def carrying_steps(p: PromptMoments, rate: Floats, step_s: Floats, added_s: Floats) -> Floats:
    """Share of decode steps that carry prompts, of which a step of step_s in mean carries added_s.

    Short prompts: those that came during the step before, pi = 1 - (1 - pi) exp(-r tau) -
    pi exp(-r (tau + added / pi)); of prompts that take P > 1 steps each follows the other, r h P.
    """
    length = step_s + added_s
    several = np.minimum(rate * length * p.rounds, 1.0)
    one = -np.expm1(-rate * length)
    for _ in range(4):
        longer = step_s + added_s / np.maximum(one, 1e-12)
        one = 1 - (1 - one) * np.exp(-rate * step_s) - one * np.exp(-rate * longer)
    share = 1 / np.maximum(p.rounds, 1.0)
    return np.asarray(share * one + (1 - share) * several)


def normal_quantile(level: Floats) -> Floats:
    """Percentile of the normal law at levels in (0, 1), within 4.5e-4.

    t - (c0 + c1 t + c2 t^2) / (1 + d1 t + d2 t^2 + d3 t^3), t = sqrt(-2 ln p), p <= 1/2.
    Source: Hastings, in Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.23.

    >>> normal_quantile(np.array([0.9, 0.01])).round(2).tolist()
    [1.28, -2.33]
    """
    tail = np.sqrt(-2 * np.log(np.minimum(level, 1 - level)))
    above = 2.515517 + tail * (0.802853 + tail * 0.010328)
    below = 1 + tail * (1.432788 + tail * (0.189269 + tail * 0.001308))
    return np.asarray(np.where(level < 0.5, -1, 1) * (tail - above / below))
