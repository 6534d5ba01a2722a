"""Which classes share a fleet and which have their own: the partition that is worth least.

A partition is worth no less than its blocks' lower bounds together; partitions are looked at from
the least bound on, and only while that is below the best found. With up to ALL classes every
partition is considered, so the answer is proven. With more: each class alone, every class against
the rest, every pair against the rest, and merging the two groups that gain most, again and again.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from pdplan.errors import SpecError, UnfitError
from pdplan.planner.aims import UNITS
from pdplan.planner.blocks import Block, use_of
from pdplan.planner.context import Context
from pdplan.planner.limits import least_use
from pdplan.planner.place import Placed
from pdplan.solver.partition import Caps, Groups, Offer, Shared, partitions, share_limits
from pdplan.solver.problem import TOLERANCE, less

ALL = 4
"""Classes up to which all partitions are considered."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Groups of classes, each with its own fleet, and what they are worth together."""

    blocks: tuple[Block, ...]
    placed: tuple[Placed, ...]
    objective: float

    def binding(self, context: Context) -> tuple[str, ...]:
        """Limits that leave no room for another accelerator."""
        uses = [use_of(b.context, p) for b, p in zip(self.blocks, self.placed, strict=True)]
        found = []
        for name, limit in context.limits.items():
            used = math.fsum(use.get(name, 0.0) for use in uses)
            if limit - used < least_use(context.scenario, name) * (1 - TOLERANCE):
                found.append(name)
        return tuple(found)


@dataclass(slots=True, eq=False)
class Splits:
    """What is known of the partitions of a scenario's classes into several groups."""

    context: Context
    best: Split | None = None
    """The best split found; one that is no better than what was asked for may not be found."""
    bound: float = np.inf
    """No split is worth less; where not all were considered, as much as the dearest class alone."""
    proven: bool = True
    complete: bool = True
    """Whether all partitions were considered."""
    blocks: dict[tuple[int, ...], Block | str] = field(default_factory=dict)
    """By classes; a reason where they cannot have a fleet of their own."""

    def block(self, classes: tuple[int, ...]) -> Block | None:
        """Prepare classes as a block, once."""
        if classes not in self.blocks:
            try:
                self.blocks[classes] = Block.of(self.context, classes)
            except UnfitError as error:
                self.blocks[classes] = str(error)
        found = self.blocks[classes]
        return None if isinstance(found, str) else found

    def lower(self, groups: Groups) -> float:
        """What a partition is worth at least."""
        blocks = [self.block(group) for group in groups]
        return math.fsum(np.inf if block is None else block.lower for block in blocks)

    def ceiling(self, block: Block, partitions: Iterable[Groups], upper: float) -> float:
        """What a block may be worth at most in a partition worth less than `upper`."""
        if not self.complete:
            return upper
        mine = [groups for groups in partitions if block.classes in groups]
        return upper - min(self.lower(groups) - block.lower for groups in mine)

    def reason(self) -> str:
        """Why there is no split to show."""
        for block in self.blocks.values():
            if isinstance(block, str):
                return block
            if not np.isfinite(block.lower):
                return f"class {' and '.join(block.names)} alone has no plan either"
        if not np.isfinite(self.bound):
            return "no split keeps the limits"
        unit, digits = UNITS[self.context.scenario.objective]
        return f"at least {self.bound:.{digits}f} {unit}: no better than sharing"

    @property
    def placed(self) -> Iterator[Placed]:
        """Every fleet of a block that was solved."""
        for block in self.blocks.values():
            if isinstance(block, Block):
                yield from block.tried.values()


def may_split(context: Context) -> bool:
    """Whether classes may be given fleets of their own: several, and no pool's size is pinned.

    Raises SpecError where they must be, and a pool's size is pinned.
    """
    search = context.scenario.search
    pinned = [stages for stages, role in search.roles.items() if role.instances is not None]
    if pinned and search.split == "always":
        message = f"search.split: 'always' leaves no meaning to the instances of role {pinned[0]}"
        raise SpecError(message)
    return search.split != "never" and len(context.demand.traffic.classes) > 1 and not pinned


def splits_of(context: Context, upper: float) -> Splits:
    """Find the best split worth less than `upper`, or show that there is none.

    Under `split: always` the one split is that of every class alone, and `upper` does not count.
    """
    count = len(context.demand.traffic.classes)
    found = Splits(context)
    if context.scenario.search.split == "always":
        _consider(found, [tuple((i,) for i in range(count))], np.inf)
    elif count <= ALL:
        _consider(found, (groups for groups in partitions(count) if len(groups) > 1), upper)
    else:
        found.complete = False
        _consider(found, _likely(count), upper)
        _merge(found, upper)
        found.bound = max(found.lower(((i,),)) for i in range(count))
    return found


