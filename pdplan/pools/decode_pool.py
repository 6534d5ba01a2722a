"""Pools that only decode: state-dependent processor sharing."""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.beside import PromptEffect
from pdplan.pools.context_spread import context_skew, context_variance
from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
from pdplan.pools.drafting import waiting_share
from pdplan.pools.measured_pool import steady_states
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import (
    DecodeStates,
    Outputs,
    Wait,
    decode_states,
    instance_stream,
    tpot_quantile_s,
)
from pdplan.queueing.outputs import POINTS
from pdplan.queueing.tpot import fed_back

NAMES = (
    *("utilization", "mean_batch", "tpot_mean_s", "stable", "residual_s"),
    *("waiting", "tail_mean_s"),
)
BLOCK = 256
MEAN = 0.0
"""In the place of a level: the mean over requests."""
RECOVERIES = np.concatenate([[1e-3], np.arange(1, 17) / 16])
"""Recoveries at which the averaging over a stay is worked out; linear between them."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodeTable(PoolTable):
    """Columns of a pool that decodes, and how requests are spread over its instances."""

    routing: str = "least_loaded"
    effect: PromptEffect | None = None
    """What prompts in the same process do, where there are any."""

    def take(self, rows: Ints) -> "DecodeTable":
        """Some of the columns, in the order asked."""
        some = PoolTable.take(self, rows)
        taken = {f.name: getattr(some, f.name) for f in fields(some)}
        effect = None if self.effect is None else self.effect.take(rows)
        return DecodeTable(**taken, routing=self.routing, effect=effect)


def decode_pool(
    times: Times, columns: Columns, demand: Demand, discipline: Discipline
) -> PoolTable:
    """Pools that only decode: state-dependent processor sharing.

    What is left of the running step when a request arrives stands in `prefill_s`.
    """
    c, n, cap = columns.config, columns.instances, columns.max_batch
    step = times.step_s[c, : cap.max(initial=1)]
    shape = (len(columns), len(demand.prompt_tokens))
    found = {name: np.empty(len(c)) for name in NAMES}
    for rows in _blocks(cap):
        states = _states(step, columns, demand, discipline.routing, rows)
        for name in NAMES[:-2]:
            found[name][rows] = getattr(states, name)
        if times.cycles is not None:
            found["residual_s"][rows] *= waiting_share(states, times.cycles, c[rows])
        found["waiting"][rows] = states.wait.probability
        found["tail_mean_s"][rows] = states.wait.tail_mean_s
    return DecodeTable(
        times=times,
        columns=columns,
        encode_s=np.zeros(shape),
        prefill_s=np.broadcast_to(found["residual_s"][:, None], shape),
        encode_wait=None,
        prefill_wait=None,
        decode_wait=Wait(found["waiting"], found["tail_mean_s"]),
        utilization=found["utilization"],
        capacity_rps=n * cap / (demand.decode_steps * at_batch(step, cap)),
        step_s=step,
        tpot_mean_s=found["tpot_mean_s"] / demand.tokens_per_step,
        mean_batch=found["mean_batch"],
        stable=found["stable"] > 0,
        routing=discipline.routing,
    )


def _blocks(cap: Ints) -> list[Ints]:
    """Columns with like batch limits, so many that what is computed on them stays in cache."""
    order = np.argsort(cap, kind="stable")
    return [order[i : i + BLOCK] for i in range(0, len(order), BLOCK)]


def at_batch(step_s: Floats, batch: Ints) -> Floats:
    """Step time at a batch [K]."""
    return np.take_along_axis(step_s, batch[:, None] - 1, axis=1)[:, 0]


def table_states(table: PoolTable, demand: Demand, rows: Ints | None = None) -> DecodeStates:
    """States of the instances of some columns, or every one."""
    if rows is None and len(table) == 1:
        return _only_states(table, demand)
    return _table_states(table, demand, np.arange(len(table)) if rows is None else rows)


@lru_cache(maxsize=16)
def _only_states(table: PoolTable, demand: Demand) -> DecodeStates:
    """States of a table's only column: several percentiles of one fleet ask for them."""
    return _table_states(table, demand, np.zeros(1, np.int64))


def _table_states(table: PoolTable, demand: Demand, chosen: Ints) -> DecodeStates:
    routing = table.routing if isinstance(table, DecodeTable) else "random"
    effect = effect_of(table)
    clumped = None if effect is None else effect.dispersion[chosen]
    return _states(table.step_s, table.columns, demand, routing, chosen, clumped)


def effect_of(table: PoolTable) -> PromptEffect | None:
    """What prompts in the same process do to decoding, if there are any."""
    return table.effect if isinstance(table, DecodeTable) else None


def context_noise_s2(
    table: PoolTable, demand: Demand, states: DecodeStates, rows: Ints | None = None
) -> Floats:
    """Variance of steps because of contexts of different lengths, with the batches it leads to."""
    chosen = np.arange(len(table)) if rows is None else rows
    even = isinstance(table, DecodeTable) and table.routing in ("central", "least_loaded")
    level = table.columns.instances[chosen] if even else np.ones(len(chosen))
    return fed_back(context_variance(table, demand)[chosen], states.recovery, level)


