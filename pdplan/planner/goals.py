"""Latency objectives of a scenario as targets: class, percentile, limit."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """One objective of one class at one percentile."""

    request_class: str
    metric: Literal["ttft", "tpot"]
    percentile: int
    limit_s: float
    weight: Floats
    """Weights of the class's support points [S]; zero elsewhere."""

    @property
    def level(self) -> float:
        """Share of requests that must be within the limit."""
        return self.percentile / 100


def goals(demand: Demand) -> tuple[Goal, ...]:
    """All objectives of the scenario's classes."""
    found: list[Goal] = []
    for i, kind in enumerate(demand.traffic.classes):
        weight = np.where(demand.traffic.class_index == i, demand.traffic.weight, 0.0)
        if kind.ttft_s is not None:
            found += [Goal(kind.name, "ttft", p, kind.ttft_s, weight) for p in kind.percentiles]
        if kind.tpot_s is not None:
            found += [Goal(kind.name, "tpot", p, kind.tpot_s, weight) for p in kind.percentiles]
    return tuple(found)


def tpot_goals(all_goals: tuple[Goal, ...]) -> tuple[Floats, Floats]:
    """Levels and limits of the TPOT objectives [L], the tightest per level."""
    tightest: dict[float, float] = {}
    for goal in all_goals:
        if goal.metric == "tpot":
            tightest[goal.level] = min(goal.limit_s, tightest.get(goal.level, np.inf))
    return np.array(sorted(tightest), float), np.array([tightest[k] for k in sorted(tightest)])


def tpot_goals_by_class(
    all_goals: tuple[Goal, ...],
) -> tuple[tuple[Floats, Floats, Floats], ...]:
    """Support points' weights [S], levels and limits [L] of every class with TPOT objectives."""
    found: dict[str, list[Goal]] = {}
    for goal in all_goals:
        if goal.metric == "tpot":
            found.setdefault(goal.request_class, []).append(goal)
    return tuple(
        (
            mine[0].weight / mine[0].weight.sum(),
            np.array([goal.level for goal in mine]),
            np.array([goal.limit_s for goal in mine]),
        )
        for mine in found.values()
    )


def tightest(all_goals: tuple[Goal, ...]) -> tuple[Goal, ...]:
    """TPOT objectives of the class with the tightest of them: what others ask seldom binds."""
    paces = [goal for goal in all_goals if goal.metric == "tpot"]
    least = min(paces, key=lambda goal: goal.limit_s, default=None)
    return tuple(g for g in paces if least and g.request_class == least.request_class)


def ttft_goals(all_goals: tuple[Goal, ...]) -> tuple[Goal, ...]:
    """The TTFT objectives."""
    return tuple(goal for goal in all_goals if goal.metric == "ttft")
