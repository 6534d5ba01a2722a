"""Where the closed forms of waits in encode and prefill pools are known to be less exact."""

import numpy as np

from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
from pdplan.pools.local_prefill import demand_at
from pdplan.pools.request_pool import occupancy
from pdplan.pools.table import PoolTable

BUSY = 0.92
COSTLY_BASE = 0.3
UNSETTLED = (0.95, 1.15)
HEAVY_SCV = 3.0
JUST_OVER = (1.0, 1.2)
"""Bounds of the regions in which simulations differ most (see `queueing.batching`)."""


def queueing_confidence(
    table: PoolTable, demand: Demand, discipline: Discipline, column: int = 0
) -> tuple[str, ...]:
    """Reasons why the wait of one column of an E, P or EP pool may be off by more than usual.

    Each names the region and the error measured there; none means mean 5 %, p50 and p90 7 %, p99
    12 % in most cases.
    """
    if "D" in table.stages:
        return ()
    times, columns = table.times, table.columns
    c, n = int(columns.config[column]), int(columns.instances[column])
    found = []
    load = float(table.utilization[column])
    if BUSY < load < 1:
        found.append(f"utilization {load:.2f}: percentiles within about 20 %, mean within 10 %")
    if demand.traffic.dispersion_s > 0:
        found.append("bursts: mean wait within about 30 %, percentiles less exact")
    if table.stages in ("E", "M"):
        return tuple(found)
    demand = demand_at(table.stages, demand)
    occupied = occupancy(times, demand)
    scv = float(occupied.sizes.scv[c])
    base = float(occupied.base_s[c] / occupied.full_s[c])
    fill = float(np.broadcast_to(occupied.fill, occupied.base_s.shape)[c])
    single = demand.rate_rps / n * float(occupied.services.mean_s[c])
    if scv > HEAVY_SCV:
        found.append(f"prompts of scv {scv:.1f}: percentiles within about 20 %")
    if base > COSTLY_BASE and n > 1:
        found.append(f"passes cost {base:.0%} of a full one before any token: mean within 15 %")
    if n > 1 and UNSETTLED[0] < single < UNSETTLED[1]:
        found.append("instances just begin to share passes: mean within 20 %")
    if scv < 0.01 and JUST_OVER[0] < fill < JUST_OVER[1]:
        found.append("equal prompts just over a pass's token budget: mean within 15 %")
    if n > 1 and float(times.machines.pp[c, 0]) > 1:
        found.append("pipelines in several instances: mean within 12 %")
    if n > 1 and discipline.routing in ("central", "round_robin"):
        found.append(f"{discipline.routing} routing of passes: mean 10 % on average, 50 % at worst")
    return tuple(found)
