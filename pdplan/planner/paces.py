"""TPOT of the requests at some support points, as a distribution that knows the answers' lengths.

A request of one output token has no TPOT and meets every objective.
"""

from dataclasses import dataclass, replace

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement import Chain
from pdplan.pools.decode_pool import MEAN, outputs_of
from pdplan.pools.demand import Demand
from pdplan.pools.step_spread import StepSpread, step_spread
from pdplan.pools.table import Ints, PoolTable
from pdplan.queueing import Outputs, sojourn_mean_s

LENGTHS = 24
"""Answer lengths that stand for a class."""
GRID = np.concatenate([np.linspace(0.0025, 0.9975, 200), [0.999, 0.9999]])
EDGES = np.concatenate([[0.0], (GRID[1:] + GRID[:-1]) / 2, [1.0]])
SHARES = np.diff(EDGES)


@dataclass(frozen=True, slots=True, eq=False)
class Paces:
    """TPOT at J answer lengths and G levels."""

    outputs: Outputs
    steps_s: Floats
    """Decode steps per token [J, G]."""
    step_means_s: Floats
    """Their means [J]."""
    before_s: Floats
    """What the time before the first decode step adds to TPOT [J]."""
    levels: Floats
    quantiles_s: Floats
    """Percentiles over requests at these levels [L]: those that a solver keeps to objectives."""
    none: float
    """Share of requests without TPOT."""

    @property
    def mean_s(self) -> float:
        """Mean over requests that have a TPOT."""
        return float(self.outputs.weight @ (self.step_means_s + self.before_s))

    def at(self, level: float) -> float:
        """Percentile over requests that have a TPOT, at one of the levels; or their mean."""
        if level == MEAN:
            return self.mean_s
        return float(self.quantiles_s[int(np.argmin(np.abs(self.levels - level)))])

    def within(self, limit_s: float) -> float:
        """Share of requests whose TPOT is within a limit."""
        met = share_within(self.steps_s, self.before_s, self.outputs.weight, limit_s)
        return self.none + (1 - self.none) * float(met)


def share_within(steps_s: Floats, before_s: Floats, weight: Floats, limit_s: float) -> Floats:
    """Share of requests of J lengths whose TPOT is within a limit, at GRID's levels of each [...].

    steps_s [..., J, G]; before_s [..., J] adds to each; weight [J].

    >>> paces = np.linspace(0.01, 0.02, len(GRID)) * np.ones((2, 1))
    >>> float(share_within(paces, np.array([0.0, 1.0]), np.array([0.5, 0.5]), 0.03))
    0.5
    """
    left = np.where(np.isfinite(before_s), limit_s * (1 + 1e-12) - before_s, -np.inf)[..., None]
    last = steps_s.shape[-1] - 1
    above = np.sum(steps_s <= left, axis=-1)[..., None]
    at = np.clip(above, 1, last)
    low, high = (np.take_along_axis(steps_s, i, axis=-1) for i in (at - 1, at))
    part = (left - low) / np.where(high > low, high - low, 1.0)
    between = GRID[at - 1] + np.clip(part, 0.0, 1.0) * (GRID[at] - GRID[at - 1])
    met = np.where(above > last, 1.0, np.where(above < 1, 0.0, between))[..., 0]
    return np.asarray(met @ weight)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Decode steps of a pool's only column: at GRID's levels, and at levels that are reported."""

    fine: StepSpread
    reported: StepSpread
    levels: Floats
    """[L]."""
    before_s: float = 0.0
    """Mean time between the first token and the first decode step: part of the TPOT."""

    @classmethod
    def of(cls, decoder: PoolTable, demand: Demand, levels: Floats, before_s: float) -> "Steps":
        """Work out the steps of a loaded pool."""
        both = step_spread(decoder, demand, np.concatenate([GRID, levels]))
        size = len(GRID)
        fine = replace(both, quantiles_s=both.quantiles_s[:, :size], levels=GRID)
        reported = replace(both, quantiles_s=both.quantiles_s[:, size:], levels=levels)
        return cls(fine, reported, levels, before_s)

    def paces(self, demand: Demand, weight: Floats) -> Paces:
        """Work out the TPOT of requests at points of given weights [S]."""
        own = outputs_of(demand, weight, LENGTHS)
        tokens = own.steps * demand.tokens_per_step
        later = self.before_s / np.maximum(tokens, 1.0)
        nodes = self.fine.tpot_s(own)[0]
        lone = demand.traffic.output_tokens <= 1
        share = weight[:, None] * demand.traffic.output_weight
        if not np.isfinite(self.before_s):
            quantiles = np.full(len(self.levels), np.inf)
        elif self.before_s > 0:
            quantiles = np.array([_smallest(nodes, later, own.weight, p) for p in self.levels])
        else:
            quantiles = self.reported.class_quantiles_s(weight)[0]
        return Paces(
            outputs=own,
            steps_s=nodes,
            step_means_s=self.fine.means_s(own)[0],
            before_s=later,
            levels=self.levels,
            quantiles_s=quantiles,
            none=float(share[lone].sum() / share.sum()),
        )


def _smallest(steps_s: Floats, before_s: Floats, weight: Floats, level: float) -> float:
    """Percentile of TPOT by bisection: the smallest limit that enough requests keep to."""
    low, high = 0.0, float((steps_s[:, -1] + before_s).max())
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        enough = share_within(steps_s, before_s, weight, middle) >= level
        low, high = (low, middle) if enough else (middle, high)
    return high


def tpot_within(chain: Chain, choices: Ints, weight: Floats, limit_s: float) -> Floats:
    """Share of requests at points of given weights [S] whose TPOT is within a limit [X].

    For choices [X, pools] of a placement whose prefill gives the first token: the way from there to
    the first decode step belongs to TPOT, so it depends on more than the pool that decodes. The
    same numbers as `Paces` has of one choice.
    """
    position, table = chain.table("D")
    columns, which = np.unique(choices[:, position], return_inverse=True)
    steps = step_spread(table.take(columns), chain.demand, GRID)
    own = outputs_of(chain.demand, weight, LENGTHS)
    everyone = chain.demand.weight()
    ways = (replace(chain, first_token_from=end).sojourn(choices) for end in ("decode", "prefill"))
    after, first = (
        sojourn_mean_s(everyone, way.fixed_s, way.probabilities, way.tail_means_s) for way in ways
    )
    tokens = np.maximum(own.steps * chain.demand.tokens_per_step, 1.0)
    lone = chain.demand.traffic.output_tokens <= 1
    share = weight[:, None] * chain.demand.traffic.output_weight
    none = float(share[lone].sum() / share.sum())
    before = (after - first)[:, None] / tokens
    met = share_within(steps.tpot_s(own)[which.ravel()], before, own.weight, limit_s)
    return none + (1 - none) * met
