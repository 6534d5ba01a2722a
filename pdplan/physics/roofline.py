"""Compute and memory time of an operator, and how they join."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def joined_s(compute_s: ArrayLike, memory_s: ArrayLike, norm: ArrayLike) -> Floats:
    """Join compute and memory time by a p-norm.

    t = (t_c^p + t_m^p)^(1/p);  p = 1 adds them, p -> inf takes the larger.

    compute_s, memory_s [s]; norm = p [-].
    Valid for: p >= 1, where the result is never below either time.
    Source: a generalised mean of the two times of Williams et al., CACM 52(4), 2009, whose
    maximum is contradicted by measurements near the ridge (docs/MODELS.md, "Roofline").

    >>> float(joined_s(3.0, 4.0, 2.0))
    5.0
    >>> float(joined_s(0.0, 4.0, 3.0))
    4.0
    """
    compute_s, memory_s = np.asarray(compute_s, float), np.asarray(memory_s, float)
    larger = np.maximum(compute_s, memory_s)
    smaller = np.minimum(compute_s, memory_s)
    ratio = np.divide(smaller, larger, out=np.zeros_like(larger), where=larger > 0)
    joined: Floats = larger * (1 + ratio**norm) ** (1 / np.asarray(norm, float))
    return joined


def roof_s(
    flops: ArrayLike, bytes_moved: ArrayLike, flops_per_s: ArrayLike, bytes_per_s: ArrayLike
) -> Floats:
    """Least time the silicon allows: the larger of the two rooflines at full datasheet rates.

    flops [FLOP], bytes_moved [B], flops_per_s [FLOP/s], bytes_per_s [B/s].
    Source: Williams, Waterman, Patterson, CACM 52(4), 2009, doi:10.1145/1498765.1498785.

    >>> float(roof_s(2e12, 1e9, 1e12, 1e12))
    2.0
    """
    compute_s = np.asarray(flops, float) / np.asarray(flops_per_s, float)
    memory_s = np.asarray(bytes_moved, float) / np.asarray(bytes_per_s, float)
    return np.asarray(np.maximum(compute_s, memory_s))
