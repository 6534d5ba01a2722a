"""How the decode steps of a pool spread over requests, and what that makes of their TPOT."""

from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.beside import PromptEffect
from pdplan.pools.context_spread import context_skew
from pdplan.pools.decode_pool import (
    RECOVERIES,
    averagings_of,
    context_noise_s2,
    effect_of,
    outputs,
    outputs_of,
    step_variance_s2,
    table_states,
)
from pdplan.pools.demand import Demand
from pdplan.pools.table import PoolTable
from pdplan.queueing import Outputs, step_quantile_s


@dataclass(frozen=True, slots=True, eq=False)
class StepSpread:
    """Decode steps of K columns as requests meet them, per output token."""

    demand: Demand
    mean_s: Floats
    """[K]."""
    quantiles_s: Floats
    """At L levels [K, L]."""
    recovery: Floats
    """[K], see `DecodeStates`."""
    levels: Floats
    """[L]."""
    variance_s2: Floats
    """[K]."""
    effect: PromptEffect | None = None
    """In steps, not tokens."""

    def tpot_s(self, own: Outputs) -> Floats:
        """Percentiles at the same levels of the TPOT of requests of J lengths [K, J, L]."""
        kept = np.sqrt(outputs(self.demand).averaging(own.steps, self.recovery))
        mean = self.mean_s[:, None, None]
        apart = kept[..., None] * (self.quantiles_s[:, None, :] - mean)
        if self.effect is not None:
            each = self.demand.tokens_per_step
            spread = kept**2 * self.variance_s2[:, None] * each**2
            apart = self.effect.lengthened(apart * each, spread, own.steps, self.levels) / each
        return np.asarray(mean + apart)

    def means_s(self, own: Outputs) -> Floats:
        """Mean TPOT of requests of each of J lengths [K, J]."""
        late: Floats | float = 0.0
        if self.effect is not None:
            late = self.effect.late_s[:, None] / own.steps / self.demand.tokens_per_step
        return np.asarray(self.mean_s[:, None] + late + 0.0 * own.steps)

    def class_quantiles_s(self, weights: Floats) -> Floats:
        """The same as `class_tpot_quantiles_s` at the same levels [K, L]."""
        kept = np.interp(self.recovery, RECOVERIES, averagings_of(self.demand, weights))
        mean = self.mean_s[:, None]
        apart = np.sqrt(kept)[:, None] * (self.quantiles_s - mean)
        if self.effect is not None:
            each, own = self.demand.tokens_per_step, outputs_of(self.demand, weights)
            usual = np.array([1 / (own.weight @ (1 / own.steps))])
            spread = (kept * self.variance_s2)[:, None] * each**2
            apart = self.effect.lengthened(apart[:, None] * each, spread, usual, self.levels)
            apart = apart[:, 0] / each
        return np.asarray(mean + apart)

    def memory(self, own: Outputs) -> Floats:
        """Correlation of the step a request joins at with its TPOT, mean over requests [K]."""
        return np.asarray(outputs(self.demand).memory(own.steps, self.recovery) @ own.weight)


def step_spread(table: PoolTable, demand: Demand, levels: Floats) -> StepSpread:
    """Work out how decode steps of every column spread over requests."""
    states = table_states(table, demand)
    step = table.step_s[:, : states.seen.shape[-1]]
    noise, skew = context_noise_s2(table, demand, states), context_skew(table, demand)
    each = demand.tokens_per_step
    return StepSpread(
        demand=demand,
        mean_s=np.asarray(states.tpot_mean_s) / each,
        quantiles_s=np.asarray(step_quantile_s(states, step, levels, noise, skew)) / each,
        recovery=np.asarray(states.recovery),
        levels=levels,
        variance_s2=(step_variance_s2(states, step) + noise) / each**2,
        effect=effect_of(table),
    )
