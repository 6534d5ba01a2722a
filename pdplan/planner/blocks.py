"""Some of the classes with a fleet of their own: what it costs at least, and the best there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from pdplan.placement import COVERED, Placement, parse_placement, without_media
from pdplan.planner.context import Context
from pdplan.planner.place import Placed, place
from pdplan.solver.partition import Offer
from pdplan.solver.problem import less


@dataclass(slots=True, eq=False)
class Block:
    """Classes (positions) that share pools with each other and with no other class."""

    classes: tuple[int, ...]
    context: Context
    free: tuple[tuple[str, float], ...]
    """The limits of the whole: caps if nobody else used anything."""
    bounds: tuple[tuple[float, Placement], ...] = ()
    """What each placement costs at least, cheapest first."""
    lower: float = 0.0
    """No fleet of theirs is worth less: what is known so far."""
    refined: bool = False
    tried: dict[tuple[str, tuple[tuple[str, float], ...]], Placed] = field(default_factory=dict)

    @classmethod
    def of(cls, whole: Context, classes: Sequence[int]) -> "Block":
        """Prepare classes for a fleet of their own; raises UnfitError where they cannot."""
        context = whole.of_classes(classes)
        texts = whole.scenario.search.placements or COVERED
        media = context.demand.media.any
        suited = dict.fromkeys(text if media else without_media(text) for text in texts)
        placements = tuple(p for p in map(parse_placement, suited) if p.encodes == media)
        context = replace(context, placements=placements)
        found = cls(tuple(classes), context, tuple(sorted(whole.limits.items())))
        found.order("bearing")
        return found

    def order(self, counts: Literal["bearing", "candidates"]) -> None:
        """Bound every placement from below: each pool on its cheapest candidate's least count."""
        bounds = []
        for placement in self.context.placements:
            least = [
                sum(c.least_worth(getattr(c, counts)(unit, v)) for unit in placement.units)
                for c in self.context.settings(placement)
                for v in c.variants(placement.pools)
            ]
            bounds.append((min(least), len(placement.pools), placement.text))
        self.bounds = tuple((bound, parse_placement(text)) for bound, _, text in sorted(bounds))
        self.lower = max(self.lower, min((bound for bound, _ in self.bounds), default=np.inf))

    def refine(self, ceiling: float) -> None:
        """Raise the bounds to counts that also meet TPOT; fleets above the ceiling are of no use.

        The ceiling is the first one named: later ones must not be above it.
        """
        if self.refined:
            return
        self.refined = True
        self.context.ceiling = ceiling
        self.order("candidates")
        if np.isfinite(ceiling):
            self.lower = min(self.lower, ceiling)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(kind.name for kind in self.context.demand.traffic.classes)

    @property
    def best(self) -> Placed | None:
        """The best fleet found so far without caps."""
        free = [placed for (_, caps), placed in self.tried.items() if caps == self.free]
        return min((p for p in free if np.isfinite(p.objective)), key=_worth, default=None)

    def failed(self) -> list[Placed]:
        """Placements tried without caps, or all where none came so far."""
        tried = [placed for (_, caps), placed in self.tried.items() if caps == self.free]
        return tried or [place(self.context, placement) for _, placement in self.bounds]

    def offer(self, caps: tuple[tuple[str, float], ...], cutoff: float) -> Offer[Placed] | None:
        """Find the best fleet within caps on what it uses, if one is worth less than a cutoff."""
        context = self.context.within(dict(caps))
        best: Placed | None = None
        for bound, placement in self.bounds:
            if not less(bound, min(cutoff, np.inf if best is None else best.objective)):
                break
            key = (placement.text, caps)
            if key not in self.tried:
                self.tried[key] = place(context, placement)
            found = self.tried[key]
            if np.isfinite(found.objective) and (best is None or _worth(found) < _worth(best)):
                best = found
        reached = np.inf if best is None else best.objective
        if caps == self.free:
            self.lower = max(self.lower, min(reached, cutoff))
        if best is None or best.choice is None or not less(reached, cutoff):
            return None
        proven = best.choice.status == "optimal"
        return Offer(reached, use_of(self.context, best), best, proven)


def _worth(placed: Placed) -> tuple[float, int, str]:
    return round(placed.objective, 9), len(placed.pools), placed.placement.text


def use_of(context: Context, placed: Placed) -> Mapping[str, float]:
    """What a fleet uses of every resource that may be limited."""
    found = {"gpus": 0.0, "usd_per_hour": 0.0, "power_w": 0.0}
    offers = {offer.id: offer for offer in context.scenario.hardware}
    for i, pool in enumerate(placed.pools):
        if i not in {group[0] for group in placed.placement.devices}:
            continue  # on the devices of another
        for name, each in pool.shape.parts:
            offer, gpus = offers[name], each * pool.instances
            stock = f"stock:{name}"
            found[stock] = found.get(stock, 0.0) + gpus
            found["gpus"] += gpus
            found["usd_per_hour"] += gpus * (offer.usd_per_hour or 0.0)
            found["power_w"] += gpus * (offer.spec.power.board if offer.spec.power else 0.0)
    return found
