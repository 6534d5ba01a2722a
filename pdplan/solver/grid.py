"""The state of a search and its numpy half: exhaustive grids, and cuts from what is rejected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pdplan.solver.columns import BoolArray, FloatArray, IntArray
from pdplan.solver.problem import TOLERANCE, Problem, less, outer_sum
from pdplan.solver.program import Cut
from pdplan.solver.prune import tighten

GRID = 200_000
"""Combinations that are evaluated at once."""
GRIDS = 150
"""Grids searched before the rest is left to the integer program."""
GRID_CUTS = 64
"""Cuts derived on the grid; further rejected choices are only struck out there."""


@dataclass(slots=True)
class Search:
    """What is known so far: the best accepted choice, cuts, and the cheapest rejected choice."""

    whole: Problem
    best: tuple[int, ...] | None = None
    cost: float = math.inf
    tiebreak: float = math.inf
    cuts: list[Cut] = field(default_factory=list)
    rejected_cost: float = math.inf
    programs: int = 0
    """Integer programs solved."""

    def offer(self, problem: Problem, choice: Sequence[int]) -> None:
        """Take an accepted choice unless it is worse than the best."""
        one = problem.single(choice)
        cost, tiebreak = float(one.cost()[0]), float(outer_sum(one.tiebreak)[0])
        columns = tuple(int(o[0]) for o in one.origin)
        if self.best is None or _before(
            (cost, tiebreak), columns, (self.cost, self.tiebreak), self.best
        ):
            self.best = columns
            self.cost, self.tiebreak = cost, tiebreak

    def reject(self, problem: Problem, choice: IntArray, cost: float) -> Cut:
        """Cut off a rejected choice with as much as can go with it."""
        self.rejected_cost = min(self.rejected_cost, cost)
        fastest = _fastest_rejected(problem, choice, start=len(self.cuts))
        cut = Cut(tuple(d[c] for d, c in zip(problem.delay, fastest, strict=True)))
        self.cuts.append(cut)
        return cut


def _before(
    values: tuple[float, float],
    columns: tuple[int, ...],
    other_values: tuple[float, float],
    other_columns: tuple[int, ...],
) -> bool:
    """Whether a choice is better: objective, then tiebreak, then lower indices."""
    for a, b in zip(values, other_values, strict=True):
        if less(a, b) or less(b, a):
            return a < b
    return columns < other_columns


def search_grids(problem: Problem, search: Search) -> tuple[Problem, bool]:
    """Search one grid of likely columns, then all grids that can hold something better.

    Returns the columns that remain, and whether every choice that can be optimal was looked at.
    """
    search_grid(problem.take(_beam(problem)), search)
    problem = tighten(problem, search.cost)
    complete = _search_halves(problem, search, budget=[GRIDS])
    return tighten(problem, search.cost), complete


def _search_halves(problem: Problem, search: Search, budget: list[int]) -> bool:
    """Split the largest pool, cheaper half first, until the grids are small or cannot win."""
    problem = tighten(problem, search.cost)
    if 0 in problem.shape:
        return True
    if problem.combinations <= GRID:
        budget[0] -= 1
        search_grid(problem, search)
        return True
    if budget[0] <= 0:
        return False
    largest = int(np.argmax(problem.shape))
    order = np.argsort(problem.objective[largest], kind="stable")
    columns = [np.arange(n) for n in problem.shape]
    complete = True
    for half in np.array_split(order, 2):
        columns[largest] = np.sort(half)
        complete &= _search_halves(problem.take(columns), search, budget)
    return complete


def _beam(problem: Problem) -> list[IntArray]:
    """Columns of each pool, few enough for a grid: the cheapest, and some from the whole range."""
    most = max(problem.shape)
    while math.prod(min(n, most) for n in problem.shape) > GRID:
        most = int(most * 0.9)
    columns = []
    for objective in problem.objective:
        order = np.argsort(objective, kind="stable")
        if len(order) > most:
            spread = np.linspace(most // 2, len(order) - 1, most - most // 2).astype(np.int64)
            order = order[np.concatenate([np.arange(most // 2), spread])]
        columns.append(np.sort(order))
    return columns


def search_grid(grid: Problem, search: Search) -> None:
    """Find the best accepted choice of a grid: least cost, then tiebreak, then index."""
    cost = grid.cost()
    alive = cost <= search.cost + TOLERANCE * abs(search.cost) if search.best else cost < math.inf
    if not alive.any():
        return
    alive &= grid.admissible()
    for cut in search.cuts:
        _strike(grid, alive, cut)
    for values in (cost, outer_sum(grid.tiebreak), np.arange(alive.size, dtype=np.float64)):
        found = _least_accepted(grid, values, alive, search)
        if found is None:
            return
        alive &= values <= values[found] + TOLERANCE * abs(values[found])
    search.offer(grid, grid.unravel(np.array([found]))[0])


def _least_accepted(
    grid: Problem, values: FloatArray, alive: BoolArray, search: Search
) -> int | None:
    """Position of the least value that is alive and accepted; strikes out what is rejected."""
    size = 64 if grid.accept is not None else 1
    while (live := np.flatnonzero(alive)).size:
        near = live
        if live.size > size:
            near = np.sort(live[np.argpartition(values[live], size - 1)[:size]])
        batch = near[np.argsort(values[near], kind="stable")]
        accepted = grid.accepted(grid.unravel(batch))
        first = int(np.argmax(accepted)) if accepted.any() else len(batch)
        for position in batch[:first]:
            if alive[position] and len(search.cuts) < GRID_CUTS:
                choice = grid.unravel(np.array([position]))[0]
                cost = float(grid.single(choice).cost()[0])
                _strike(grid, alive, search.reject(grid, choice, cost))
        alive[batch[:first]] = False
        if first < len(batch):
            return int(batch[first])
        size = min(size * 4, 16_384)
    return None


def _strike(grid: Problem, alive: BoolArray, cut: Cut) -> None:
    alive.reshape(grid.shape)[np.ix_(*cut.members(grid))] = False


def _fastest_rejected(problem: Problem, choice: IntArray, start: int) -> IntArray:
    """Walk to faster columns, pool by pool, while the choice stays rejected."""
    choice = choice.copy()
    for step in range(len(choice)):
        p = (start + step) % len(choice)
        delay = problem.delay[p]
        faster = np.flatnonzero((delay <= delay[choice[p]]).all(axis=1))
        trials = np.tile(choice, (len(faster), 1))
        trials[:, p] = faster
        faster = faster[~problem.accepted(trials)]
        if faster.size:
            covered = (delay >= delay[faster][:, None]).all(axis=2).sum(axis=1)
            choice[p] = faster[np.argmax(covered)]
    return choice
