"""Columns of a pool: which numbers of instances and batch limits are worth considering.

First a coarse ladder of instance counts per candidate, to find a good plan quickly; then, knowing
what that plan costs, every single count that could still beat it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.planner.goals import Goal, tightest, tpot_goals, tpot_goals_by_class
from pdplan.pools.demand import Demand
from pdplan.pools.drafting import saturated_rps
from pdplan.pools.load import Discipline, class_tpot_quantiles_s, occupancy, pool_table
from pdplan.pools.local_prefill import demand_at, prefills, prompts_at
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times, resident_at
from pdplan.queueing import largest_stable_batch

NEARLY_SATURATED = 0.995
DOUBLINGS = 16
"""Of the least number of instances that bears the load; what needs more has no use."""
NEAR = 40
"""A least count need not be nearer than one in so many."""
EXACT = 1e-9
"""Relative excess over an objective that is not counted."""


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


def bearing(
    times: Times, demand: Demand, goals: tuple[Goal, ...], batches: tuple[int, ...]
) -> Starts:
    """Fewest instances of each candidate that bear the load, whatever that does to latencies."""
    usable = np.flatnonzero(times.fits())
    if "D" not in times.stages:
        demand = demand_at(times.stages, demand)
        most = NEARLY_SATURATED * occupancy(times, demand).capacity_rps()[usable]
        rate = demand.rate_rps * (demand.media_share if times.stages == "E" else 1.0)
        least = np.floor(rate / most).astype(np.int64) + 1
        return Starts.from_least(usable, np.ones_like(usable), least)
    config, cap = _batch_limits(times, demand, goals, usable, batches)
    work = np.zeros(len(config))
    if prefills(times.stages, demand):
        share, weight = prompts_at(times.stages, demand)
        work = share * ((times.marginal_s + times.encode_s) @ weight)[config]
    full = np.take_along_axis(times.step_s[config], cap[:, None] - 1, axis=1)[:, 0]
    used = demand.decode_steps * full / cap
    most = NEARLY_SATURATED / (work + used)
    if times.cycles is not None:
        most = NEARLY_SATURATED * saturated_rps(
            times.cycles, config, cap, demand.decode_steps, work
        )
    least = np.maximum(np.ceil(demand.rate_rps / most * (1 - 1e-12)).astype(np.int64), 1)
    _, limits = tpot_goals(goals)
    quick = times.step_s[config, 0] / demand.tokens_per_step <= limits.min(initial=np.inf)
    return Starts.from_least(config, cap, least).take(np.flatnonzero(quick))


def raised(
    times: Times,
    demand: Demand,
    goals: tuple[Goal, ...],
    discipline: Discipline,
    starts: Starts,
    most: Floats,
    tabled: Callable[[Columns], PoolTable] | None = None,
) -> Starts:
    """Raise counts until the pool is stable, has room and meets the tightest TPOT.

    TPOT falls with instances, so by doubling and bisection; candidates that need more than `most`
    [rows] are left out. Between a count that fails and one that does not, by turns the middle and
    where a straight line says: 1 / TPOT falls about evenly with the load of an instance. It ends a
    little below the least count where that is large: what is below it fails for sure.
    `tabled` puts columns under load where more than the pool itself is to be stable.
    """
    worth = np.flatnonzero(starts.least <= most)
    starts, most = starts.take(worth), most[worth]
    goals = tightest(goals) if "D" in times.stages else ()
    if not goals and not _keeps(times, demand) and tabled is None:
        return starts

    def pace(rows: Ints, counts: Ints) -> Floats:
        """Objective over TPOT, the worst of all levels; 0 without a steady state."""
        columns = Columns.of(starts.config[rows], counts, starts.max_batch[rows])
        columns, room = with_room(times, columns, demand)
        table = (
            pool_table(times, columns, demand, discipline) if tabled is None else tabled(columns)
        )
        ratio = np.maximum(tpot_ratio(table, demand, goals), EXACT)
        return np.where(room & table.stable, 1 / ratio, 0.0)

    low, high = starts.least - 1, starts.least.copy()
    below, above = np.zeros(len(high)), np.zeros(len(high))
    rows = np.arange(len(high))
    for _ in range(DOUBLINGS):
        if not rows.size:
            break
        above[rows] = pace(rows, high[rows])
        rows = rows[above[rows] < 1 - EXACT]
        low[rows], below[rows] = high[rows], above[rows]
        rows = rows[high[rows] < most[rows]]
        high[rows] = np.minimum(2 * high[rows], most[rows]).astype(np.int64)
    kept = np.flatnonzero(above >= 1 - EXACT)
    rows, straight = kept, True
    while (rows := rows[high[rows] - low[rows] > np.maximum(1, low[rows] // NEAR)]).size:
        a, b = low[rows], high[rows]
        share = np.full(len(rows), 0.5)
        if straight:
            share = (above[rows] - 1) / np.maximum(above[rows] - below[rows], EXACT)
        guess = 1 / (1 / b + np.clip(share, 0, 1) * (1 / a - 1 / b))
        middle = np.clip(np.rint(guess).astype(np.int64), a + 1, b - 1)
        found = pace(rows, middle)
        good = found >= 1 - EXACT
        low[rows[~good]], below[rows[~good]] = middle[~good], found[~good]
        high[rows[good]], above[rows[good]] = middle[good], found[good]
        straight = not straight
    return Starts.from_least(starts.config[kept], starts.max_batch[kept], low[kept] + 1)


def tpot_ratio(table: PoolTable, demand: Demand, goals: tuple[Goal, ...]) -> Floats:
    """Every class's own TPOT percentiles over its objectives, the worst of them [K]."""
    worst = np.zeros(len(table))
    for weight, levels, limits in tpot_goals_by_class(goals):
        reached = class_tpot_quantiles_s(table, demand, weight, levels)
        worst = np.maximum(worst, (reached / limits).max(axis=1))
    return worst


