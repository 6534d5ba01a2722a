"""End-to-end latency: the way to decode, then every further token of the answer."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement.latency import Sojourn
from pdplan.plan import Spread
from pdplan.planner.handed import shown_answers
from pdplan.planner.paces import GRID, Paces
from pdplan.pools.demand import Demand
from pdplan.queueing import sojourn_mean_s, sojourn_quantile_s

EDGES = np.array(
    [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88, 0.92, 0.94, 0.96, 0.98, 0.99, 0.995, 1]
)
SHARES = np.diff(EDGES)
LEVELS = (EDGES[:-1] + EDGES[1:]) / 2
"""Levels at which TPOT stands for its distribution, fine in the tail."""
POINTS = 160
"""Into so many the latencies of one kind of request are merged, finest in the upper tail."""


def answers_s(way: Sojourn, pace: Paces, demand: Demand, weight: Floats, levels: Floats) -> Spread:
    """Latency of whole answers of requests at points of given weights [S]: way + (o - 1) TPOT.

    TPOT belongs to the answer's length o: a long answer averages over more steps, so its TPOT
    spreads less. It is taken as independent of the way there. Points of one kind of
    request (with media, without) are merged, each with its conditional mean and the kind's waits.
    """
    traffic = demand.traffic
    points = np.flatnonzero(weight > 0)
    tokens = np.maximum(traffic.output_tokens[points] - 1, 0.0)
    joint = weight[points, None] * traffic.output_weight[points]
    paced = _paces_at(pace, demand, tokens)
    joint, tokens, paced = shown_answers(demand, points, joint, tokens, paced)
    total = way.fixed_s[0][points, None, None] + tokens[:, :, None] * paced
    share = joint[:, :, None] * SHARES
    media = demand.media.present
    parts = []
    for kind in (False, True):
        rows = media[points] == kind
        if share[rows].sum() > 0:
            merged = _merged(share[rows].ravel(), total[rows].ravel())
            of_each = weight[points[rows]] / weight[points[rows]].sum()
            chance = of_each @ way.probabilities[0][points[rows]]
            parts.append((*merged, chance, way.tail_means_s[0][points[rows][0]]))
    counts = [len(part[0]) for part in parts]
    weights, offsets = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    chances, tails = (np.repeat([part[i] for part in parts], counts, axis=0) for i in (2, 3))
    values = sojourn_quantile_s(levels, weights, offsets, chances, tails, way.follows)
    mean = float(sojourn_mean_s(weights, offsets, chances, tails))
    return Spread(mean, *map(float, np.asarray(values)))


def _paces_at(pace: Paces, demand: Demand, tokens: Floats) -> Floats:
    """Decode steps at LEVELS for answers of given tokens after the first, per token [S, O, L]."""
    column = np.searchsorted(GRID, LEVELS)
    share = (LEVELS - GRID[column - 1]) / (GRID[column] - GRID[column - 1])
    steps = pace.steps_s
    nodes = steps[:, column - 1] * (1 - share) + steps[:, column] * share
    own = pace.outputs.steps * demand.tokens_per_step
    at = np.interp(tokens, own, np.arange(len(own)))
    below = np.minimum(at.astype(np.int64), max(len(own) - 2, 0))
    above = np.minimum(below + 1, len(own) - 1)
    part = (at - below)[..., None]
    nodes = nodes * (pace.step_means_s / (nodes @ SHARES))[:, None]
    return np.asarray(nodes[below] * (1 - part) + nodes[above] * part)


def _merged(weight: Floats, value: Floats) -> tuple[Floats, Floats]:
    """Points sorted by value and merged to at most POINTS, each by the share above it."""
    order = np.argsort(value, kind="stable")
    weight, value = weight[order], value[order]
    above = np.clip(1 - (np.cumsum(weight) - weight / 2) / weight.sum(), 0.0, 1.0)
    bins = np.minimum((1 - np.sqrt(above)) * POINTS, POINTS - 1).astype(np.int64)
    mass = np.asarray(np.bincount(bins, weight, POINTS), float)
    moment = np.asarray(np.bincount(bins, weight * value, POINTS), float)
    kept = mass > 0
    return mass[kept], moment[kept] / mass[kept]
