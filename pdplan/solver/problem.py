"""The choice problem as arrays, and its exact evaluation on the grid of all combinations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pdplan.solver.columns import (
    Accept,
    BoolArray,
    Bound,
    FloatArray,
    IntArray,
    Pools,
    Rental,
)

TOLERANCE = 1e-9
"""Relative: two objectives this close are equal, a limit exceeded by this much is kept."""


def less(a: float, b: float) -> bool:
    """Whether a is smaller by more than the tolerance."""
    return a < b - TOLERANCE * abs(b) if b < math.inf else a < b


def outer_sum(parts: Sequence[FloatArray]) -> FloatArray:
    """Sum of one entry of each part, for every combination, flat in C order."""
    total = parts[0]
    for part in parts[1:]:
        total = total[..., None] + part
    return total.ravel()


def whole_units(amount: FloatArray, unit: float) -> FloatArray:
    """Units needed to cover ``amount``; a rounding error does not open another unit."""
    return np.ceil(amount / unit - TOLERANCE)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A sum over the chosen columns: limited, rented by the ``unit``, or both."""

    name: str
    parts: tuple[FloatArray, ...]
    limit: float = math.inf
    roof: float = math.inf  # the limit with its tolerance
    unit: float = 0.0  # 0: not rented
    price: float = 0.0
    family: str = "limit"

    def load(self, total: FloatArray) -> FloatArray:
        """Return the amount that counts against the limit."""
        return whole_units(total, self.unit) * self.unit if self.unit else total

    def scaled(self) -> Row:
        """Return the same condition with numbers near one, as solver tolerances are absolute."""
        if self.unit:
            scale = self.unit
        else:
            scale = max(abs(self.limit), max(float(np.abs(p).max()) for p in self.parts)) or 1.0
        parts = tuple(part / scale for part in self.parts)
        return replace(self, parts=parts, limit=self.limit / scale, unit=self.unit / scale)


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Columns of every pool and the conditions on them; sub-problems keep the original indices."""

    names: tuple[str, ...]
    objective: tuple[FloatArray, ...]
    tiebreak: tuple[FloatArray, ...]
    key: tuple[IntArray, ...]
    delay: tuple[FloatArray, ...]
    rows: tuple[Row, ...]
    origin: tuple[IntArray, ...]
    accept: Accept | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Columns of each pool."""
        return tuple(len(part) for part in self.objective)

    @property
    def combinations(self) -> int:
        """Number of choices, exact for any size."""
        return math.prod(self.shape)

    def take(self, keep: Sequence[IntArray | BoolArray]) -> Problem:
        """Return the sub-problem of these columns."""

        def part(arrays: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
            return tuple(a[k] for a, k in zip(arrays, keep, strict=True))

        return replace(
            self,
            objective=part(self.objective),
            tiebreak=part(self.tiebreak),
            delay=part(self.delay),
            key=tuple(a[k] for a, k in zip(self.key, keep, strict=True)),
            origin=tuple(a[k] for a, k in zip(self.origin, keep, strict=True)),
            rows=tuple(replace(row, parts=part(row.parts)) for row in self.rows),
        )

    def single(self, choice: Iterable[int]) -> Problem:
        """Return the sub-problem of one choice: every grid function then evaluates that choice."""
        return self.take([np.array([column]) for column in choice])

    def cost(self) -> FloatArray:
        """Objective with rents, for every combination."""
        total = outer_sum(self.objective)
        for row in self.rows:
            if row.price:
                total = total + row.price * whole_units(outer_sum(row.parts), row.unit)
        return total

    def admissible(self) -> BoolArray:
        """Whether limits, bounds and keys hold, for every combination."""
        kept = np.ones(self.shape, dtype=np.bool_)
        for row in self.rows:
            if row.roof < math.inf:
                kept &= (row.load(outer_sum(row.parts)) <= row.roof).reshape(self.shape)
        for a, b in combinations(range(len(self.names)), 2):
            clash = keys_clash(self.key[a][:, None], self.key[b])
            if clash.any():
                extent = [n if i in (a, b) else 1 for i, n in enumerate(self.shape)]
                kept &= ~clash.reshape(extent)
        return np.asarray(kept.ravel(), dtype=np.bool_)

    def accepted(self, choices: IntArray) -> BoolArray:
        """Exact test of choices [m, pools], in this sub-problem's indices."""
        if self.accept is None:
            return np.ones(len(choices), dtype=np.bool_)
        original = [o[c] for o, c in zip(self.origin, choices.T, strict=True)]
        return np.asarray(self.accept(np.stack(original, axis=1)), dtype=np.bool_)

    def unravel(self, flat: IntArray) -> IntArray:
        """Grid positions [m] to choices [m, pools]."""
        return np.stack(np.unravel_index(flat, self.shape), axis=1)


def keys_clash(a: IntArray, b: IntArray) -> BoolArray:
    """Whether two keys differ though neither is indifferent."""
    return np.asarray((a != b) & (a >= 0) & (b >= 0), dtype=np.bool_)


def _row(name: str, parts: tuple[FloatArray, ...], limit: float, family: str) -> Row:
    scale = abs(limit) or max((float(np.abs(p).max(initial=0.0)) for p in parts), default=0.0)
    return Row(name, parts, limit, limit + TOLERANCE * scale, family=family)


def make_problem(
    pools: Pools,
    limits: Mapping[str, float],
    bounds: Sequence[Bound],
    accept: Accept | None,
    rentals: Sequence[Rental],
) -> Problem:
    """Gather pools and conditions into one set of rows; resources without condition are left."""
    if not pools or len({pool.name for pool in pools}) < len(pools):
        msg = "needs at least one pool, and a different name for each"
        raise ValueError(msg)
    rented = {rental.resource: rental for rental in rentals}
    rows: list[Row] = []
    for resource in dict.fromkeys([*limits, *rented]):
        parts = tuple(p.use.get(resource, np.zeros(len(p))) for p in pools)
        row = _row(resource, parts, limits.get(resource, math.inf), "limit")
        if resource in rented:
            row = replace(row, unit=rented[resource].unit, price=rented[resource].price_per_unit)
        if row.price or row.limit < math.inf:
            rows.append(row)
    for bound in bounds:
        if [len(c) for c in bound.coefficients] != [len(p) for p in pools]:
            msg = f"bound {bound.name!r}: needs one coefficient per column of each pool"
            raise ValueError(msg)
        if bound.limit < math.inf:
            rows.append(_row(bound.name, bound.coefficients, bound.limit, "bound"))
    if len({row.name for row in rows}) < len(rows):
        msg = "two conditions have the same name"
        raise ValueError(msg)
    return Problem(
        names=tuple(p.name for p in pools),
        objective=tuple(np.asarray(p.objective, dtype=np.float64) for p in pools),
        tiebreak=tuple(np.asarray(p.tiebreak, dtype=np.float64) for p in pools),
        key=tuple(p.key for p in pools),
        delay=tuple(p.delay for p in pools),
        rows=tuple(rows),
        origin=tuple(np.arange(len(p)) for p in pools),
        accept=accept,
    )
