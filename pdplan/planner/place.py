"""The best fleet of one placement: coarse ladder, then every count that could beat it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pdplan.placement import Chain, Placement
from pdplan.planner.affinity import pair_up, paired
from pdplan.planner.columns import dense, with_room
from pdplan.planner.context import Candidates, Context, Variant
from pdplan.planner.goals import ttft_goals
from pdplan.planner.late import LateTpot, is_late
from pdplan.planner.local_shares import preferred
from pdplan.planner.program import Program
from pdplan.pools.demand import Demand
from pdplan.pools.load import pool_table
from pdplan.pools.table import Columns, PoolTable
from pdplan.solver.columns import Choice
from pdplan.stages.kv_hop import network_bytes
from pdplan.stages.machine import Shape
from pdplan.stages.transfer import cache_copies

DOUBLINGS = 8
MANY = 2000
"""Columns of a second pass beyond which it is worth raising the least counts first."""


@dataclass(frozen=True, slots=True)
class Selected:
    """One pool as chosen."""

    stages: str
    shape: Shape
    instances: int
    max_batch: int
    extras: tuple[tuple[str, float | int | str], ...] = ()
    """What else was chosen of it, by the names of the plan file's pool options."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """The answer for one placement."""

    context: Context
    """With the options that were found best."""
    placement: Placement
    variant: Variant
    program: Program | None
    choice: Choice | None
    pools: tuple[Selected, ...]
    columns: int
    cuts: int
    programs: int
    """Integer programs solved."""
    empty: tuple[str, ...] | None = None
    """Stages of the processes on devices for which there is no candidate at all."""

    @property
    def objective(self) -> float:
        """Value of the scenario's objective; infinite if there is no plan."""
        return self.choice.objective if self.choice and self.choice.columns else np.inf


def place(context: Context, placement: Placement) -> Placed:
    """Find the best fleet of a placement over all that the search leaves open beside columns."""
    tried = [
        _place(setting, placement, variant)
        for setting in context.settings(placement)
        for variant in setting.variants(placement.pools)
    ]
    return preferred(tried)


def _place(context: Context, placement: Placement, variant: Variant) -> Placed:
    pools = [context.candidates(unit, variant) for unit in placement.units]
    for unit, pool in zip(placement.units, pools, strict=True):
        if not pool.starts.config.size:
            return Placed(context, placement, variant, None, None, (), 0, 0, 0, empty=unit)
    first = [context.ladder(unit, variant) for unit in placement.units]
    program, choice = _solve(context, placement, variant, first)
    if choice.columns is None:
        second = _within_limits(context, placement, pools)
    else:
        second = _worth_counting(context, placement, pools, choice.objective)
    if second is not None and sum(len(columns) for columns in second) > MANY:
        pools = [_raised(context, program, variant, i, p) for i, p in enumerate(pools)]
        second = (
            _within_limits(context, placement, pools)
            if choice.columns is None
            else _worth_counting(context, placement, pools, choice.objective, raised=True)
        )
    if second is not None:
        known = _selected(program, choice.columns or ())
        tables = [
            context.loaded(unit, variant, pool, columns)
            for unit, pool, columns in zip(placement.units, pools, second, strict=True)
        ]
        counted, better = _solve(context, placement, variant, tables, known)
        if better.columns is not None:  # else the ladder tells best what stands in the way
            program, choice = counted, better
    return Placed(
        context, placement, variant, program, choice, _selected(program, choice.columns or ()),
        choice.considered, choice.cuts, choice.programs,
    )  # fmt: skip


