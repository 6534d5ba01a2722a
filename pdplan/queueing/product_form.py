"""The product form of processor sharing at a state-dependent rate, and what it turns on.

Symbols: as in `processor_sharing.py`. Everything here is evaluated for many instances at once and
writes into its own memory: allocating arrays takes longer than filling them.
"""

from __future__ import annotations

import numpy as np

from pdplan.queueing.erlang import FloatArray

SLOWEST_RECOVERY = 1e-3
LEAST_LOAD = 1e-200
"""In the place of none at all, whose logarithm is not finite."""


def at_batch(step: FloatArray, batch: FloatArray) -> FloatArray:
    """Step time at a batch of the caller's shape."""
    spread = np.broadcast_to(step, (*batch.shape, step.shape[-1]))
    return np.take_along_axis(spread, (batch - 1).astype(np.int64)[..., None], axis=-1)[..., 0]


def usual_batch(step: FloatArray, load: FloatArray, limit: FloatArray) -> FloatArray:
    """Largest batch of which arrivals outnumber departures, lambda m tau(n) >= n; at least 1."""
    low, high = np.ones_like(limit), limit.copy()
    for _ in range(int(np.max(limit, initial=1)).bit_length()):
        middle = np.ceil((low + high) / 2)
        grows = load * at_batch(step, middle) >= middle
        low, high = np.where(grows, middle, low), np.where(grows, high, np.maximum(middle - 1, low))
    return low


def recovery_at(step: FloatArray, usual: FloatArray, limit: FloatArray) -> FloatArray:
    """1 - dln tau / dln n between half the usual batch and twice it, within (0, 1]."""
    fewer, more = np.maximum(np.floor(usual / 2), 1.0), np.minimum(2 * usual, limit)
    width = np.log(more / fewer)
    rise = np.log(at_batch(step, more) / at_batch(step, fewer))
    elasticity = np.where(width > 0, rise / np.where(width > 0, width, 1.0), 0.0)
    return np.asarray(np.clip(1 - elasticity, SLOWEST_RECOVERY, 1.0))


def densities(
    step: FloatArray, load: FloatArray, power: FloatArray, size: int
) -> tuple[FloatArray, FloatArray]:
    """Logarithm of the sampled product form at n = 1..N (0 at n = 0), and the weight of its ends.

    With A = a lambda m and T_k = sum_{j<=k} ln tau(j), the sum over N = 1..ak of
    ln(A tau(N / a) / N) is a k ln A + a T_k - (a - 1) / 2 (ln tau(k) - ln tau(1)) - ln (ak)!
    by the trapezoidal rule between whole batches; Stirling's formula takes (ak)! to k!.
    Exact for a = 1.
    """
    batch = np.arange(1, size + 1, dtype=np.float64)
    factorial = np.cumsum(np.log(batch))
    shape = (*power.shape, size)
    log_step = np.log(step)
    first = log_step[..., 0]
    summed = np.cumsum(log_step, axis=-1)
    log_load = np.log(np.maximum(load, LEAST_LOAD))
    if np.all(power == 1):
        summed -= factorial
        density = np.multiply(log_load[..., None], batch, out=np.empty(shape))
        density += summed
        return density, np.ones(power.shape)
    half = np.log(2 * np.pi * batch)
    rest = factorial - (batch * np.log(batch) - batch + half / 2)
    less = (power - 1) / 2
    by = np.stack(
        [
            power * log_load, -power, less, power - 1 / power,
            less * first - np.log(power) / 2,
        ],
        axis=-1,
    )  # fmt: skip
    density = by @ np.stack([batch, factorial, half, rest, np.ones(size)])
    density += _scaled(summed, power, shape)
    density -= _scaled(log_step, less, shape)
    return density, (1 + 1 / power) / 2


def _scaled(values: FloatArray, factor: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Values [..., N] times a factor [...], in their own memory where that is large enough."""
    room = values if values.shape == shape else np.empty(shape)
    return np.multiply(values, factor[..., None], out=room)
