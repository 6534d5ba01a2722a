"""Why there is no choice: which condition, relaxed by how much, would allow one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pdplan.solver.columns import ACCEPT, MATCH, Accept, Bound, Choice, Pools, Rental
from pdplan.solver.search import choose


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One condition that, relaxed alone, makes the program feasible.

    Parameters
    ----------
    name : resource, bound, ``accept`` or ``match``.
    limit, needed : the limit as given and the least one that works; None for ``accept`` and
        ``match``, which have none.
    objective : of the cheapest choice once so relaxed.
    """

    name: str
    limit: float | None
    needed: float | None
    objective: float

    @property
    def increase(self) -> float:
        """Relative increase of the limit [-]; infinite where there is no limit to compare with."""
        if not self.limit or self.needed is None:
            return math.inf
        return (self.needed - self.limit) / abs(self.limit)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Relaxations by relative increase; where none helps alone, what must be dropped together.

    Parameters
    ----------
    feasible : there is a choice, so nothing is wrong.
    empty : pools without columns.
    relaxations : each helps alone, the smallest relative increase first.
    conflict : conditions to drop together, minimal; empty if one relaxation helps.
    """

    feasible: bool
    empty: tuple[str, ...]
    relaxations: tuple[Relaxation, ...]
    conflict: tuple[str, ...]

    @property
    def nearest(self) -> Relaxation | None:
        """The smallest relaxation that helps alone, or None."""
        return self.relaxations[0] if self.relaxations else None


@dataclass(frozen=True, slots=True)
class _Conditions:
    pools: Pools
    limits: Mapping[str, float]
    bounds: Sequence[Bound]
    accept: Accept | None
    rentals: Sequence[Rental]

    def names(self) -> list[str]:
        """Every condition that can be dropped."""
        names = [*self.limits, *(b.name for b in self.bounds)]
        names += [ACCEPT] if self.accept is not None else []
        keys = {int(k) for pool in self.pools for k in set(pool.key.tolist()) if k >= 0}
        return names + ([MATCH] if len(keys) > 1 and len(self.pools) > 1 else [])

    def without(self, dropped: Iterable[str]) -> _Conditions:
        gone = set(dropped)
        pools = self.pools
        if MATCH in gone:
            pools = [replace(pool, key=np.full(len(pool), -1)) for pool in pools]
        return replace(
            self,
            pools=pools,
            limits={name: v for name, v in self.limits.items() if name not in gone},
            bounds=[b for b in self.bounds if b.name not in gone],
            accept=None if ACCEPT in gone else self.accept,
        )

    def solve(self) -> Choice:
        return choose(
            self.pools,
            limits=self.limits,
            bounds=self.bounds,
            accept=self.accept,
            rentals=self.rentals,
        )

    def minimising(self, name: str) -> _Conditions:
        """Return the same conditions with the use of one resource or bound as the objective."""
        bound = {b.name: b for b in self.bounds}.get(name)
        measured = [r for r in self.rentals if r.resource == name]
        amounts = [
            bound.coefficients[p] if bound else pool.use.get(name, np.zeros(len(pool)))
            for p, pool in enumerate(self.pools)
        ]
        if measured and not bound:
            amounts = [np.zeros(len(pool)) for pool in self.pools]
        pools = [
            replace(pool, objective=amount, tiebreak=pool.objective)
            for pool, amount in zip(self.pools, amounts, strict=True)
        ]
        rentals = [
            replace(r, price_per_unit=r.unit if r in measured and not bound else 0.0)
            for r in self.rentals
        ]
        return replace(self, pools=pools, rentals=rentals)


def diagnose(
    pools: Pools,
    *,
    limits: Mapping[str, float],
    bounds: Sequence[Bound] = (),
    accept: Accept | None = None,
    rentals: Sequence[Rental] = (),
) -> Diagnosis:
    """Drop each condition alone and measure how far it would have to give way.

    For a limit or bound, ``needed`` is the least value with which the others can be kept.
    """
    empty = tuple(pool.name for pool in pools if not len(pool))
    if empty:
        return Diagnosis(feasible=False, empty=empty, relaxations=(), conflict=())
    given = _Conditions(pools, limits, bounds, accept, rentals)
    if given.solve().columns is not None:
        return Diagnosis(feasible=True, empty=(), relaxations=(), conflict=())
    relaxed = [_relax(given, name) for name in given.names()]
    relaxations = sorted((r for r in relaxed if r is not None), key=lambda r: r.increase)
    conflict = () if relaxations else _conflict(given)
    return Diagnosis(feasible=False, empty=(), relaxations=tuple(relaxations), conflict=conflict)


def _relax(given: _Conditions, name: str) -> Relaxation | None:
    if name in (ACCEPT, MATCH):
        choice = given.without([name]).solve()
        return None if choice.columns is None else Relaxation(name, None, None, choice.objective)
    least = given.minimising(name).without([name]).solve()
    if least.columns is None:
        return None
    needed = least.objective
    limits = {n: needed if n == name else v for n, v in given.limits.items()}
    bounds = [replace(b, limit=needed) if b.name == name else b for b in given.bounds]
    choice = replace(given, limits=limits, bounds=bounds).solve()
    limit = {**given.limits, **{b.name: b.limit for b in given.bounds}}[name]
    return Relaxation(name, limit, needed, choice.objective)


def _conflict(given: _Conditions) -> tuple[str, ...]:
    """Drop everything, then restore what can be restored, in order."""
    dropped = given.names()
    for name in given.names():
        fewer = [n for n in dropped if n != name]
        if given.without(fewer).solve().columns is not None:
            dropped = fewer
    return tuple(dropped)
