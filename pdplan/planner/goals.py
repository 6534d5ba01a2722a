"""Latency objectives of a scenario as targets: class, percentile, limit."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement.latency import Sojourn
from pdplan.plan import statistic
from pdplan.pools.decode_pool import MEAN
from pdplan.pools.demand import Demand
from pdplan.queueing import sojourn_mean_s

EXACT = 1e-9
"""Slack in comparing an attainment with its level, or a mean with its limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """One objective of one class at one percentile."""

    request_class: str
    metric: Literal["ttft", "tpot"]
    percentile: int | str
    limit_s: float
    weight: Floats
    """Weights of the class's support points [S]; zero elsewhere."""

    @property
    def level(self) -> float:
        """Share of requests that must be within the limit; MEAN where their mean must be."""
        return self.percentile / 100 if isinstance(self.percentile, int) else MEAN

    @property
    def name(self) -> str:
        """What must be within the limit: `TTFT p90`."""
        return f"{self.metric.upper()} {statistic(self.percentile)}"

    def reached(self, ttft: Sojourn) -> np.ndarray:
        """Whether the times to first token of choices keep a TTFT objective [X]."""
        if self.level == MEAN:
            return np.asarray(_means_s(ttft, self.weight) <= self.limit_s * (1 + EXACT))
        return np.asarray(ttft.attainment(self.limit_s, self.weight) >= self.level - EXACT)

    def ttft_s(self, ttft: Sojourn) -> float:
        """What the first choice's TTFT is where the objective is."""
        weight = self.weight / self.weight.sum()
        if self.level == MEAN:
            return float(_means_s(ttft, weight)[0])
        return float(ttft.quantiles_s(np.array([self.level]), weight)[0])


def _means_s(ttft: Sojourn, weight: Floats) -> Floats:
    """Mean time to first token over points of given weights, of every choice [X]."""
    return np.asarray(
        sojourn_mean_s(weight / weight.sum(), ttft.fixed_s, ttft.probabilities, ttft.tail_means_s)
    )


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
