"""Limits of a scenario by resource: accelerators, cost, power, and stock of each kind."""

from collections.abc import Mapping
from dataclasses import replace

from pdplan.specs.scenario import Scenario


def limits_of(scenario: Scenario) -> dict[str, float]:
    """Most of each resource that all fleets may use together; a stock is of whole nodes if rented.

    A budget for whole nodes is left out: it limits what they cost together.
    """
    given, nodes = scenario.limits, scenario.limits.whole_nodes
    found = {
        "gpus": given.max_gpus,
        "usd_per_hour": None if nodes else given.budget_usd_per_hour,
        "power_w": given.power_w,
    }
    for offer in scenario.hardware:
        node = offer.spec.accelerators_per_node if nodes else 1
        found[f"stock:{offer.id}"] = None if offer.stock is None else offer.stock // node * node
    return {name: float(value) for name, value in found.items() if value is not None}


def limited_to(scenario: Scenario, caps: Mapping[str, float]) -> Scenario:
    """Take limits by the names of `limits_of` in the place of the scenario's."""
    limits = replace(
        scenario.limits,
        max_gpus=_whole(caps.get("gpus")),
        budget_usd_per_hour=caps.get("usd_per_hour"),
        power_w=caps.get("power_w"),
    )
    offers = tuple(
        replace(offer, stock=_whole(caps.get(f"stock:{offer.id}"))) for offer in scenario.hardware
    )
    return replace(scenario, limits=limits, hardware=offers)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def least_use(scenario: Scenario, resource: str) -> float:
    """What one accelerator more would use of a resource, at least."""
    each = []
    for offer in scenario.hardware:
        watts = offer.spec.power.board if offer.spec.power else 0.0
        known = {"usd_per_hour": offer.usd_per_hour or 0.0, "power_w": watts}
        each.append(known.get(resource, 1.0))
    return min(each)
