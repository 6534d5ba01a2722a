"""Columns that cannot matter: dominated, too dear, or unable to meet a condition in any choice."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pdplan.solver.columns import BoolArray, FloatArray, IntArray
from pdplan.solver.problem import TOLERANCE, Problem, whole_units

BLOCK = 128
"""Columns compared at once with all those kept so far."""


def pareto(features: FloatArray, key: IntArray) -> IntArray:
    """Return the indices, ascending, of the columns that no other dominates.

    Column b dominates a if its key is the same or indifferent (-1) and every feature of b is at
    most that of a, with one smaller or b the earlier of two equal ones.

    Parameters
    ----------
    features : [n, f], smaller is better.
    key : [n]
    """
    narrow = np.int16 if len(features) < np.iinfo(np.int16).max else np.int64  # faster to compare
    ranks = np.empty(features.shape, dtype=narrow)
    for column in range(features.shape[1]):
        ranks[:, column] = np.unique(features[:, column], return_inverse=True)[1]
    # A dominator has the smaller sum of ranks, so it comes earlier; lexsort is stable by index.
    order = np.argsort(ranks.sum(axis=1, dtype=np.int64), kind="stable")
    ranks, key = np.ascontiguousarray(ranks[order].T), key[order]
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, len(order), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(order)))
        block = block[~_beaten(ranks, key, kept[:BLOCK], block)]
        block = block[~_beaten(ranks, key, kept[BLOCK:], block)]
        block = block[~_beaten(ranks, key, block, block)]
        kept = np.concatenate([kept, block])
    return np.sort(order[kept])


def _beaten(
    ranks: npt.NDArray[np.integer], key: IntArray, by: IntArray, block: IntArray
) -> BoolArray:
    """Whether an earlier column of ``by`` is at most as large everywhere."""
    wins = (by[:, None] < block) & ((key[by][:, None] == key[block]) | (key[by][:, None] < 0))
    for rank in ranks:
        wins &= rank[by][:, None] <= rank[block]
    return np.asarray(wins.any(axis=0))


def drop_dominated(problem: Problem) -> Problem:
    """Keep the Pareto-optimal columns of every pool; the optimum does not change."""
    keep = []
    for p, key in enumerate(problem.key):
        features = [problem.objective[p], problem.tiebreak[p]]
        features += [row.parts[p] for row in problem.rows]
        if problem.accept is not None:
            features += list(problem.delay[p].T)
        distinct = {feature.tobytes(): feature for feature in features}
        keep.append(pareto(np.stack(list(distinct.values()), axis=1), key))
    return problem.take(keep)


def tighten(problem: Problem, upper: float) -> Problem:
    """Drop columns that are in no choice that meets each condition and costs at most ``upper``.

    A column's best case is the column with the least value of every other pool, taken separately
    for each condition. Ties with ``upper`` stay: the tiebreak decides among them.
    """
    size = -1
    while size != problem.combinations and 0 not in problem.shape:
        size = problem.combinations
        problem = problem.take([_usable(problem, p, upper) for p in range(len(problem.names))])
    return problem


def _usable(problem: Problem, p: int, upper: float) -> BoolArray:
    others = [q for q in range(len(problem.names)) if q != p]

    def best_case(parts: tuple[FloatArray, ...]) -> FloatArray:
        return parts[p] + math.fsum(float(parts[q].min()) for q in others)

    cost = best_case(problem.objective)
    keep = np.isfinite(problem.objective[p]) & np.isfinite(problem.tiebreak[p])
    for row in problem.rows:
        load = best_case(row.parts)
        keep &= row.load(load) <= row.roof
        if row.price:
            cost = cost + row.price * whole_units(load, row.unit)
    if upper < math.inf:
        keep &= cost <= upper + TOLERANCE * abs(upper)
    key = problem.key[p]
    for q in others:
        if not (problem.key[q] < 0).any():
            keep &= (key < 0) | np.isin(key, problem.key[q])
    return keep
