"""What plans say of groups of requests and of the gateway before them, where options ask for it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pdplan.placement import Chain
from pdplan.planner.fleet import Fleet
from pdplan.pools.balance import burst_tolerance, mismatch
from pdplan.pools.table import PoolTable
from pdplan.units import format_seconds

RARE = 1e-4
"""Share of requests below which no number is given."""


def group_options(fleet: Fleet, table: PoolTable) -> dict[str, object]:
    """How much more than its mean demand a pool can take; of prefill, how it suits decode."""
    if fleet.demand.options.grouping is None:
        return {}
    capacity = float(table.capacity_rps[0])
    found: dict[str, object] = {
        "burst_tolerance": float(burst_tolerance(capacity, fleet.demand.traffic.mean_rate_rps))
    }
    if "P" in table.stages and "D" not in table.stages:
        decode = next(t for t in fleet.chain().tables if "D" in t.stages)
        found["mismatch"] = float(mismatch(capacity, decode.capacity_rps[0]))
    return found


def timeouts(fleet: Fleet, chain: Chain) -> Iterator[str]:
    """How many requests have no first token in time, and with a queue at each instance instead."""
    gateway = fleet.demand.options.gateway
    if gateway is None or gateway.timeout is None:
        return
    held, local = (late_share(c, gateway.timeout) for c in (chain, with_local_queues(fleet)))
    yield (
        f"{_share(held)} of requests have no first token within {format_seconds(gateway.timeout)}; "
        f"{_share(local)} with a queue at each instance instead of the gateway"
    )


def late_share(chain: Chain, limit_s: float) -> float:
    """P(TTFT > limit) over all requests; 1 where there is no steady state."""
    if not all(table.stable[0] for table in chain.tables):
        return 1.0
    choice = np.zeros((1, len(chain.placement.devices)), np.int64)
    met = chain.sojourn(choice).attainment(limit_s, chain.demand.weight())
    return max(1 - float(met[0]), 0.0)


def with_local_queues(fleet: Fleet) -> Chain:
    """The same fleet where prompts are dealt out at random on arrival and nothing is retried."""
    demand = replace(
        fleet.demand, options=fleet.demand.options.model_copy(update={"gateway": None})
    )
    members = tuple(
        replace(member, discipline=replace(member.discipline, routing="random"))
        if "P" in member.pool.stages
        else member
        for member in fleet.members
    )
    return replace(fleet, demand=demand, members=members, known={}).chain()


def _share(value: float) -> str:
    return f"{value:.2%}" if value >= RARE else f"under {RARE:.2%}"
