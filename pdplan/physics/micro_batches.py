"""Decode in two halves that take micro-batches in turn: how long a step takes, who waits for whom.

A bundle is some attention accelerators and some FFN accelerators. Every layer of every micro-batch
passes four stages: attention, the way to the FFN side, FFN, the way back.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats


def pipelined_step_s(
    stages_s: Sequence[ArrayLike],
    micro_batches: ArrayLike,
    layers: int,
    copies: Sequence[ArrayLike] | None = None,
) -> Floats:
    """Time of a step whose micro-batches overlap.

    t = max(sum of s_i, M b_max + sum over the others of b_i / L),  b_i = s_i / c_i

    stages_s = s_i [s], what stage i takes for one micro-batch over all layers; M = micro_batches;
    L = layers; copies = c_i of what runs stage i, which take micro-batches in turn (1 unless said).
    The first term is a micro-batch that never waits: it passes its layers one after another however
    many others there are, so it holds where M is small.
    Valid for: stages that do not share a resource; the two ways of a link are two resources.
    Limits: M = 1 is the sum; many micro-batches are bound by the slowest stage.
    Source: second term arXiv 2605.28302; with M = 2 the first is the staggered pipeline of arXiv
    2405.01814, whose rotation has M - 1 copies of the model (balanced at t_A = t_M / (M - 1)).

    >>> round(float(pipelined_step_s([1, 0.6, 1.5, 0.6], 4, 61)), 2)
    6.04
    >>> float(pipelined_step_s([1, 0.5, 1.5, 0.5], 1, 61))
    3.5
    """
    stages = [np.asarray(stage, float) for stage in stages_s]
    total: Floats = np.asarray(sum(stages))
    busy = [
        s / np.asarray(c, float) for s, c in zip(stages, copies or [1.0] * len(stages), strict=True)
    ]
    longest = np.maximum.reduce(np.broadcast_arrays(*busy))
    rest = np.asarray(sum(busy)) - longest
    count = np.asarray(micro_batches, float)
    return np.asarray(np.maximum(total, count * longest + rest / layers))


def serial_step_s(stages_s: Sequence[ArrayLike], micro_batches: ArrayLike) -> Floats:
    """Time of a step whose micro-batches do not overlap: M times the sum of all stages.

    Source: arXiv 2605.28302.

    >>> round(float(serial_step_s([1, 0.6, 1.5, 0.6], 4)), 1)
    14.8
    """
    total = np.asarray(sum(np.asarray(stage, float) for stage in stages_s))
    return np.asarray(np.asarray(micro_batches, float) * total)


@lru_cache(maxsize=512)
def largest_of_normals(count: int) -> float:
    """Mean of the largest of so many independent standard normal variables.

    Source: the integral of z d(Phi(z)^r), on a grid of 0.005: exact to 1e-6.

    >>> largest_of_normals(1), round(largest_of_normals(2), 5), round(largest_of_normals(100), 3)
    (0.0, 0.56419, 2.508)
    """
    if count <= 1:
        return 0.0
    z = np.arange(-9.0, 9.0, 0.005)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    below = np.cumsum(density) * 0.005 - density * 0.0025
    return float((z * count * np.clip(below, 0, 1) ** (count - 1) * density).sum() * 0.005)


def barrier_s(step_s: ArrayLike, longer_s: ArrayLike, workers: ArrayLike) -> Floats:
    """What a step waits for the slowest of several attention workers: sigma E[max_r Z].

    step_s, longer_s [s] of a worker at the mean context of its batch and at one standard deviation
    more of that mean; workers = r. Valid for: many requests a worker (normal sums).
    Source: arXiv 2601.21351, sigma = alpha_A sqrt(B Var).

    >>> round(float(barrier_s(1.0, 1.1, 2)), 4)
    1.0564
    """
    known = np.asarray(workers)
    reach = np.vectorize(lambda r: largest_of_normals(int(r)), otypes=[float])(known)
    step = np.asarray(step_s, float)
    return np.asarray(step + np.maximum(np.asarray(longer_s, float) - step, 0.0) * reach)


def balanced_ratio(
    attention_s: ArrayLike, way_s: ArrayLike, token_s: ArrayLike, fixed_s: ArrayLike,
    batch: ArrayLike,
) -> Floats:  # fmt: skip
    """Attention instances to one FFN instance that serve most tokens per accelerator.

    r* = max(r_A, r_C, r_pk),  r_A = (t_A - b) / (a B),  r_C = (t_C - b) / (a B),
    r_pk = sqrt(b / (a B)); throughput r B / ((r + 1) max(t_A, t_C, a r B + b))

    attention_s = t_A, way_s = t_C [s] of an attention instance's own batch B; token_s = a, fixed_s
    = b [s] of the FFN instance. Exact for these linear times.
    Source: arXiv 2601.21351.

    >>> round(float(balanced_ratio(5e-3, 1e-3, 1e-6, 1e-3, 500)), 2)
    8.0
    """
    work = np.asarray(token_s, float) * np.asarray(batch, float)
    fixed = np.asarray(fixed_s, float)
    waited = np.maximum(np.asarray(attention_s, float), np.asarray(way_s, float))
    return np.asarray(np.maximum((waited - fixed) / work, np.sqrt(fixed / work)))


def batch_budget_s(
    tpot_s: float, tokens_per_step: float, gap_s: float, layers: int, batches: int = 3
) -> float:
    """Longest stage of one layer that keeps TPOT with so many batches in turn.

    t_B = (TPOT a - t_g) / (L n); a = tokens_per_step, t_g = gap_s between steps.
    Source: arXiv 2602.09721 (n = 3).

    >>> round(batch_budget_s(50e-3, 1.7, 15e-3, 61) * 1e6)
    383
    """
    return (tpot_s * tokens_per_step - gap_s) / (layers * batches)


def rank_bytes_per_s(
    scale_out_bytes_per_s: float, scale_up_bytes_per_s: float, topk: int, ffn_nodes: int
) -> float:
    """Bytes that reach one FFN rank: a token crosses the network once for a node, then spreads.

    min(out max(1, k / N_F), up). Source: arXiv 2602.09721.

    >>> rank_bytes_per_s(50e9, 160e9, 8, 1) / 1e9, rank_bytes_per_s(50e9, 160e9, 8, 8) / 1e9
    (160.0, 50.0)
    """
    return min(scale_out_bytes_per_s * max(1.0, topk / ffn_nodes), scale_up_bytes_per_s)


def expert_ceiling(rank_bytes_per_s: ArrayLike, expert_width: int, flops_per_s: float) -> Floats:
    """Share of an FFN rank's arithmetic that its network can feed: 2 W m / F.

    6 h m FLOP for every h bytes in (8 bits) and 2 h back (16 bits); W = rank_bytes_per_s [B/s],
    m = expert_width, F = flops_per_s. More tokens do not help: both sides grow with them.
    Source: arXiv 2602.09721.

    >>> round(float(expert_ceiling(160e9, 2048, 1978.9e12)), 3)
    0.331
    """
    share = 2 * np.asarray(rank_bytes_per_s, float) * expert_width / flops_per_s
    return np.asarray(np.minimum(share, 1.0))


def balance_together(attention_to_ffn: float, balance: float) -> float:
    """Throughput kept under uneven experts with all in one place: (l + 1) / (l + 1 / s).

    l = attention_to_ffn, ratio of their times; s = balance, mean load of a rank over the largest.
    Source: arXiv 2602.09721.

    >>> round(balance_together(3, 0.8), 3)
    0.941
    """
    return (attention_to_ffn + 1) / (attention_to_ffn + 1 / balance)


def balance_apart(
    attention_to_ffn: float, balance: float, attention: int, ffn: int
) -> tuple[float, float]:
    """The same with the halves apart, attention accelerators cut to what FFN still serves.

    Rounded down: attention bounds, (l + 1) floor(s A) / (floor(s A) + F) / A; rounded up: FFN
    bounds, (l + 1) s A / (ceil(s A) + F) / A. Divided by A so that s = 1 gives 1.
    Source: arXiv 2602.09721.

    >>> [round(share, 3) for share in balance_apart(3, 0.8, 3, 1)]
    [0.889, 0.8]
    """
    low, high = np.floor(balance * attention), np.ceil(balance * attention)
    whole = (attention_to_ffn + 1) / attention
    return (
        float(whole * low / (low + ffn)),
        float(whole * balance * attention / (high + ffn)),
    )
