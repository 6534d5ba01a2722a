"""Columns of a pool: which numbers of instances and batch limits are worth considering.

First a coarse ladder of instance counts per candidate, to find a good plan quickly; then, knowing
what that plan costs, every single count that could still beat it.
"""

from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.planner.goals import Goal, tpot_goals
from pdplan.pools.demand import Demand
from pdplan.pools.load import Discipline, occupancy, pool_table, tpot_quantiles_s
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import decode_states, largest_stable_batch, tpot_quantile_s

NEARLY_SATURATED = 0.995
HALVINGS = 30
"""Bisections of an instance's rate at most; they end when the number of instances is settled."""


@dataclass(frozen=True, slots=True, eq=False)
class Starts:
    """Candidates of one pool with the least number of instances that could work."""

    config: Ints
    max_batch: Ints
    least: Ints
    top: Ints
    """Largest number worth looking at: where the coarse ladder ends."""

    @classmethod
    def from_least(cls, config: Ints, max_batch: Ints, least: Ints) -> "Starts":
        """Set the top by the ladder's last rung."""
        return cls(config, max_batch, least, 31 * least + 8)

    def take(self, rows: Ints) -> "Starts":
        """Some of the candidates."""
        return Starts(self.config[rows], self.max_batch[rows], self.least[rows], self.top[rows])


def least_instances(
    times: Times, demand: Demand, goals: tuple[Goal, ...], batches: tuple[int, ...]
) -> Starts:
    """Fewest instances of each candidate at which the pool is stable and meets TPOT."""
    usable = np.flatnonzero(times.fits())
    if "D" not in times.stages:
        most = NEARLY_SATURATED * occupancy(times, demand).capacity_rps()[usable]
        rate = demand.rate_rps * (demand.media_share if times.stages == "E" else 1.0)
        least = np.floor(rate / most).astype(np.int64) + 1
        return Starts.from_least(usable, np.ones_like(usable), least)
    config, cap = _batch_limits(times, goals, usable, batches)
    highest = _highest_rate(times, demand, goals, config, cap)
    keep = highest > demand.rate_rps * 1e-9
    config, cap, highest = config[keep], cap[keep], highest[keep]
    least = np.ceil(demand.rate_rps / highest * (1 - 1e-12)).astype(np.int64)
    return Starts.from_least(config, cap, np.maximum(least, 1))


def _batch_limits(
    times: Times, goals: tuple[Goal, ...], usable: Ints, batches: tuple[int, ...]
) -> tuple[Ints, Ints]:
    """Batch limits of each candidate: as asked, if they fit, or the cache's, TPOT's and a third."""
    largest = times.step_s.shape[1]
    fits = np.minimum(np.floor(times.resident[usable]), largest).astype(np.int64)
    if batches:
        asked = np.array(sorted(set(batches)), np.int64)
        pairs = _distinct(
            np.repeat(usable, len(asked)),
            np.minimum(np.tile(asked, len(usable)), np.repeat(fits, len(asked))),
        )
        return pairs[:, 0], pairs[:, 1]
    limits = [fits]
    _, tpot = tpot_goals(goals)
    if tpot.size:
        quick = np.asarray(largest_stable_batch(times.step_s[usable], tpot.min()))
        quick = np.clip(quick, 1, fits)
        limits += [quick, np.sqrt(quick * fits.astype(float)).astype(np.int64)]
    pairs = _distinct(np.tile(usable, len(limits)), np.concatenate(limits))
    return pairs[:, 0], pairs[:, 1]


def _distinct(first: Ints, second: Ints) -> Ints:
    """Distinct pairs in order [n, 2]."""
    order = np.lexsort((second, first))
    pairs = np.column_stack([first, second])[order]
    new = np.ones(len(pairs), bool)
    new[1:] = (np.diff(pairs, axis=0) != 0).any(1)
    return np.asarray(pairs[new])


def _highest_rate(
    times: Times, demand: Demand, goals: tuple[Goal, ...], config: Ints, cap: Ints
) -> Floats:
    """Rate that one instance takes at most, by bisection; 0 where TPOT cannot be met [rows]."""
    levels, limits = tpot_goals(goals)
    work = np.zeros(len(config))
    if "P" in times.stages:
        work = demand.mean(times.marginal_s + times.encode_s)[config]
    step = times.step_s[config]
    full = np.take_along_axis(step, cap[:, None] - 1, axis=1)[:, 0]
    saturated = NEARLY_SATURATED / (work + demand.decode_steps * full / cap)
    if not levels.size:
        return saturated

    def meets(rate: Floats) -> np.ndarray:
        slowed = step / np.maximum(1 - rate * work, 1e-6)[:, None]
        states = decode_states(slowed, rate, demand.decode_steps, cap)
        reached = np.asarray(tpot_quantile_s(states, slowed, levels, demand.output_scv))
        return np.asarray((reached <= limits).all(1) & states.stable)

    low, high = np.zeros(len(config)), saturated.copy()
    low[meets(high)] = high[meets(high)]
    possible = step[:, 0] <= limits.min()
    for _ in range(HALVINGS):
        fewest, enough = (np.ceil(demand.rate_rps / np.maximum(r, 1e-300)) for r in (high, low))
        if (~possible | (fewest >= enough)).all():
            break
        middle = (low + high) / 2
        good = meets(middle)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    return np.where(possible, low, 0.0)


def coarse(starts: Starts) -> Columns:
    """A ladder of instance counts above each candidate's least: the first few, then by root n."""
    least = starts.least[:, None].astype(float)
    steps = np.array([0, 1, 2, 3]) + 0 * least
    roots = np.ceil(np.sqrt(least) * np.array([0.5, 1, 1.5, 2, 3, 5]))
    shares = np.ceil(least * np.array([0.1, 0.3, 1.0, 3.0, 9.0, 30.0]))
    counts = (least + np.concatenate([steps, roots, shares], axis=1)).astype(np.int64)
    rows = np.repeat(np.arange(len(starts.config)), counts.shape[1])
    pairs = _distinct(rows, counts.ravel())
    return Columns.of(starts.config[pairs[:, 0]], pairs[:, 1], starts.max_batch[pairs[:, 0]])


def dense(starts: Starts, most: Ints) -> Columns:
    """Every count from each candidate's least up to `most` of it [rows]."""
    width = np.clip(most - starts.least + 1, 0, None)
    rows = np.repeat(np.arange(len(starts.config)), width)
    offset = np.arange(len(rows)) - np.repeat(np.cumsum(width) - width, width)
    return Columns.of(starts.config[rows], starts.least[rows] + offset, starts.max_batch[rows])


def loaded(
    times: Times,
    columns: Columns,
    demand: Demand,
    discipline: Discipline,
    goals: tuple[Goal, ...],
) -> PoolTable:
    """Work out columns and keep those that are stable and meet every TPOT objective."""
    table = pool_table(times, columns, demand, discipline)
    keep = np.asarray(table.stable, bool)
    levels, limits = tpot_goals(goals)
    if "D" in times.stages and levels.size and keep.any():
        quick = tpot_quantiles_s(table, demand, levels) <= limits * (1 + 1e-9)
        keep &= quick.all(1)
    return table if keep.all() else table.take(np.flatnonzero(keep))
