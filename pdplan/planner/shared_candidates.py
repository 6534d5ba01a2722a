"""Processes on the same devices as one choice: candidates, columns under load, given pools."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.planner.columns import Starts, bearing, raised, tpot_met
from pdplan.planner.context import Candidates, Context, Tables, Unit, Variant
from pdplan.planner.shapes import PIPELINES, candidate_shapes
from pdplan.pools.demand import Demand
from pdplan.pools.shared import HOST, Shared, share_rows, shared, shared_tables_of
from pdplan.pools.table import Columns, PoolTable
from pdplan.pools.times import resident_at
from pdplan.specs.options.sharing import STAGES, Sharing
from pdplan.specs.scenario import Scenario
from pdplan.stages.machine import Shape


@dataclass(frozen=True, slots=True, eq=False)
class SharedCandidates(Candidates):
    """Candidates of several processes; `times` are those of the one whose batch is limited."""

    on: Shared


def joined(unit: Unit) -> str:
    """Stages of all processes together, without those that take no compute units.

    >>> joined(("E", "PD")), joined(("M", "E", "P"))
    ('EPD', 'EP')
    """
    letters = {letter for stages in unit for letter in stages} - {HOST}
    return "".join(sorted(letters, key=STAGES.index))


def shared_candidates(context: Context, unit: Unit, variant: Variant) -> SharedCandidates:
    """Shapes and compute shares of processes, at the counts that bear the load of each."""
    scenario, stages = _with_role(context.scenario, unit), joined(unit)
    sharing = context.demand.options.sharing or Sharing()
    shares = share_rows(unit, sharing)
    found = candidate_shapes(scenario, stages)
    shapes = list(found.found)
    on = _shared(context, unit, variant, shapes, shares, sharing)
    if stages != "E" and not scenario.search.pp:
        for pipeline in PIPELINES:
            fitting = {s.hardware for s, ok in zip(on.decoder.shapes, fits(on), strict=True) if ok}
            longer = candidate_shapes(scenario, stages, pipeline).found
            extra = [shape for shape in longer if shape.hardware not in fitting]
            if not extra:
                break
            shapes += extra
            on = _shared(context, unit, variant, shapes, shares, sharing)
    pins = scenario.search.roles.get(stages)
    batches = pins.max_batch if pins and pins.max_batch else scenario.search.max_batch
    starts = bearing_all(on, context, batches)
    return SharedCandidates(on.decoder, starts, found.turned_away, on)


def _with_role(scenario: Scenario, unit: Unit) -> Scenario:
    """What is fixed for one of the processes holds for all of them: they share the devices."""
    roles, stages = scenario.search.roles, joined(unit)
    known = next((roles[name] for name in (stages, *unit) if name in roles), None)
    if known is None or stages in roles:
        return scenario
    search = scenario.search.model_copy(update={"roles": roles | {stages: known}})
    return replace(scenario, search=search)


def _shared(
    context: Context, unit: Unit, variant: Variant, shapes: list[Shape], shares: Floats,
    sharing: Sharing,
) -> Shared:  # fmt: skip
    times = [context._timed(stages, variant, shapes) for stages in unit]
    return shared(times, shares, sharing, context.demand)


def fits(on: Shared) -> np.ndarray:
    """Whether every process fits beside the others [C]."""
    return np.asarray(np.all([times.fits() for times in on.processes], axis=0))


def bearing_all(on: Shared, context: Context, batches: tuple[int, ...]) -> Starts:
    """Fewest instances that bear the load of every process, as if none slowed another unhindered.

    Rows are those of the process whose batch is limited.
    """
    main = bearing(on.decoder, context.demand, context.goals, batches)
    least = main.least
    for times in on.processes:
        if times is not on.decoder:
            own = bearing(times, context.demand, context.goals, ())
            needed = np.full(len(times), -1)
            needed[own.config] = own.least
            least = np.where(least < 0, -1, np.maximum(least, needed[main.config]))
            least = np.where(needed[main.config] < 0, -1, least)
    kept = np.flatnonzero(least > 0)
    return Starts.from_least(main.config[kept], main.max_batch[kept], least[kept])


def shared_raised(
    context: Context, variant: Variant, pool: SharedCandidates, most: Floats
) -> SharedCandidates:
    """Raise counts until every process is stable and decode meets the tightest TPOT."""

    def tabled(columns: Columns) -> PoolTable:
        columns, room = with_room(pool.on, columns, context.demand)
        tables = shared_tables_of(pool.on, columns, context.demand, context.discipline(variant))
        decoder = _decoder(tables)
        stable = np.all([table.stable for table in tables], axis=0)
        return replace(decoder, stable=stable & room)

    starts = raised(
        pool.times, context.demand, context.goals, context.discipline(variant), pool.starts, most,
        tabled,
    )  # fmt: skip
    return replace(pool, starts=starts)


def shared_tables(
    context: Context, unit: Unit, variant: Variant, pool: Candidates, columns: Columns
) -> Tables:
    """Tables of all processes, row by row: those that are stable and meet every TPOT objective."""
    assert isinstance(pool, SharedCandidates)
    columns, keep = with_room(pool.on, columns, context.demand)
    tables = shared_tables_of(pool.on, columns, context.demand, context.discipline(variant))
    keep = keep & np.all([table.stable for table in tables], axis=0)
    tables = _taken(tables, keep)
    if "D" in joined(unit) and len(tables[0]):
        tables = _taken(tables, tpot_met(_decoder(tables), context.demand, context.goals))
    return tables


def _taken(tables: Tables, keep: np.ndarray) -> Tables:
    rows = np.flatnonzero(keep)
    return tables if keep.all() else tuple(table.take(rows) for table in tables)


def _decoder(tables: Tables) -> PoolTable:
    return next((table for table in tables if "D" in table.stages), tables[-1])


def with_room(on: Shared, columns: Columns, demand: Demand) -> tuple[Columns, np.ndarray]:
    """Lower batch limits to what fits beside the history that sessions keep between turns."""
    keeps = any("P" in times.stages for times in on.processes) and demand.idle_tokens_s > 0
    if not keeps:
        return columns, np.ones(len(columns), bool)
    config: Any = columns.config
    room = np.floor(resident_at(on.decoder, demand, columns.instances.astype(float), config))
    batch = np.minimum(columns.max_batch, np.minimum(room, 2.0**31)).astype(np.int64)
    return Columns(columns.config, columns.instances, np.maximum(batch, 1)), np.asarray(batch >= 1)