def _states(
    step: Floats, columns: Columns, demand: Demand, routing: str, rows: Ints,
    clumped: Floats | None = None,
) -> DecodeStates:  # fmt: skip
    """States of some columns, up to the largest batch limit among them.

    clumped: index of dispersion of what reaches decode [rows], where prompts change it.
    """
    traffic, lengths = demand.traffic, outputs(demand)
    instances, cap = columns.instances[rows], columns.max_batch[rows]
    measured = demand.options.measured
    if measured is not None and measured.decode.load == "steady":
        step, each = step[rows, : cap.max(initial=1)], demand.rate_rps / instances
        return steady_states(step, each, demand.decode_steps, cap)
    stream = instance_stream(
        routing,
        demand.rate_rps,
        instances,
        traffic.arrival_scv,
        traffic.dispersion,
        traffic.dispersion_s,
    )
    if clumped is not None:
        stream = replace(stream, dispersion=clumped)
    return decode_states(
        step[rows, : cap.max(initial=1)],
        demand.rate_rps / instances,
        demand.decode_steps,
        cap,
        stream=stream,
        length_scv=lengths.scv,
        overlap=lengths.overlap,
    )


@lru_cache(maxsize=16)
def outputs(demand: Demand) -> Outputs:
    """Decode steps of all requests."""
    return outputs_of(demand, demand.weight())


def outputs_of(demand: Demand, weights: Floats, points: int = POINTS) -> Outputs:
    """Decode steps of requests at support points of given weights [S], in a few lengths."""
    tokens, share = demand.answers
    steps = np.maximum(tokens - 1, 0) / demand.tokens_per_step
    return Outputs.of(steps, weights[:, None] * share, points)


@lru_cache(maxsize=16)
def _averagings(demand: Demand) -> Floats:
    return averagings_of(demand, demand.weight())


def averagings_of(demand: Demand, weights: Floats) -> Floats:
    """Mean over requests of the variance that averaging leaves, at each of RECOVERIES."""
    own = outputs_of(demand, weights)
    return np.asarray(outputs(demand).averaging(own.steps, RECOVERIES) @ own.weight)


def tpot_quantiles_s(table: PoolTable, demand: Demand, levels: Floats) -> Floats:
    """Percentiles of the requests' TPOT in every column [K, L]."""
    return _quantiles(table, demand, outputs(demand), _averagings(demand), levels)


def class_tpot_quantiles_s(
    table: PoolTable, demand: Demand, weights: Floats, levels: Floats
) -> Floats:
    """Percentiles of TPOT in every column [K, L], of requests at points of given weights [S].

    MEAN in the place of a level asks for the mean.

    Short answers average over fewer steps, so they spread more about the same mean.
    """
    own = outputs_of(demand, np.asarray(weights, float))
    averagings = averagings_of(demand, weights)
    if not (levels == MEAN).any():
        return _quantiles(table, demand, own, averagings, levels)
    found = _quantiles(table, demand, own, averagings, np.where(levels == MEAN, 0.5, levels))
    effect = effect_of(table)
    late = 0.0 if effect is None else effect.late_s * float(own.weight @ (1 / own.steps))
    steps = np.concatenate([
        np.asarray(table_states(table, demand, rows).tpot_mean_s)
        for rows in np.array_split(np.arange(len(table)), len(table) // BLOCK + 1)
    ])  # fmt: skip
    mean = (steps + late) / demand.tokens_per_step
    return np.where(levels == MEAN, mean[:, None], found)


def _quantiles(
    table: PoolTable, demand: Demand, own: Outputs, averagings: Floats, levels: Floats
) -> Floats:
    found, skew = np.empty((len(table), len(levels))), context_skew(table, demand)
    for rows in _blocks(table.columns.max_batch):
        states = table_states(table, demand, rows)
        step = table.step_s[rows, : states.seen.shape[-1]]
        kept = np.interp(states.recovery, RECOVERIES, averagings)
        noise = context_noise_s2(table, demand, states, rows)
        found[rows] = tpot_quantile_s(
            states, step, levels, averaging=kept, noise_s2=noise, noise_skew=skew[rows]
        )
        effect = effect_of(table)
        if effect is not None:
            mean = np.asarray(states.tpot_mean_s)
            spread = kept * (step_variance_s2(states, step) + noise)
            apart = (found[rows] - mean[:, None])[:, None]
            usual = np.array([1 / (own.weight @ (1 / own.steps))])
            found[rows] = (
                mean[:, None]
                + effect.take(rows).lengthened(apart, spread[:, None], usual, levels)[:, 0]
            )
    return found / demand.tokens_per_step


def step_variance_s2(states: DecodeStates, step_s: Floats) -> Floats:
    """Variance of tau(n) over decode steps [K]."""
    apart = step_s - np.asarray(states.tpot_mean_s)[:, None]
    return np.asarray(np.einsum("kn,kn->k", states.seen, apart**2))
