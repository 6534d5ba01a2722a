"""Put a demand on columns: loads, waits and the latencies that requests feel."""

from pdplan.pools.colocated_pool import colocated_pool
from pdplan.pools.decode_pool import class_tpot_quantiles_s, decode_pool, tpot_quantiles_s
from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
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
    if "D" not in times.stages:
        return request_pool(times, columns, demand, discipline)
    if times.stages == "D":
        return decode_pool(times, columns, demand, discipline)
    return colocated_pool(times, columns, demand, discipline)
