"""Media pre-processing beside the processes whose devices it runs on: no choice of its own."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pdplan.planner.columns import Starts
from pdplan.pools.media_pool import least_instances, media_pool
from pdplan.pools.table import PoolTable
from pdplan.pools.times import Times, stage_times
from pdplan.specs.options import Options
from pdplan.specs.options.media_engine import MediaEngine

if TYPE_CHECKING:
    from pdplan.placement import Placement
    from pdplan.planner.context import Candidates, Context, Variant


def media_option(options: Options, placement: "Placement") -> Options:
    """The same options with an engine where the placement has a stage M, and only there."""
    given = options.media_engine
    wanted = (given or MediaEngine()) if "M" in placement.pools else None
    return options if wanted == given else options.model_copy(update={"media_engine": wanted})


def media_candidates(context: "Context", unit: tuple[str, ...], variant: "Variant") -> "Candidates":
    """Timed candidates of the processes beside M, at counts whose engines bear the media."""
    pool = context.bearing(unit[1:], variant)
    starts = pool.starts
    least = least_instances(_media_times(context, pool.times), context.demand)[starts.config]
    least = np.maximum(starts.least, least)
    return replace(pool, starts=Starts.from_least(starts.config, starts.max_batch, least))


def media_tables(context: "Context", tables: tuple[PoolTable, ...]) -> tuple[PoolTable, ...]:
    """The stage M before tables of the processes beside it; rows whose engines bear the load."""
    beside = tables[0]
    media = media_pool(_media_times(context, beside.times), beside.columns, context.demand)
    rows = np.flatnonzero(media.stable)
    return tuple(table.take(rows) for table in (media, *tables))


def _media_times(context: "Context", times: Times) -> Times:
    engine = context.scenario.engine
    return stage_times("M", times.shapes, context.hardware, engine, context.demand, largest_batch=1)
