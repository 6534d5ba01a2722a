"""Choose one column per pool: grid search, reduced-cost fixing, integer program with cuts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pdplan.solver import program
from pdplan.solver.columns import ACCEPT, Accept, Bound, Choice, FloatArray, Pools, Rental
from pdplan.solver.grid import GRID, Search, search_grid, search_grids
from pdplan.solver.problem import TOLERANCE, Problem, Row, less, make_problem, outer_sum
from pdplan.solver.program import Cut
from pdplan.solver.prune import drop_dominated, tighten

CHECK_COLUMNS = 120
CHECK_CUTS = 24
"""A complete grid search is a proof; the program then only confirms it, where it is this small."""
CHECK_ROUNDS = 2


def choose(
    pools: Pools,
    *,
    limits: Mapping[str, float],
    bounds: Sequence[Bound] = (),
    accept: Accept | None = None,
    rentals: Sequence[Rental] = (),
    incumbent: Sequence[int] | None = None,
    max_rounds: int = 200,
) -> Choice:
    """Return the choice of least objective, then least tiebreak, then lowest indices.

    Parameters
    ----------
    limits : resource name to the most that all pools may use together.
    bounds : linear necessary conditions.
    accept : exact test; must reject whatever is no faster than a choice that it rejects.
    rentals : resources rented in whole units.
    incumbent : a choice known to be good, to start from; ignored if it is not valid.
    max_rounds : integer programs solved before settling for an accepted choice without proof.
    """
    whole = make_problem(pools, limits, bounds, accept, rentals)
    search = Search(whole)
    if incumbent is not None:
        one = whole.single(incumbent)
        if one.admissible()[0] and one.accepted(np.zeros((1, len(pools)), dtype=np.int64))[0]:
            search.offer(whole, incumbent)
    problem = tighten(whole, search.cost)
    if 0 not in problem.shape:
        problem, complete = search_grids(drop_dominated(problem), search)
        if complete and search.best is None:
            return _answer(search, math.inf)
        if not complete:
            return _answer(search, _prove(problem, search, max_rounds))
        small = sum(problem.shape) <= CHECK_COLUMNS and len(search.cuts) <= CHECK_CUTS
        if small and problem.combinations > 1:  # one choice left is its own proof
            _lower_bound(problem, search, CHECK_ROUNDS)
        return _answer(search, search.cost)
    return _answer(search, math.inf)


def _prove(problem: Problem, search: Search, max_rounds: int) -> float:
    """Find the optimum by the integer program alone; returns the proven bound.

    A second program decides among equal objectives where the ties are too many for a grid.
    """
    bound = _lower_bound(problem, search, max_rounds)
    if less(bound, search.cost) or search.best is None:
        return bound
    problem = tighten(problem, search.cost)
    if problem.combinations <= GRID:
        search_grid(problem, search)
    elif any(np.ptp(part) for part in problem.tiebreak):
        _break_ties(problem, search, max_rounds)
    return search.cost


def _lower_bound(problem: Problem, search: Search, max_rounds: int) -> float:
    """Solve and cut until the program's optimum is accepted or no better than the best choice.

    Rounds are counted only once an accepted choice is known, so that one is always found.
    """
    bound = -math.inf
    rounds = 0
    while rounds < max_rounds or search.best is None:
        rounds += 1
        search.programs += 1
        found = program.solve(problem, search.cuts)
        if found is None:
            return search.cost
        cost = float(problem.single(found).cost()[0])
        bound = max(bound, min(cost, search.cost))
        if not less(cost, search.cost):
            return search.cost
        if _verified(problem, search, found):
            search.offer(problem, found)
            return search.cost
    return bound


def _break_ties(problem: Problem, search: Search, max_rounds: int) -> None:
    for _ in range(max_rounds):
        found = program.solve(problem, search.cuts, cost_limit=search.cost)
        if found is None:
            return
        one = problem.single(found)
        if not less(float(outer_sum(one.tiebreak)[0]), search.tiebreak):
            return
        if less(search.cost, float(one.cost()[0])):
            search.cuts.append(_exclude(problem, found))
        elif _verified(problem, search, found):
            search.offer(problem, found)
            return


def _verified(problem: Problem, search: Search, choice: tuple[int, ...]) -> bool:
    """Exact check of the program's optimum; a failure leaves a cut behind."""
    one = problem.single(choice)
    if not one.admissible()[0]:
        search.cuts.append(_exclude(problem, choice))
        return False
    at = np.array(choice)
    if not problem.accepted(at[None, :])[0]:
        search.reject(problem, at, float(one.cost()[0]))
        return False
    return True


def _exclude(problem: Problem, choice: tuple[int, ...]) -> Cut:
    return Cut((), tuple(int(o[c]) for o, c in zip(problem.origin, choice, strict=True)))


def _answer(search: Search, bound: float) -> Choice:
    considered, cuts = sum(search.whole.shape), len(search.cuts)
    if search.best is None:
        violated = _violated(search.whole)
        return Choice(
            "infeasible",
            None,
            math.inf,
            math.inf,
            0.0,
            considered,
            cuts,
            violated=violated,
            programs=search.programs,
        )
    optimal = not less(bound, search.cost)
    if optimal:
        bound = search.cost
    gap = (search.cost - bound) / abs(search.cost) if not optimal else 0.0
    one = search.whole.single(search.best)
    binding = [
        row.name
        for row, full in zip(one.rows, search.whole.rows, strict=True)
        if row.limit < math.inf and _no_slack(row, full)
    ]
    if less(search.rejected_cost, search.cost):
        binding.append(ACCEPT)
    return Choice(
        "optimal" if optimal else "feasible",
        search.best,
        search.cost,
        bound,
        gap,
        considered,
        cuts,
        binding=tuple(binding),
        programs=search.programs,
    )


def _no_slack(chosen: Row, full: Row) -> bool:
    """Whether the slack is nothing next to the smallest difference between columns."""
    steps = _steps(np.concatenate([p[np.isfinite(p)] for p in full.parts]))
    step = full.unit or float(steps.min(initial=math.inf))
    step = step if step < math.inf else abs(full.limit)
    slack = full.limit - float(chosen.load(outer_sum(chosen.parts))[0])
    return slack <= max(TOLERANCE * step, 1e-12 * abs(full.limit))


def _steps(values: FloatArray) -> FloatArray:
    """Differences between neighbours among distinct values."""
    steps = np.diff(np.sort(values))
    return np.asarray(steps[steps > 0])


def _violated(problem: Problem) -> tuple[str, ...]:
    """Pools without columns, else conditions that no choice meets even alone."""
    empty = [name for name, n in zip(problem.names, problem.shape, strict=True) if n == 0]
    if empty:
        return tuple(empty)
    return tuple(
        row.name
        for row in problem.rows
        if row.load(np.array([sum(float(part.min()) for part in row.parts)]))[0] > row.roof
    )
