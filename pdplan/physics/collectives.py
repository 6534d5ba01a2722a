"""Communication between accelerators: latency plus bytes over bandwidth."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats, joined_s

PIPELINE_NORM = 0.6
"""How latency and bandwidth time of a pipelined collective join; 0.5 is the optimal pipeline."""

NODE_NORM = 3.0
"""How times inside and between nodes join; they overlap nearly fully."""


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


def pipelined_s(moved_bytes: ArrayLike, latency_s: ArrayLike, bytes_per_s: ArrayLike) -> Floats:
    """Time of a library collective (NCCL), which cuts a message into chunks that it pipelines.

    t = (alpha^p + (V / W)^p)^(1/p),  p = 0.6;  0 where nothing moves

    V = moved_bytes [B] per rank: 2 (n - 1) / n of an all-reduced tensor, (n - 1) / n of one that
    is gathered, scattered or exchanged; W = bytes_per_s of very long messages, at most the link's.
    Valid for: 512 B to 512 MB, 2 to 8 ranks, NVLink and PCIe.
    Limits: short messages give alpha, long ones V / W; in between, filling the pipeline costs.
    Source: p = 0.5 is the optimal chunk, t = (sqrt(alpha) + sqrt(V / W))^2, of Thakur et al.,
    2005; p fitted in validation/kernel_collectives.py.

    >>> round(float(pipelined_s(1e9, 1e-5, 1e11)) * 1e3, 2)
    10.27
    """
    moved_s = np.asarray(moved_bytes, float) / np.asarray(bytes_per_s, float)
    p = PIPELINE_NORM
    joined: Floats = (np.asarray(latency_s, float) ** p + moved_s**p) ** (1 / p)
    return np.where(moved_s > 0, joined, 0.0)


def library_latency_s(ranks: ArrayLike, base_s: ArrayLike, rank_s: ArrayLike) -> Floats:
    """Latency of a collective that passes all ranks: alpha = base + n x rank; 0 for one rank.

    Source: a ring takes a hop a rank; NCCL from 2 to 8 ranks follows it within 5 %.

    >>> library_latency_s([1, 2, 8], 3e-6, 1.6e-6).round(8).tolist()
    [0.0, 6.2e-06, 1.58e-05]
    """
    n = np.asarray(ranks, float)
    latency = np.asarray(base_s, float) + n * np.asarray(rank_s, float)
    return np.where(n > 1, latency, 0.0)


def shared_bytes_per_s(
    ranks: ArrayLike, pair_bytes_per_s: ArrayLike, contention: ArrayLike
) -> Floats:
    """Bus bandwidth of n ranks from that of two: W(n) = W(2) (n / 2)^-contention.

    contention [-] is about -0.25 on NVLink (more links in use), 0.35 on PCIe with peer access,
    1.9 through host memory. The caller bounds W by the link.

    >>> shared_bytes_per_s([2, 8], 20e9, 1.5).tolist()
    [20000000000.0, 2500000000.0]
    """
    n = np.asarray(ranks, float)
    falls = (n / 2) ** -np.asarray(contention, float)
    return np.asarray(np.asarray(pair_bytes_per_s, float) * falls)


def kernel_all_reduce_s(
    size_bytes: ArrayLike,
    ranks: ArrayLike,
    latency_s: ArrayLike,
    bytes_per_s: ArrayLike,
    two_shot_latencies: ArrayLike = 2.0,
) -> Floats:
    """Time of an engine's own all-reduce kernel under CUDA graphs, the better of two ways.

    one shot: alpha + (n - 1) S / W;  two shots: k alpha + 2 (n - 1) / n x S / W

    size_bytes = S [B] of the tensor each rank holds; alpha = latency_s, W = bytes_per_s of peer
    reads; k = two_shot_latencies, 2 for the two barriers of vLLM and SGLang.
    Valid for: peers with direct access (NVLink, or a PCIe pair), up to the engine's limit of
    about 16 MB, beyond which it calls the library.
    Source: the one- and two-shot kernels of TensorRT-LLM and vLLM (custom_all_reduce.cu).

    >>> kernel_all_reduce_s([1e6, 8e6], [2, 8], 2e-6, 1e11).round(7).tolist()
    [1.2e-05, 0.000144]
    """
    n, size = np.asarray(ranks, float), np.asarray(size_bytes, float)
    alpha, read_s = np.asarray(latency_s, float), size / np.asarray(bytes_per_s, float)
    once = alpha + (n - 1) * read_s
    twice = np.asarray(two_shot_latencies, float) * alpha + 2 * (n - 1) / n * read_s
    return np.where(n > 1, np.minimum(once, twice), 0.0)


def engine_all_reduce_s(
    size_bytes: ArrayLike, kernel_s: ArrayLike, library_s: ArrayLike, limit_bytes: ArrayLike
) -> Floats:
    """All-reduce as an engine dispatches it: its own kernel up to a limit, the library beyond.

    limit_bytes [B]; 0 where there is no kernel (more than two ranks over PCIe).

    >>> engine_all_reduce_s([1e6, 1e8], 1e-5, 4e-4, 16e6).tolist()
    [1e-05, 0.0004]
    """
    within = np.asarray(size_bytes, float) <= np.asarray(limit_bytes, float)
    return np.where(within, np.asarray(kernel_s, float), np.asarray(library_s, float))


def across_nodes_s(
    inside_s: ArrayLike,
    size_bytes: ArrayLike,
    ranks_per_node: ArrayLike,
    nodes: ArrayLike,
    latency_s: ArrayLike,
    bytes_per_s: ArrayLike,
) -> Floats:
    """All-reduce over nodes: each rank reduces its share with its peers, pipelined with the inside.

    t = (t_in^3 + t_out^3)^(1/3),  t_out = alpha + 2 (m - 1) / m x S / (r W)

    inside_s = t_in of one node; m = nodes of r = ranks_per_node; W = bytes_per_s [B/s] of the
    network port of one rank, one way.
    Source: hierarchical all-reduce with one rail a rank; the norm is that of one public run
    (H200, 2 x 8 ranks with 50 GB/s each, 0.5 to 8 GiB), so it is an estimate.

    >>> round(float(across_nodes_s(4.0e-3, 1.07e9, 8, 2, 0.0, 50e9)) * 1e3, 1)
    4.4
    """
    m = np.asarray(nodes, float)
    inside = np.asarray(inside_s, float)
    share = np.asarray(size_bytes, float) / np.asarray(ranks_per_node, float)
    sent_s = 2 * (m - 1) / m * share / np.asarray(bytes_per_s, float)
    outside = np.asarray(latency_s, float) + sent_s
    return np.where(m > 1, joined_s(inside, outside, NODE_NORM), inside)


def send_s(size_bytes: ArrayLike, latency_s: ArrayLike, bytes_per_s: ArrayLike) -> Floats:
    """Time to pass a tensor to the next pipeline stage: t = alpha + S / W.

    Valid for: 2 kB to 64 MB; measured at 14 us and 0.96 of NVLink on A100 in a node.

    >>> float(send_s(3e6, 1e-5, 3e11))
    2e-05
    """
    sent_s = np.asarray(size_bytes, float) / np.asarray(bytes_per_s, float)
    return np.asarray(np.asarray(latency_s, float) + sent_s)
