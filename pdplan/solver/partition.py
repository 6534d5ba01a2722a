"""Divide items into groups, and share limits among groups that are solved one by one."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from pdplan.solver.problem import TOLERANCE, less

Groups: TypeAlias = tuple[tuple[int, ...], ...]
Caps: TypeAlias = tuple[tuple[str, float], ...]
"""Most of each resource that one group may use, by name."""
SOLVES = 400
"""Groups solved at most while limits are shared."""

T = TypeVar("T")


def partitions(count: int) -> Iterator[Groups]:
    """All ways to divide items 0..count-1 into groups, the whole first.

    >>> list(partitions(3))
    [((0, 1, 2),), ((0, 1), (2,)), ((0, 2), (1,)), ((0,), (1, 2)), ((0,), (1,), (2,))]
    """

    def divided(items: tuple[int, ...]) -> Iterator[Groups]:
        if not items:
            yield ()
            return
        first, rest = items[0], items[1:]
        for mask in reversed(range(2 ** len(rest))):
            together = tuple(x for i, x in enumerate(rest) if mask >> (len(rest) - 1 - i) & 1)
            for others in divided(tuple(x for x in rest if x not in together)):
                yield ((first, *together), *others)

    yield from divided(tuple(range(count)))


@dataclass(frozen=True, slots=True)
class Offer(Generic[T]):
    """The best that a group can do alone: what it is worth, what it uses, and what it is."""

    objective: float
    use: Mapping[str, float]
    what: T
    proven: bool = True


@dataclass(frozen=True, slots=True)
class Shared(Generic[T]):
    """The best offers that go together, None if there are none, and a bound on what they cost."""

    offers: tuple[Offer[T], ...] | None
    bound: float
    proven: bool


def share_limits(
    groups: int,
    offer: Callable[[int, Caps], Offer[T] | None],
    limits: Mapping[str, float],
    *,
    whole: Sequence[str] = (),
    upper: float = math.inf,
) -> Shared[T]:
    """Least sum of offers whose uses add up to no more than the limits.

    Branch and bound: every group first does what is best for it alone. Where that uses e more of
    a resource than there is, in any solution one of k groups uses at least e / k less of it than
    now: one branch for each. Offers worth `upper` or more together are not looked for.

    Parameters
    ----------
    offer : best of a group under caps on its own use, None if it has none. Exact, so the answer
        is, unless an offer is not proven or too many are asked for.
    whole : resources used in whole numbers only.
    """
    known: dict[tuple[int, Caps], Offer[T] | None] = {}

    def ask(group: int, caps: Caps) -> Offer[T] | None:
        if (group, caps) not in known:
            known[group, caps] = offer(group, caps)
        return known[group, caps]

    first = tuple(sorted(limits.items()))
    start = (first,) * groups
    heap: list[tuple[float, tuple[Caps, ...]]] = [(-math.inf, start)]
    seen = {start}
    proven = True
    while heap:
        worth, caps = heapq.heappop(heap)
        if not less(worth, upper):
            return Shared(None, upper, proven)
        if len(known) > SOLVES:
            return Shared(None, worth, proven=False)
        found = [ask(i, each) for i, each in enumerate(caps)]
        offers = tuple(one for one in found if one is not None)
        if len(offers) < groups:
            continue
        proven &= all(one.proven for one in offers)
        total = math.fsum(one.objective for one in offers)
        if less(worth, total):
            heapq.heappush(heap, (total, caps))
            continue
        name, excess = _most_over(offers, limits)
        if excess <= 0:
            return Shared(offers, total, proven)
        for i, one in enumerate(offers):
            fewer = one.use.get(name, 0.0) - excess / groups
            if name in whole:
                fewer = math.floor(fewer + TOLERANCE * excess)
            branch = (*caps[:i], _capped(caps[i], name, fewer), *caps[i + 1 :])
            if fewer >= 0 and branch not in seen:
                seen.add(branch)
                heapq.heappush(heap, (total, branch))
    return Shared(None, math.inf, proven)


def _most_over(offers: Sequence[Offer[T]], limits: Mapping[str, float]) -> tuple[str, float]:
    """The limit that is exceeded most, relatively, and by how much; 0 if none is."""
    worst, name, excess = 0.0, "", 0.0
    for resource, limit in sorted(limits.items()):
        over = math.fsum(one.use.get(resource, 0.0) for one in offers) - limit
        if over > TOLERANCE * abs(limit) and over / max(abs(limit), TOLERANCE) > worst:
            worst, name, excess = over / max(abs(limit), TOLERANCE), resource, over
    return name, excess


def _capped(caps: Caps, name: str, cap: float) -> Caps:
    return tuple((n, min(c, cap) if n == name else c) for n, c in caps)
