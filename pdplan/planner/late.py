"""TPOT where prefill gives the first token: the way to decode is then part of the pace.

TPOT of a request = decode steps per token + (transfer and waits before the first step) / (o - 1),
o its output tokens, so it depends on all pools at once.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement import Chain
from pdplan.planner.goals import Goal, tpot_goals_by_class
from pdplan.planner.paces import Steps
from pdplan.pools.decode_pool import MEAN
from pdplan.pools.load import class_tpot_quantiles_s
from pdplan.pools.table import Ints

EXACT = 1e-9
"""Relative excess over an objective that is not counted."""


def is_late(chain: Chain) -> bool:
    """Whether clients see the first token before decode takes the request over."""
    return chain.late


def before_s(chain: Chain, choices: Ints) -> Floats:
    """Mean time between the first token and the first decode step, of choices [X, pools]."""
    weight = chain.demand.weight()
    found = []
    for way in (replace(chain, first_token_from="decode").sojourn(choices), chain.sojourn(choices)):
        waits = np.where(way.probabilities > 0, way.probabilities * way.tail_means_s, 0.0)
        found.append((way.fixed_s + waits.sum(axis=2)) @ weight)
    return np.asarray(found[0] - found[1])


def tpot_s(chain: Chain, weight: Floats, level: float) -> float:
    """Percentile of TPOT of requests at points of given weights [S], with one column a pool."""
    levels, decoder = np.array([level] if level != MEAN else []), chain.table("D")[1]
    if not is_late(chain):
        asked = np.array([level])
        return float(class_tpot_quantiles_s(decoder, chain.demand, weight, asked)[0, 0])
    waited = float(before_s(chain, np.zeros((1, len(chain.tables)), np.int64))[0])
    return Steps.of(decoder, chain.demand, levels, waited).paces(chain.demand, weight).at(level)


@dataclass(frozen=True, slots=True, eq=False)
class LateTpot:
    """Which choices of a chain meet every TPOT objective, though the first token comes early."""

    chain: Chain
    goals: tuple[Goal, ...]
    known: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Of columns that decode: the longest way known to be short enough, the shortest too long."""

    def met(self, choices: Ints) -> np.ndarray:
        """Whether choices [X, pools] meet them; a longer way never helps, so by bisection."""
        column = self.chain.column(choices, self.chain.table("D")[0])
        waited = before_s(self.chain, choices)
        good = np.zeros(len(choices), bool)
        for k in np.unique(column).tolist():
            mine = np.flatnonzero(column == k)
            good[mine] = waited[mine] <= self._longest(k, np.unique(waited[mine]))
        return good

    def _longest(self, column: int, ways: Floats) -> float:
        """The longest of some ways that is short enough; below all if none is."""
        short, long = self.known.get(column, (0.0, np.inf))
        steps: Steps | None = None
        while (open_ := ways[(ways > short) & (ways < long)]).size:
            middle = float(open_[open_.size // 2])
            steps = steps or self._steps(column)
            if self._holds(replace(steps, before_s=middle)):
                short = middle
            else:
                long = middle
        self.known[column] = (short, long)
        return short

    def _steps(self, column: int) -> Steps:
        levels = np.array(sorted({g.level for g in self.goals if g.metric == "tpot"} - {MEAN}))
        table = self.chain.table("D")[1].take(np.array([column]))
        return Steps.of(table, self.chain.demand, levels, 0.0)

    def _holds(self, steps: Steps) -> bool:
        for weight, levels, limits in tpot_goals_by_class(self.goals):
            pace = steps.paces(self.chain.demand, weight)
            reached = np.array([pace.at(float(level)) for level in levels])
            if (reached > limits * (1 + EXACT)).any():
                return False
        return True
