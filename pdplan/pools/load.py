"""Put a demand on columns: loads, waits and the latencies that requests feel."""

from pdplan.pools.colocated_pool import colocated_pool
from pdplan.pools.decode_pool import class_tpot_quantiles_s, decode_pool, tpot_quantiles_s
from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
from pdplan.pools.local_prefill import bound, demand_at, handed_on, local_points, prefills
from pdplan.pools.media_pool import media_pool
from pdplan.pools.pruned import of_pool
from pdplan.pools.request_pool import Occupancy, occupancy, request_pool
from pdplan.pools.table import Columns, PoolTable
from pdplan.pools.times import Times

__all__ = [
    "Discipline",
    "Occupancy",
    "class_tpot_quantiles_s",
    "occupancy",
    "pool_table",
    "tpot_quantiles_s",
]


def pool_table(times: Times, columns: Columns, demand: Demand, discipline: Discipline) -> PoolTable:
    """Work out load, waits and latencies of every column of a pool."""
    demand = of_pool(demand, times.stages)
    if times.stages == "M":
        return media_pool(times, columns, demand)
    if "D" not in times.stages:
        mine = demand_at(times.stages, demand)
        return handed_on(request_pool(times, columns, mine, discipline), demand)
    if times.stages == "D":
        discipline = bound(discipline, demand)
        if not prefills("D", demand):
            return decode_pool(times, columns, demand, discipline)
        return local_points(colocated_pool(times, columns, demand, discipline), demand)
    return colocated_pool(times, columns, demand, discipline)
