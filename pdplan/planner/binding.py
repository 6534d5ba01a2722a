"""What keeps a plan from being cheaper: limits without slack, and what one instance less breaks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pdplan.placement import Chain
from pdplan.planner.context import Context
from pdplan.planner.device_report import users_share
from pdplan.planner.fleet import Fleet, Fleets
from pdplan.planner.goals import Goal
from pdplan.planner.late import tpot_s
from pdplan.planner.place import network_load
from pdplan.units import format_seconds

LIMITS = {"gpus": "max_gpus", "usd_per_hour": "budget", "power_w": "power"}


def binding(context: Context, fleets: Fleets, limits: Sequence[str]) -> tuple[str, ...]:
    """Name what binds, limits first, then pool by pool what one instance fewer would break."""
    found = [_limit(context, name) for name in limits if _is_limit(name)]
    for fleet in fleets.groups:
        for i, member in enumerate(fleet.members):
            if member.pool.instances > 1:
                fewer = member.pool.instances - 1
                broken = broken_by(resized(fleet, i, fewer), i)
                if broken is not None:
                    found.append(f"{member.name}: with {counted(fewer)} {broken}")
    return tuple(found)


def resized(fleet: Fleet, position: int, instances: int) -> Fleet:
    """Give a pool of a fleet, and what shares its devices, another number of instances."""
    group = fleet.placement.devices[fleet.placement.device_of[position]]
    members = tuple(
        replace(member, pool=replace(member.pool, instances=instances)) if i in group else member
        for i, member in enumerate(fleet.members)
    )
    return replace(fleet, members=members)


def counted(instances: int) -> str:
    """Write a number of instances.

    >>> counted(1), counted(2)
    ('1 instance', '2 instances')
    """
    return f"{instances} instance" + ("" if instances == 1 else "s")


def _is_limit(name: str) -> bool:
    return name in LIMITS or name.startswith("stock:")


def _limit(context: Context, name: str) -> str:
    if name.startswith("stock:"):
        hardware = name.removeprefix("stock:")
        stock = next(c.stock for c in context.scenario.hardware if c.id == hardware)
        return f"stock of {hardware}: all {stock} in use"
    return f"limit {LIMITS[name]} is reached"


def broken_by(fleet: Fleet, pool: int) -> str | None:
    """First thing a fleet fails at, in words; None if it meets every objective."""
    chain = fleet.chain()
    table = chain.tables[pool]
    if not table.stable[0]:
        return f"load would be {float(table.utilization[0]):.0%} of capacity"
    if (network_load(fleet.demand, fleet.placement, table) >= 1).any():
        return "its network could not carry the transfers"
    sending = users_share(fleet.demand)
    if sending >= 1:
        return f"users would send {sending:.0%} of what their cell carries"
    for goal in fleet.goals:
        reached = _reached(chain, goal)
        if reached > goal.limit_s * (1 + 1e-9):
            whose = f" of {goal.request_class}" if len(fleet.demand.traffic.classes) > 1 else ""
            return (
                f"{goal.name}{whose} would be "
                f"{format_seconds(reached)} (objective {format_seconds(goal.limit_s)})"
            )
    return None


def _reached(chain: Chain, goal: Goal) -> float:
    weight = goal.weight / goal.weight.sum()
    if goal.metric == "tpot":
        return tpot_s(chain, weight, goal.level)
    return goal.ttft_s(chain.sojourn(np.zeros((1, len(chain.tables)), np.int64)))