def _raised(
    context: Context, program: Program, variant: Variant, position: int, pool: Candidates
) -> Candidates:
    """Raise each candidate's least count to where TTFT is met with every other pool at its best.

    TTFT falls with instances, so smaller counts cannot be part of any plan; by doubling and
    bisection.
    """
    starts = pool.starts
    unit = program.chain.placement.units[position]
    if not program.goals or len(unit) > 1 or context.pinned_instances(unit) is not None:
        return pool
    rest = program.quickest_rest(position)
    low, high = starts.least - 1, starts.top

    def meets(counts: np.ndarray) -> np.ndarray:
        columns = Columns.of(starts.config, counts, starts.max_batch)
        columns, room = with_room(pool.times, columns, context.demand)
        table = pool_table(pool.times, columns, context.demand, context.discipline(variant))
        return np.asarray(program.could_meet(table, rest) & table.stable & room)

    for _ in range(DOUBLINGS):
        short = ~meets(high)
        low, high = np.where(short, high, low), np.where(short, 2 * high, high)
    possible = np.flatnonzero(meets(high))
    starts, low, high = starts.take(possible), low[possible], high[possible]
    while (high - low > 1).any():
        middle = np.maximum((low + high) // 2, 1)
        good = meets(middle)
        low, high = np.where(good, low, middle), np.where(good, middle, high)
    top = np.maximum(starts.top, high)
    return replace(pool, starts=replace(starts, least=high, top=top))


def _worth_counting(
    context: Context,
    placement: Placement,
    pools: list[Candidates],
    objective: float,
    *,
    raised: bool = False,
) -> list[Columns] | None:
    """Every count of every pool that could belong to a plan no dearer than the one found.

    None where the coarse ladder already held them all: its first rungs are consecutive.
    """
    if context.scenario.limits.whole_nodes:
        units = [np.full(len(p.times), 1e-9) for p in pools]
    else:
        units = [context.unit_objective(p.times) for p in pools]
    least = [
        float((unit[p.starts.config] * p.starts.least).min())
        for unit, p in zip(units, pools, strict=True)
    ]
    found = []
    complete = not raised
    for i, (stages, pool) in enumerate(zip(placement.units, pools, strict=True)):
        if context.pinned_instances(stages) is not None:
            found.append(context.ladder_columns(stages, pool))
            continue
        room = objective - (sum(least) - least[i])
        unit = np.maximum(units[i][pool.starts.config], 1e-12)
        most = np.floor(room / unit * (1 + 1e-12)).astype(np.int64)
        most = np.minimum(most, pool.starts.top)
        found.append(dense(pool.starts, most))
        complete &= bool((most <= pool.starts.least + 3).all())
    return None if complete else found


def _within_limits(
    context: Context, placement: Placement, pools: list[Candidates]
) -> list[Columns] | None:
    """Every count of every pool that stock, accelerators, budget and power allow.

    None where nothing limits: then no count between two rungs of the ladder can help either.
    """
    if not context.limited:
        return None
    found = []
    for stages, pool in zip(placement.units, pools, strict=True):
        if context.pinned_instances(stages) is not None:
            found.append(context.ladder_columns(stages, pool))
            continue
        most = context.most_instances(pool.times)[pool.starts.config]
        most = np.minimum(most, pool.starts.top)
        found.append(dense(pool.starts, most.astype(np.int64)))
    return found


def _solve(
    context: Context,
    placement: Placement,
    variant: Variant,
    loaded_tables: Sequence[tuple[PoolTable, ...]],
    known: tuple[Selected, ...] = (),
) -> tuple[Program, Choice]:
    found: dict[int, PoolTable] = {}
    for group, on_devices in zip(placement.devices, loaded_tables, strict=True):
        found |= zip(group, _networked(context, placement, on_devices), strict=True)
    tables = tuple(found[i] for i in range(len(found)))
    pairing = None
    if paired(context.scenario.options) and placement.decode_apart:
        tables, pairing = pair_up(tables, context.hardware)
    sender = next(t for t in tables if "P" in t.stages)
    chain = Chain(
        placement,
        tables,
        context.demand,
        tuple(shape.kv_dtype for shape in sender.times.shapes),
        context.scenario.first_token_from,
    )
    paced = any(goal.metric == "tpot" for goal in context.goals)
    late = LateTpot(chain, context.goals) if is_late(chain) and paced else None
    program = Program(chain, context.scenario, ttft_goals(context.goals), late, pairing)
    leaders = tuple(tables[group[-1]] for group in placement.devices)
    first = tuple(known[group[-1]] for group in placement.devices) if known else ()
    return program, program.choose(_find(leaders, first))


def _networked(
    context: Context, placement: Placement, tables: tuple[PoolTable, ...]
) -> tuple[PoolTable, ...]:
    """Keep the columns whose network can carry what the placement sends through it."""
    if len(placement.devices) == 1:
        return tables
    load = sum(network_load(context.demand, placement, table) for table in tables)
    kept = np.asarray(load) < 1
    return tables if kept.all() else tuple(t.take(np.flatnonzero(kept)) for t in tables)


def network_load(demand: Demand, placement: Placement, table: PoolTable) -> np.ndarray:
    """Share of each column's network taken by transfers [K]; the busier direction."""
    bandwidth = table.network(np.arange(len(table)))[0] * table.columns.instances
    embeddings = float(demand.mean(demand.embedding_bytes())) if placement.encode_apart else 0.0
    cached = np.zeros(len(table))
    if placement.decode_apart and table.stages != "E":
        dtypes = [shape.kv_dtype for shape in table.times.shapes]
        sizes = {dtype: float(demand.mean(demand.kv_bytes(dtype))) for dtype in set(dtypes)}
        copies = cache_copies(demand.model, table.times.machines.tp)[:, 0]
        cached = (np.array([sizes[d] for d in dtypes]) * copies)[table.columns.config]
        if demand.turns is not None:
            read = [float(demand.mean(demand.history_bytes(dtype))) for dtype in dtypes]
            cached = np.maximum(cached, (np.array(read) * copies)[table.columns.config])
        cached = network_bytes(
            demand.options.kv_transfer, cached, bandwidth / table.columns.instances,
            demand.prompt_tokens, demand.weight(), demand.model.layers,
        )  # fmt: skip
    sent = np.maximum(embeddings * ("D" not in table.stages or "P" in table.stages), cached)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sent > 0, demand.rate_rps * sent / bandwidth, 0.0)


def _find(tables: tuple[PoolTable, ...], known: tuple[Selected, ...]) -> tuple[int, ...] | None:
    """Indices of the columns that a known plan chose, one for each kind of devices."""
    found = []
    for table, pool in zip(tables, known, strict=False):
        columns = table.columns
        same = np.array([shape == pool.shape for shape in table.times.shapes], bool)
        same = same[columns.config]
        same &= (columns.instances == pool.instances) & (columns.max_batch == pool.max_batch)
        if table.extras:
            same &= np.array([found_of == pool.extras for found_of in table.extras])
        if not same.any():
            return None
        found.append(int(np.flatnonzero(same)[0]))
    return tuple(found) if found else None


def _selected(program: Program, columns: tuple[int, ...]) -> tuple[Selected, ...]:
    found = []
    if not columns:
        return ()
    for i, table in enumerate(program.chain.tables):
        k = columns[program.chain.placement.device_of[i]]
        config = int(table.columns.config[k])
        instances, batch = int(table.columns.instances[k]), int(table.columns.max_batch[k])
        shape = table.times.shapes[config]
        stages = program.chain.placement.pools[i]
        found.append(Selected(stages, shape, instances, batch, table.extras_of(k)))
    return tuple(found)
