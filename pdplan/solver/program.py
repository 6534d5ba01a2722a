"""The integer program in PuLP, solved by HiGHS; the only module that imports pulp, and lazily."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from pdplan.solver.columns import Accept, BoolArray, Bound, FloatArray, Pools, Rental
from pdplan.solver.problem import Problem, keys_clash, make_problem

if TYPE_CHECKING:
    import pulp

RANGE = 1e4
"""Spread of the scaled objective: HiGHS's absolute tolerances become 1e-10 of it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Forbids every choice whose columns are all no faster than these delays, one [d] a pool.

    With ``columns`` (original indices) it forbids that one choice instead: a limit that HiGHS
    overlooked within its tolerance.
    """

    delay: tuple[FloatArray, ...]
    columns: tuple[int, ...] | None = None

    def members(self, problem: Problem) -> tuple[BoolArray, ...]:
        """Columns of each pool that are in the cut."""
        if self.columns is not None:
            return tuple(np.equal(o, c) for o, c in zip(problem.origin, self.columns, strict=True))
        pairs = zip(problem.delay, self.delay, strict=True)
        return tuple(np.all(slow >= least, axis=1) for slow, least in pairs)


def lp_names(names: Iterable[str]) -> dict[str, str]:
    """Map names to distinct ones of letters, digits and underscores."""
    mapped: dict[str, str] = {}
    for name in names:
        plain = base = re.sub(r"\W+", "_", name, flags=re.ASCII)
        copy = 1
        while plain in mapped.values():
            copy += 1
            plain = f"{base}_{copy}"
        mapped[name] = plain
    return mapped


def build(
    problem: Problem, cuts: Sequence[Cut] = (), *, cost_limit: float | None = None
) -> tuple[pulp.LpProblem, list[list[pulp.LpVariable]]]:
    """Formulate; with ``cost_limit`` the cost is limited and the tiebreak minimised instead."""
    import pulp

    model = pulp.LpProblem("one_column_per_pool", pulp.LpMinimize)
    pools = lp_names(problem.names)
    labels = lp_names(row.name for row in problem.rows)
    x = [
        [model.add_variable(f"x_{pools[name]}_{column}", cat="Binary") for column in origin]
        for name, origin in zip(problem.names, problem.origin, strict=True)
    ]
    units = {
        row.name: model.add_variable(f"units_{labels[row.name]}", lowBound=0, cat="Integer")
        for row in problem.rows
        if row.unit
    }

    def weighted(parts: Sequence[FloatArray]) -> pulp.LpAffineExpression:
        pairs = zip(x, parts, strict=True)
        terms = [(v, float(a)) for vs, ps in pairs for v, a in zip(vs, ps, strict=True) if a]
        return pulp.LpAffineExpression(terms)

    def chosen(members: Sequence[BoolArray]) -> pulp.LpAffineExpression:
        return weighted([np.asarray(m, dtype=np.float64) for m in members])

    cost = weighted(problem.objective)
    for row in problem.rows:
        if row.price:
            cost += row.price * units[row.name]
    if cost_limit is None:
        model.setObjective(cost)
    else:
        model.setObjective(weighted(problem.tiebreak))
        model.addConstraint(cost <= cost_limit, "equal_objective")
    for name, variables in zip(problem.names, x, strict=True):
        model.addConstraint(pulp.lpSum(variables) == 1, f"one_column_{pools[name]}")
    for row in problem.rows:
        if row.unit:
            rounded = weighted(row.parts) - row.unit * units[row.name] <= 0
            model.addConstraint(rounded, f"whole_nodes_{labels[row.name]}")
        if row.limit < np.inf:
            load = row.unit * units[row.name] if row.unit else weighted(row.parts)
            model.addConstraint(load <= row.limit, f"{row.family}_{labels[row.name]}")
    for a, b in combinations(range(len(x)), 2):
        for key in sorted(set(problem.key[a].tolist())):
            members = [np.zeros(n, dtype=np.bool_) for n in problem.shape]
            members[a], members[b] = problem.key[a] == key, keys_clash(key, problem.key[b])
            if members[b].any():
                name = f"match_{pools[problem.names[a]]}_{pools[problem.names[b]]}_{key}"
                model.addConstraint(chosen(members) <= 1, name)
    for k, cut in enumerate(cuts, start=1):
        members = list(cut.members(problem))
        if all(m.any() for m in members):
            name = f"slower_than_{k}" if cut.columns is None else f"excluded_{k}"
            model.addConstraint(chosen(members) <= len(x) - 1, name)
    return model, x


def solve(
    problem: Problem, cuts: Sequence[Cut], *, cost_limit: float | None = None
) -> tuple[int, ...] | None:
    """Optimal column of each pool, in ``problem``'s indices; None if there is no choice."""
    import pulp

    scaled, limit = _scaled(problem, cost_limit)
    model, x = build(scaled, cuts, cost_limit=limit)
    model.solve(pulp.HiGHS(msg=False, threads=1, gapRel=0, gapAbs=0))
    if model.status == pulp.LpStatusInfeasible:
        return None
    if model.status != pulp.LpStatusOptimal:
        msg = f"HiGHS stopped with status {pulp.LpStatus[model.status]}"
        raise RuntimeError(msg)
    return tuple(int(np.argmax([v.varValue for v in variables])) for variables in x)


def _scaled(problem: Problem, cost_limit: float | None) -> tuple[Problem, float | None]:
    """Shift every pool's objective to start at zero and bring all numbers to a common size."""
    least = [float(part.min()) for part in problem.objective]
    spread = max(float(np.ptp(part)) for part in problem.objective)
    factor = RANGE / (max(spread, max((row.price for row in problem.rows), default=0.0)) or RANGE)
    ties = RANGE / (max(float(np.ptp(part)) for part in problem.tiebreak) or RANGE)
    rows = tuple(replace(row.scaled(), price=row.price * factor) for row in problem.rows)
    objective = tuple((o - low) * factor for o, low in zip(problem.objective, least, strict=True))
    tiebreak = tuple((t - t.min()) * ties for t in problem.tiebreak)
    limit = None if cost_limit is None else (cost_limit - sum(least)) * factor
    return replace(problem, objective=objective, tiebreak=tiebreak, rows=rows), limit


def write_lp(
    pools: Pools,
    *,
    limits: Mapping[str, float],
    bounds: Sequence[Bound] = (),
    accept: Accept | None = None,
    rentals: Sequence[Rental] = (),
    slower_than: Sequence[Sequence[int]] = (),
) -> str:
    """Return the program in LP format, unscaled and unpruned, with a cut for each ``slower_than``.

    Parameters
    ----------
    slower_than : rejected choices, one column index per pool.
    """
    problem = make_problem(pools, limits, bounds, accept, rentals)
    cuts = [
        Cut(tuple(delay[column] for delay, column in zip(problem.delay, choice, strict=True)))
        for choice in slower_than
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.lp"
        build(problem, cuts)[0].writeLP(str(path))
        return path.read_text(encoding="utf-8")
