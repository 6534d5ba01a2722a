"""Every combination of columns, tried one by one, finds nothing better than the planner."""

import numpy as np
import pytest

from pdplan.placement import Chain, parse_placement
from pdplan.planner.columns import loaded
from pdplan.planner.context import Context
from pdplan.planner.goals import ttft_goals
from pdplan.planner.late import LateTpot, is_late
from pdplan.planner.place import network_load, place
from pdplan.planner.program import Program
from pdplan.pools.table import Columns
from pdplan.specs.scenario import scenario_from

MOST = {1: 40, 2: 16, 3: 7}
"""Instances of each pool tried, by number of pools."""
BLOCK = 2000


def every_column(context, stages, variant, most):
    """All counts of all candidates, those that cannot work left out."""
    pool = context.candidates((stages,), variant)
    config = np.repeat(pool.starts.config, most)
    cap = np.repeat(pool.starts.max_batch, most)
    count = np.tile(np.arange(1, most + 1), len(pool.starts.config))
    columns = Columns.of(config, count, cap)
    if not len(columns):
        return None
    table = loaded(pool.times, columns, context.demand, context.discipline(variant), context.goals)
    return table if len(table) else None


def within_limits(scenario, tables, grid):
    """Objective of every combination, infinite where it breaks a limit."""
    gpus, usd, watts = (np.zeros(len(grid)) for _ in range(3))
    kept = np.ones(len(grid), bool)
    for choice in scenario.hardware:
        used = np.zeros(len(grid))
        for i, table in enumerate(tables):
            mine = np.array([s.hardware == choice.id for s in table.times.shapes])
            used += (mine[table.columns.config] * table.gpus)[grid[:, i]]
        gpus += used
        watts += used * choice.spec.power.board
        node = choice.spec.accelerators_per_node if scenario.limits.whole_nodes else 1
        rented = np.ceil(used / node) * node
        usd += rented * choice.usd_per_hour
        if choice.stock is not None:
            kept &= rented <= choice.stock
    for value, limit in (
        (gpus, scenario.limits.max_gpus),
        (usd, scenario.limits.budget_usd_per_hour),
        (watts, scenario.limits.power_w),
    ):
        if limit is not None:
            kept &= value <= limit * (1 + 1e-9)
    return np.where(kept, {"cost": usd, "gpus": gpus, "power": watts}[scenario.objective], np.inf)


def agreeing(placement, tables, grid):
    """Whether prefill and decode pools use the same cache type."""
    if not placement.decode_apart:
        return np.ones(len(grid), bool)
    kinds = []
    for letter in "PD":
        i = next(i for i, pool in enumerate(placement.pools) if letter in pool)
        dtypes = np.array([s.kv_dtype for s in tables[i].times.shapes])
        kinds.append(dtypes[tables[i].columns.config][grid[:, i]])
    return kinds[0] == kinds[1]


def brute_force(context, placement):
    best = np.inf
    for variant in context.variants(placement.pools):
        found = [
            every_column(context, stages, variant, MOST[len(placement.pools)])
            for stages in placement.pools
        ]
        if any(table is None for table in found):
            continue
        tables = tuple(
            table
            if len(found) == 1
            else table.take(np.flatnonzero(network_load(context.demand, placement, table) < 1))
            for table in found
        )
        axes = [np.arange(len(table)) for table in tables]
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], 1)
        objective = within_limits(context.scenario, tables, grid)
        objective = np.where(agreeing(placement, tables, grid), objective, np.inf)
        sender = next(table for table in tables if "P" in table.stages)
        chain = Chain(
            placement,
            tables,
            context.demand,
            tuple(shape.kv_dtype for shape in sender.times.shapes),
            context.scenario.first_token_from,
        )
        late = LateTpot(chain, context.goals) if is_late(chain) else None
        program = Program(chain, context.scenario, ttft_goals(context.goals), late)
        order = np.flatnonzero(objective < best)
        order = order[np.argsort(objective[order], kind="stable")]
        for start in range(0, len(order), BLOCK):
            block = order[start : start + BLOCK]
            accepted = program.accept(grid[block])
            if accepted.any():
                best = float(objective[block[np.argmax(accepted)]])
                break
    return best


def compared(question):
    context = Context.of(scenario_from(question))
    media = context.demand.media.any
    checked = 0
    for text in ("EPD", "EP-D", "E-PD", "E-P-D") if media else ("PD", "P-D"):
        placement = parse_placement(text)
        placed = place(context, placement)
        most = max((pool.instances for pool in placed.pools), default=0)
        if most > MOST[len(placement.pools)]:
            continue  # brute force does not reach that far
        assert placed.objective == pytest.approx(brute_force(context, placement), rel=1e-9), text
        checked += 1
    return checked


@pytest.mark.parametrize("seed", range(12))
def test_counts_begin_where_the_first_one_works(seed, random_question):
    """Every count below the least fails, and the least works."""
    context = Context.of(scenario_from(random_question(seed)))
    stages = "EPD" if context.demand.media.any else "PD"
    for pool in ("D", stages):
        (variant, *_) = context.variants((pool,))
        found = context.candidates((pool,), variant)
        kept = np.flatnonzero(found.starts.least < 25)
        least, config = found.starts.least[kept], found.starts.config[kept]
        count = 1 + int(least.max(initial=0))
        columns = Columns.of(
            np.repeat(config, count),
            np.tile(np.arange(1, count + 1), len(config)),
            np.repeat(found.starts.max_batch[kept], count),
        )
        if not len(columns):
            continue
        discipline = context.discipline(variant)
        table = loaded(found.times, columns, context.demand, discipline, context.goals)
        for c, cap, n in zip(config, found.starts.max_batch[kept], least, strict=True):
            mine = (table.columns.config == c) & (table.columns.max_batch == cap)
            works = table.columns.instances[mine]
            assert works.min(initial=count + 1) == n, (pool, c, cap)


@pytest.mark.parametrize("seed", range(30))
def test_the_plan_is_the_best_of_all(seed, random_question):
    assert compared(random_question(seed)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 300, 50))
def test_the_plan_is_the_best_of_all_at_length(first, random_question):
    assert sum(compared(random_question(seed)) for seed in range(first, first + 50)) > 50