def tpot_met(table: PoolTable, demand: Demand, goals: tuple[Goal, ...]) -> np.ndarray:
    """Whether every class's own TPOT percentiles are within its objectives [K]."""
    return np.asarray(tpot_ratio(table, demand, goals) <= 1 + EXACT)


def _batch_limits(
    times: Times,
    demand: Demand,
    goals: tuple[Goal, ...],
    usable: Ints,
    batches: tuple[int, ...],
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
        step = tpot.min() * demand.tokens_per_step
        quick = np.asarray(largest_stable_batch(times.step_s[usable], step))
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
    columns, keep = with_room(times, columns, demand)
    table = pool_table(times, columns, demand, discipline)
    keep = keep & table.stable
    if not keep.all():
        table = table.take(np.flatnonzero(keep))
    if "D" not in times.stages or not len(table):
        return table
    good = tpot_met(table, demand, goals)
    return table if good.all() else table.take(np.flatnonzero(good))


def with_room(times: Times, columns: Columns, demand: Demand) -> tuple[Columns, np.ndarray]:
    """Lower batch limits to what fits beside the history that sessions keep between turns.

    More instances keep less each, so a column's limit rises with its count. Also which columns
    [K] have room for one request at all.
    """
    if not _keeps(times, demand):
        return columns, np.ones(len(columns), bool)
    config: Any = columns.config
    room = resident_at(times, demand, columns.instances.astype(float), config)
    batch = np.minimum(columns.max_batch, np.floor(room)).astype(np.int64)
    limited = Columns(columns.config, columns.instances, np.maximum(batch, 1))
    return limited, np.asarray(batch >= 1)


def _keeps(times: Times, demand: Demand) -> bool:
    """Whether sessions keep their history in this pool between turns."""
    return demand.idle_tokens_s > 0 and bool((times.idle_bytes_s > 0).any())
