"""Dense matrix products and element-wise kernels: time from shape and achieved rates."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats, joined_s

OUTPUT_BYTES = 2
"""Products accumulate in fp32 and write 16 bits, whatever they read."""
PRODUCT_NORM = 2.0
"""Joins arithmetic and traffic: left free for each GPU and dtype it gains 0.3 points of error."""


def product_s(
    tokens: ArrayLike,
    inputs: ArrayLike,
    outputs: ArrayLike,
    *,
    weight_bytes: ArrayLike,
    input_bytes: ArrayLike,
    flops_per_s: ArrayLike,
    bytes_per_s: ArrayLike,
    step_s: ArrayLike,
    floor_s: ArrayLike,
    staged_bytes: ArrayLike = 0.0,
    norm: ArrayLike = PRODUCT_NORM,
) -> Floats:
    """Time of `outputs x inputs` weights on `tokens` vectors.

    t = floor + s M K / B + (t_c^p + t_m^p)^(1/p),  t_c = 2 M K N / F + K tau,
    t_m = (w K N + a M K + 2 M N) / B.

    tokens = M, inputs = K, outputs = N [-], of one shard; weight_bytes = w, input_bytes = a [B],
    of one value; flops_per_s = F, bytes_per_s = B, achieved by large products; step_s = tau [s],
    of one more term of a dot product, which no number of cores shortens; floor_s [s], launch;
    staged_bytes = s [B], that a separate pass moves per input value to quantise it: 2 + a for
    fp8, int8 and fp4 activations, else 0; norm = p [-].
    t_c and t_m are linear: a layer's products may be summed before joining, 0.05 % below.
    Valid for: 1 <= M <= 32768, K and N >= 512; weights read from memory, not cache.
    Limits: F and B at most the datasheet's give no less than the roofline.
    Source: joined roofline (`roofline.joined_s`); constants by `validation.kernel_gemm`.

    >>> a100 = dict(weight_bytes=2, input_bytes=2, flops_per_s=0.75 * 312e12,
    ...             bytes_per_s=0.86 * 2.039e12, step_s=0.15e-9, floor_s=6e-6)
    >>> (1e6 * product_s([1, 128, 4096], 8192, 8192, **a100)).round().tolist()
    [83.0, 115.0, 2362.0]
    """
    m, k, n = (np.asarray(size, float) for size in (tokens, inputs, outputs))
    rate = np.asarray(bytes_per_s, float)
    compute_s = 2 * m * k * n / np.asarray(flops_per_s, float) + k * np.asarray(step_s, float)
    moved = k * n * np.asarray(weight_bytes, float) + m * k * np.asarray(input_bytes, float)
    memory_s = (moved + m * n * OUTPUT_BYTES) / rate
    staged_s = m * k * np.asarray(staged_bytes, float) / rate
    total: Floats = np.asarray(floor_s, float) + staged_s + joined_s(compute_s, memory_s, norm)
    return total


def elementwise_s(bytes_moved: ArrayLike, *, bytes_per_s: ArrayLike, floor_s: ArrayLike) -> Floats:
    """Time of a kernel that only moves data: norm, rotation, activation, residual, embedding.

    t = (floor^2 + (bytes / B)^2)^(1/2).

    bytes_moved [B], read and written; bytes_per_s = B, achieved by that kernel; floor_s [s].
    Bytes per token, 16-bit: norm 4 h; residual 6 h; embedding 4 h; rotation 4 (q + kv) d;
    gated activation 6 f, plain 4 f (h hidden, q and kv heads of d, f inner width of the shard).
    Valid for: data that do not stay in cache from the kernel before, else an upper estimate.
    Source: 6 to 12 % from vidur's A100 and A40 profiles, each kernel with its own B.

    >>> float(elementwise_s(3e6, bytes_per_s=1e12, floor_s=4e-6)) * 1e6
    5.0
    """
    moved_s = np.asarray(bytes_moved, float) / np.asarray(bytes_per_s, float)
    return joined_s(floor_s, moved_s, 2.0)
