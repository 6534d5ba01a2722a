"""One request's media encoded by several workers: intra-request parallel encoding.

Symbols: m equal pieces of a request (tiles of its images), k workers that share them, n servers.
"""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray


def rounds_of(pieces: ArrayLike, workers: ArrayLike) -> FloatArray:
    """Rounds that m equal pieces take on k workers that start together: ceil(m / k).

    Eight images of 10 tiles each on 5 workers:

    >>> rounds_of([1, 4, 5, 0, 80], 5).tolist()
    [1.0, 1.0, 1.0, 0.0, 16.0]
    """
    count, share = np.asarray(pieces, dtype=np.float64), np.asarray(workers, dtype=np.float64)
    return np.asarray(np.ceil(np.maximum(count / np.maximum(share, 1.0) - 1e-9, 0.0)))


def parallel_s(
    work_s: ArrayLike, pieces: ArrayLike, workers: ArrayLike, fixed_s: ArrayLike = 0.0
) -> FloatArray:
    """Time that k workers hold a request of m equal pieces: fixed + (work - fixed) ceil(m / k) / m.

    Synchronous fork-join: the k workers take the next request together, so that they are one
    server, faster by m / ceil(m / k) for a request of m pieces.

    Parameters
    ----------
    work_s
        One worker alone [s], its fixed part included.
    pieces
        m, what can be encoded apart: tiles of images, steps of video, chunks of sound.
    workers
        k. Arrays broadcast.
    fixed_s
        Part of the work that each worker does in full, however few pieces it has [s].

    Notes
    -----
    *Valid for* equal pieces. *Limits*: k = 1 is the work itself, k >= m one piece; more workers
    than pieces gain nothing.
    *Source*: intra-request parallelism of EPD (Singh et al., arXiv 2501.05460, section 3.2).

    Examples
    --------
    >>> float(parallel_s(2.0, 4, 2)), float(parallel_s(2.0, 1, 8)), float(parallel_s(0.0, 0, 2))
    (1.0, 2.0, 0.0)
    >>> float(parallel_s(2.5, 4, 2, 0.5))
    1.5
    """
    count = np.maximum(np.asarray(pieces, dtype=np.float64), 1.0)
    work, fixed = np.asarray(work_s, dtype=np.float64), np.asarray(fixed_s, dtype=np.float64)
    return np.asarray(fixed + (work - fixed) * rounds_of(count, workers) / count)


def split_merge_s(service_s: ArrayLike, parts: ArrayLike) -> FloatArray:
    """Mean of the largest of k exponential services: S (1 + 1/2 + ... + 1/k).

    What a request of k independent parts takes at light load, or as one server that takes the
    next request when all parts are done.

    >>> float(split_merge_s(1.0, 2))
    1.5
    """
    return np.asarray(service_s, dtype=np.float64) * _harmonic(parts)


def fork_join_s(arrival_rps: ArrayLike, service_s: ArrayLike, parts: ArrayLike) -> FloatArray:
    """Mean time of a request whose k parts queue at k servers of their own and join.

    R_k = [H_k / H_2 + 4 rho / 11 (1 - H_k / H_2)] (12 - rho) / 8 R_1,  R_1 = S / (1 - rho),
    H_k = 1 + 1/2 + ... + 1/k.

    Parameters
    ----------
    arrival_rps
        Requests per second; each server gets one part of every request.
    service_s
        S, mean of an exponential part [s].
    parts
        k >= 1. Arrays broadcast.

    Notes
    -----
    *Exact* for k = 1 and k = 2. *Error* below 5 % for k <= 32. *Limits*: rho >= 1 gives inf.
    *Source*: Nelson and Tantawi, IEEE Trans. Computers 37 (1988) 739-743.

    Examples
    --------
    >>> float(fork_join_s(0.5, 1.0, 2))  # (12 - rho) / 8 times 2
    2.875
    """
    service, count = (np.asarray(x, dtype=np.float64) for x in (service_s, parts))
    rho = np.asarray(arrival_rps, dtype=np.float64) * service
    stable = rho < 1
    alone = np.where(stable, service / np.where(stable, 1 - rho, 1.0), np.inf)
    ratio = _harmonic(count) / 1.5
    joined = (ratio + 4 * rho / 11 * (1 - ratio)) * (12 - rho) / 8
    return np.asarray(np.where(count > 1, joined, 1.0) * alone)


def _harmonic(parts: ArrayLike) -> FloatArray:
    """1 + 1/2 + ... + 1/k."""
    count = np.asarray(parts, dtype=np.int64)
    sums = np.cumsum(1 / np.arange(1, max(int(count.max(initial=1)), 1) + 1))
    return np.asarray(sums[np.maximum(count, 1) - 1])
