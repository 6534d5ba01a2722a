"""How often passes over prompts run where they go before other work.

Whenever a prompt waits a pass takes all that do, up to its budget; only then a step of the other
work runs. Symbols: r arrivals [1/s], base c of a pass and w of a prompt [s], steps of tau(n) [s]
for n requests that need m each.
"""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray
from pdplan.queueing.prompt_moments import PromptMoments

ROUNDS = 12
"""Iterations of the fixed point of passes and steps."""


def passes_rps(
    prompts: PromptMoments,
    arrival_rps: FloatArray,
    base_s: FloatArray,
    step_s: FloatArray,
    steps: ArrayLike,
    cap: ArrayLike,
) -> FloatArray:
    """Passes per second.

    A pass of length h is followed by one over those that came meanwhile, or, with probability
    exp(-r h), by steps until somebody comes, and then by one over all that came in the last step:
    k = r h + exp(-r h) r tau / (1 - exp(-r tau)) prompts in mean, h = c + k w; r max(rounds / k,
    fill) passes. tau is that of the mean batch, n = r m tau(n) / (1 - r w - passes c).

    step_s [K, N]; cap >= n [K]; the rest [K]. *Valid for*: mean values in place of the laws of h
    and n, so a few per cent off where several prompts share a pass and nearly all time goes to
    them.

    >>> one = PromptMoments.of([[0.02]], [[0.01]], [[1.0]], [1.0])
    >>> few = passes_rps(one, np.array([0.1]), np.array([0.01]), np.array([[0.01]]), 1.0, 1)
    >>> round(float(few[0]), 2)  # hardly ever two prompts in a pass
    0.1
    """
    p, rate = prompts, arrival_rps
    needed = rate * np.asarray(steps, float)
    alone = np.maximum(p.rounds, 1.0)
    most = np.maximum(alone / p.f, 1.0)
    passes = rate * alone
    together = np.ones_like(rate)
    top = np.minimum(np.asarray(cap), step_s.shape[-1]).astype(np.int64) - 1
    batch = np.zeros(rate.shape, np.int64)
    for _ in range(ROUNDS):
        left = np.maximum(1 - rate * p.w - passes * base_s, 0.02)
        for _ in range(3):
            tau = np.take_along_axis(step_s, batch[:, None], axis=1)[:, 0]
            batch = np.minimum((needed * tau / left).astype(np.int64), top)
        within = np.maximum(rate * tau, 1e-12)
        during = rate * (base_s + p.w / alone * together)
        started = within / -np.expm1(-within)
        together = np.clip(during + np.exp(-during) * started, 1.0, most)
        passes = rate * np.maximum(alone / together, p.f)
    return np.asarray(passes)


def pass_spread(
    prompts: PromptMoments, arrival_rps: FloatArray, passes_per_s: FloatArray
) -> FloatArray:
    """Variance of the share of its budget that a pass uses.

    That of one prompt's passes, plus E[phi^2] for each further prompt (their number is Poisson).
    """
    p = prompts
    alone = np.maximum(p.rounds, 1.0)
    batch = np.maximum(arrival_rps * alone / passes_per_s, 1.0)
    single = np.maximum(p.last / alone - (p.f / alone) ** 2, 0.0)
    return np.asarray(single * batch + (batch - 1) * p.ff)


def saturated_shares(
    prompts: PromptMoments,
    arrival_rps: ArrayLike,
    base_s: FloatArray,
    step_s: FloatArray,
    steps: ArrayLike,
    cap: ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """Shares of time of passes and of steps where the batch is always full; their sum is the load.

    A full batch lets no prompt in: each step frees cap / m places, at least one at a time, and the
    prompts that take them share a pass. arrays [K], step_s [K, N].
    """
    p = prompts
    places = np.broadcast_to(np.asarray(cap, np.int64), step_s.shape[:1])
    full = np.take_along_axis(step_s, places[:, None] - 1, axis=1)[:, 0]
    freed = places / np.maximum(np.asarray(steps, float), 1.0)
    together = np.clip(freed, 1.0, np.maximum(p.rounds / p.f, 1.0))
    passing = p.w + np.maximum(p.rounds / together, p.f) * base_s
    rate = np.asarray(arrival_rps, float)
    return np.asarray(rate * passing), np.asarray(rate * np.asarray(steps, float) * full / places)
