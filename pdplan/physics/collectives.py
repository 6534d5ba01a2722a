"""Communication between accelerators: latency plus bytes over bandwidth."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats


def all_reduce_s(
    size_bytes: ArrayLike, ranks: ArrayLike, latency_s: ArrayLike, bytes_per_s: ArrayLike
) -> Floats:
    """Time to sum a tensor over ranks.

    t = alpha + 2 (n - 1) / n x size / bandwidth;  0 for one rank.

    size_bytes [B] of the tensor each rank holds; bytes_per_s [B/s] achieved bus bandwidth.
    Valid for: one scale-up domain, 1 kB to 1 GB; within 40 % of measured custom kernels between
    256 kB and 1 MB, where their algorithm changes, and 15 % elsewhere.
    Source: Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005, ring bound.

    >>> float(all_reduce_s(8e6, 8, 1e-5, 350e9))
    5e-05
    """
    n = np.asarray(ranks, float)
    moved = 2 * (n - 1) / n * np.asarray(size_bytes, float)
    return np.where(n > 1, latency_s + moved / bytes_per_s, 0.0)


def exchange_s(
    size_bytes: ArrayLike, ranks: ArrayLike, latency_s: ArrayLike, bytes_per_s: ArrayLike
) -> Floats:
    """Time of an all-to-all in which each rank holds `size_bytes` for all ranks together.

    t = alpha + (n - 1) / n x size / bandwidth;  0 for one rank.

    Source: Thakur et al., 2005, pairwise exchange.

    >>> round(float(exchange_s(8e6, 8, 1e-5, 350e9)), 9)
    3e-05
    """
    n = np.asarray(ranks, float)
    moved = (n - 1) / n * np.asarray(size_bytes, float)
    return np.where(n > 1, latency_s + moved / bytes_per_s, 0.0)
