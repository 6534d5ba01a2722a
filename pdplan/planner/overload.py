"""Fleets that more comes to than they carry: no steady state, and what to ask instead."""

from dataclasses import replace

from pdplan.plan import Plan


def no_steady_state(plan: Plan) -> str | None:
    """Say which pool's or network's load exceeds its capacity; None if none does.

    Of several the one that saturates first.
    """
    loads = [
        (pool.utilization, f"pool '{pool.name}' saturates at {pool.capacity_rps:.4g} req/s")
        for pool in plan.pools
    ]
    rate = plan.prediction.rate_rps if plan.prediction else 0.0
    loads += [
        (hop.link_utilization, f"the network from '{hop.source}' to '{hop.target}' saturates at "
         f"{rate / hop.link_utilization:.4g} req/s")
        for hop in plan.transfers if hop.link_utilization >= 1
    ]  # fmt: skip
    load, words = max(loads)
    return f"no steady state: {words}" if load >= 1 else None


def with_overload(plan: Plan) -> Plan:
    """Say of a plan without a steady state that it has none, and what to ask instead."""
    words = no_steady_state(plan)
    if words is None:
        return plan
    told = f"{words}; give --requests N for what the first N requests see"
    return replace(plan, status="infeasible", binding=(told,))