def _consider(found: Splits, candidates: Iterable[Groups], upper: float) -> None:
    """Solve partitions from the least lower bound on, while they may beat the best."""
    everything = tuple(candidates)
    waiting = list(everything)
    while waiting:
        groups = min(waiting, key=lambda g: (found.lower(g), len(g), g))
        best = upper if found.best is None else min(upper, found.best.objective)
        if not less(found.lower(groups), best):
            found.bound = min(found.bound, found.lower(groups))
            break
        coarse = next((b for g in groups if (b := found.block(g)) and not b.refined), None)
        if coarse is not None:
            coarse.refine(found.ceiling(coarse, everything, upper))
            continue
        waiting.remove(groups)
        blocks = tuple(b for group in groups if (b := found.block(group)) is not None)
        shared = _solved(found.context, blocks, best)
        found.proven &= shared.proven
        none_better = shared.offers is None and not found.context.limits
        reached = min(shared.bound, best) if none_better else shared.bound
        found.bound = min(found.bound, max(reached, found.lower(groups)))
        if shared.offers is not None:
            placed = tuple(offer.what for offer in shared.offers)
            found.best = Split(blocks, placed, shared.bound)
    _remember(found)


def _solved(context: Context, blocks: tuple[Block, ...], upper: float) -> Shared[Placed]:
    """Best fleets of a partition's blocks under the limits that they share."""
    limits, hardware = context.limits, context.scenario.hardware
    whole = ("gpus", *(f"stock:{offer.id}" for offer in hardware))
    rents = context.scenario.limits.whole_nodes and context.scenario.objective == "cost"
    budget = context.scenario.limits.budget_usd_per_hour
    if rents and budget is not None:
        upper = min(upper, budget * (1 + 3 * TOLERANCE))

    def offer(i: int, caps: Caps) -> Offer[Placed] | None:
        others = math.fsum(block.lower for j, block in enumerate(blocks) if j != i)
        return blocks[i].offer(caps, upper - others)

    loose = share_limits(len(blocks), offer, limits, whole=whole, upper=upper)
    if loose.offers is None or not rents:
        return loose
    for cost, stock in rented(context, loose.bound, min(upper, _in_nodes(context, loose.offers))):
        if not less(cost, upper):
            break
        found = share_limits(len(blocks), offer, limits | stock, whole=whole)
        if found.offers is not None:
            return Shared(found.offers, cost, found.proven)
    return Shared(None, upper, loose.proven)


def rented(context: Context, least: float, most: float) -> list[tuple[float, dict[str, float]]]:
    """Numbers of accelerators in whole nodes that cost no less and no more, the cheapest first."""
    found: list[tuple[float, dict[str, float]]] = [(0.0, {})]
    *others, last = context.scenario.hardware
    for offer in (*others, last):
        node = offer.spec.accelerators_per_node
        price = (offer.usd_per_hour or 0.0) * node
        name = f"stock:{offer.id}"
        there = context.limits.get(name, np.inf) / node
        longer = []
        for cost, stock in found:
            first = math.ceil((least - cost) / price - TOLERANCE) if offer is last else 0
            end = math.floor(min((most - cost) / price + TOLERANCE, there))
            longer += [
                (cost + n * price, stock | {name: float(n * node)})
                for n in range(max(first, 0), end + 1)
            ]
        found = longer
    return sorted(found, key=lambda row: (round(row[0], 6), sorted(row[1].items())))


def _in_nodes(context: Context, offers: tuple[Offer[Placed], ...]) -> float:
    """What offers cost together in whole nodes."""
    total = 0.0
    for choice in context.scenario.hardware:
        used = math.fsum(offer.use.get(f"stock:{choice.id}", 0.0) for offer in offers)
        node = choice.spec.accelerators_per_node
        total += math.ceil(used / node - TOLERANCE) * node * (choice.usd_per_hour or 0.0)
    return total


def _likely(count: int) -> list[Groups]:
    """Every class alone; every class, and every pair, against the rest."""
    found: list[Groups] = [tuple((i,) for i in range(count))]
    for size in (1, 2):
        for few in combinations(range(count), size):
            rest = tuple(i for i in range(count) if i not in few)
            found.append(tuple(sorted((few, rest))))
    return list(dict.fromkeys(found))


def _merge(found: Splits, upper: float) -> None:
    """From every class alone, join the two groups that bring the bound down most, to the end."""
    groups: Groups = tuple((i,) for i in range(len(found.context.demand.traffic.classes)))
    tried = []
    while len(groups) > 3:
        joined = []
        for a, b in combinations(groups, 2):
            rest = [group for group in groups if group not in (a, b)]
            joined.append(tuple(sorted([*rest, tuple(sorted(a + b))])))
        groups = min(joined, key=lambda g: (found.lower(g), g))
        tried.append(groups)
    _consider(found, tried, upper)


def _remember(found: Splits) -> None:
    """Keep the cheapest split that was solved on the way, though it is no better than sharing."""
    scenario = found.context.scenario
    if found.best is not None or found.context.limits or scenario.limits.whole_nodes:
        return
    solved = [b for b in found.blocks.values() if isinstance(b, Block) and b.best is not None]
    count = len(found.context.demand.traffic.classes)
    by_classes = {block.classes: block for block in solved}
    for groups in partitions(count) if count <= ALL else ():
        if len(groups) > 1 and all(group in by_classes for group in groups):
            blocks = tuple(by_classes[group] for group in groups)
            placed = tuple(block.best for block in blocks)
            worth = math.fsum(p.objective for p in placed if p is not None)
            if found.best is None or worth < found.best.objective:
                found.best = Split(blocks, tuple(p for p in placed if p is not None), worth)
