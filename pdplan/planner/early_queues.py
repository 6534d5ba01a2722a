"""Queues and decode batches that begin empty, at what pools in a steady state tell of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.planner.fleet import Member
from pdplan.planner.sampled import even
from pdplan.pools.demand import Demand
from pdplan.pools.table import PoolTable
from pdplan.queueing import Wait
from pdplan.queueing.transient import batch_while_filling, early_wait_quantiles_s

NEARLY = 0.97
"""Load at which times that depend on it are read where a pool is saturated."""
FILLED = 0.95
"""Of its last value at which a decode batch counts as filled."""
MOMENTS = 48
"""Times at which waits are worked out; linear between them."""
SETTLED = 8192
"""Waits that stand for those of a steady state."""
GRID = 4000
"""Moments at which a filling batch is known."""
LIVES = 40
"""Times as long as the slowest mean answer after which a batch no longer changes."""
EVEN = 64
LEVELS = np.concatenate([(np.arange(EVEN) + 0.5) / EVEN, [0.995, 0.998, 0.9995]])
COVERED = float(-np.log1p(-LEVELS[:EVEN]).mean())
"""Mean of an exponential wait of mean 1 at the even ones of them."""


@dataclass(frozen=True, slots=True, eq=False)
class EarlyQueue:
    """A queue from empty."""

    settled_s: Floats
    """Waits in a steady state, drawn."""
    arrival_rps: float
    capacity_rps: float
    read_rps: float
    """Rate of the steady state."""

    @classmethod
    def of(
        cls, waits: Sequence[Wait | None], arrival_rps: float, capacity_rps: float, read_rps: float
    ) -> "EarlyQueue":
        """Of the phases of one wait, those that follow only after the first."""
        places = even(SETTLED, 2)
        first, *others = [single(wait) for wait in waits if wait is not None]
        found = np.asarray(first.quantile_s(places[:, 0]))
        for wait in others:
            chance = float(wait.probability)
            after = wait
            if wait.follows:
                chance /= max(float(first.probability), 1e-300)
                after = Wait(np.asarray(min(chance, 1.0)), wait.tail_mean_s)
            more = np.asarray(after.quantile_s(places[:, 1]))
            found = found + np.where((found > 0) | (not wait.follows), more, 0.0)
        return cls(np.sort(found), arrival_rps, capacity_rps, read_rps)

    def waits_s(self, elapsed_s: Floats, place: Floats) -> tuple[Floats, Floats]:
        """Waits of requests that come so long after it was empty, at places in [0, 1).

        Those of the Brownian motion whose steady mean is that of the waits, in their shape where
        there is a steady state. Beside them how far the queue has settled, 1 when it has.
        """
        waited = self.settled_s[self.settled_s > 0]
        chance = len(waited) / len(self.settled_s)
        rho = self.arrival_rps / self.capacity_rps
        if not chance > 0:
            return np.zeros(len(place)), np.ones(len(place))
        tail = float(waited.mean())
        if rho >= NEARLY:
            chance += (1 - chance) * min((rho - NEARLY) / (1 - NEARLY), 1.0)
        load = self.read_rps / self.capacity_rps
        variability = 2 * tail * (1 - load) * self.capacity_rps / load
        level = 1 - (1 - place) / chance
        moments = np.quantile(elapsed_s, np.linspace(0, 1, MOMENTS))
        moments = np.unique(np.maximum(moments, 1e-9))
        grid = early_wait_quantiles_s(
            LEVELS, moments, self.arrival_rps, self.capacity_rps, variability, 0.0
        )
        mean = grid[:, :EVEN].mean(axis=1) / (tail * COVERED)
        if rho < NEARLY:
            shape = np.quantile(waited, LEVELS) / (-np.log1p(-LEVELS) * tail)
            grid = grid * shape
        found = _bilinear(grid, moments, elapsed_s, np.maximum(level, 0.0))
        settled = np.interp(elapsed_s, moments, np.minimum(mean, 1.0))
        return np.where(level > 0, found, 0.0), settled


def _bilinear(grid: Floats, moments: Floats, elapsed_s: Floats, level: Floats) -> Floats:
    """Read a table of waits [T, L] between its times and levels."""
    score, known = -np.log1p(-np.clip(level, 0, 0.9999)), -np.log1p(-LEVELS)
    known, grid = np.append(0.0, known), np.column_stack([np.zeros(len(grid)), grid])
    j = np.clip(np.searchsorted(known, score), 1, len(known) - 1)
    over = (score - known[j - 1]) / (known[j] - known[j - 1])
    if len(moments) == 1:
        return np.asarray(grid[0, j - 1] + over * (grid[0, j] - grid[0, j - 1]))
    i = np.clip(np.searchsorted(moments, elapsed_s), 1, len(moments) - 1)
    part = np.clip((elapsed_s - moments[i - 1]) / (moments[i] - moments[i - 1]), 0.0, 1.0)
    low = grid[i - 1, j - 1] + over * (grid[i - 1, j] - grid[i - 1, j - 1])
    high = grid[i, j - 1] + over * (grid[i, j] - grid[i, j - 1])
    return np.asarray(np.maximum(low + part * (high - low), 0.0))


def single(wait: Wait | None) -> Wait:
    """A wait of one column."""
    assert wait is not None
    chance, tail = np.ravel(wait.probability)[0], np.ravel(wait.tail_mean_s)[0]
    return Wait(chance, tail, wait.follows)


@dataclass(frozen=True, slots=True, eq=False)
class EarlyBatch:
    """A decode instance that began empty."""

    moments_s: Floats
    done: Floats
    """Steps that a request in it from the beginning would have taken by then."""
    filled_s: float
    """When the batch is about as large as it gets."""

    @classmethod
    def of(
        cls, member: Member, table: PoolTable, demand: Demand, rate_rps: float, read_rps: float
    ) -> "EarlyBatch":
        """Let requests come at a rate to all instances; the table is of another."""
        n, cap = member.pool.instances, member.pool.max_batch
        most = min(rate_rps, float(table.capacity_rps[0]))
        step = table.step_s[0] * more_prompts(table, most / read_rps)
        steps = demand.decode_steps
        slowest = steps * float(step[min(cap, len(step)) - 1])
        moments = np.linspace(0, LIVES * slowest, GRID)
        filling = table.step_s[0] * more_prompts(table, rate_rps / read_rps)
        batch = batch_while_filling(moments, rate_rps / n, steps, filling, cap)
        settled = float(batch_while_filling([1e9], read_rps / n, steps, step, cap)[0])
        sizes = np.arange(1.0, len(step) + 1)
        raised = 1.0
        if rate_rps < float(table.capacity_rps[0]):
            steady = float(table.tpot_mean_s[0]) * demand.tokens_per_step
            raised = steady / float(np.interp(settled, sizes, step))
        filled = batch >= FILLED * batch[-1]
        pace = np.where(filled, np.interp(batch, sizes, step), np.interp(batch, sizes, filling))
        pace = pace * raised
        width = np.diff(moments)
        done = np.concatenate([[0.0], np.cumsum(width / ((pace[1:] + pace[:-1]) / 2))])
        return cls(moments, done, float(moments[int(filled.argmax())]))

    def lasting_s(self, joined_s: Floats, steps: Floats) -> Floats:
        """Time that so many steps take a request that joins then."""
        last, done = self.moments_s[-1], self.done[-1]
        pace = (last - self.moments_s[-2]) / (done - self.done[-2])
        begun = np.interp(joined_s, self.moments_s, self.done)
        end = begun + np.maximum(joined_s - last, 0.0) / pace + steps
        ended = np.interp(end, self.done, self.moments_s) + np.maximum(end - done, 0.0) * pace
        return np.asarray(ended - joined_s)


def more_prompts(table: PoolTable, factor: float) -> float:
    """How much longer steps last where so many times as many prompts ride on them."""
    if "P" not in table.stages:
        return 1.0
    share = 1 - float(table.times.step_s[0, 0] / table.step_s[0, 0])
    return (1 - share) / (1 - min(share * factor, NEARLY))
