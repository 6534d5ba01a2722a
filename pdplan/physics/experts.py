"""Mixture of experts: how many experts a pass touches."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats


def expected_experts(tokens: ArrayLike, experts: int, topk: int, skew: float) -> Floats:
    """Distinct experts of one layer that a pass of some tokens activates, on average.

    D = sum over e of 1 - (1 - p_e)^tokens, with p_e proportional to rank^-skew, sum p_e = topk,
    p_e <= 1.

    tokens [tokens], any shape; experts, topk, skew [-], skew = 0 is uniform routing.
    Valid for: independent choices of tokens; real routing is more correlated, so D is an upper
    estimate at skew 0.
    Limits: one token gives topk (to the accuracy of p_e <= 1); many tokens give all experts.
    Source: coupon collector with unequal probabilities, Flajolet et al., 1992, theorem 4.1.

    >>> expected_experts([1, 8, 1e6], 256, 8, 0.0).round(1).tolist()
    [8.0, 57.4, 256.0]
    """
    share = np.arange(1, experts + 1, dtype=float) ** -skew
    chance = topk * share / share.sum()
    for _ in range(8):  # mass above 1 goes to the experts below it
        over = chance >= 1
        if not (chance > 1).any():
            break
        chance[over] = 1.0
        chance[~over] *= (topk - over.sum()) / chance[~over].sum()
    count = np.asarray(tokens, float)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_miss = np.log1p(-np.minimum(chance, 1.0))
        touched: Floats = -np.expm1(np.where(count > 0, count * log_miss, 0.0)).sum(-1)
    return np.minimum(touched, experts)


def busiest(ranks: ArrayLike, experts: int, spread: ArrayLike) -> Floats:
    """Load of the busiest rank of expert parallelism over the mean.

    1 + c sqrt(2 ln n (n - 1) / (E - 1)), at most n ranks: the largest of n sums of E / n experts
    drawn without replacement.

    ranks = n; experts = E; spread = c, the coefficient of variation of an expert's load [-].
    Source: expectation of the maximum of n normal variables, Gumbel, 1958; c = 1.5 fits power-law
    routing in aiconfigurator's tables.

    >>> busiest([1, 8], 256, 1.5).round(2).tolist()
    [1.0, 1.51]
    """
    n = np.asarray(ranks, float)
    most = np.sqrt(2 * np.log(n) * (n - 1) / max(experts - 1, 1))
    return np.asarray(np.minimum(n, 1 + np.asarray(spread, float) * most))
