"""The largest rate that a fixed stock of accelerators can be arranged to carry.

A fleet is bought for one workload; when another comes, each accelerator may take another role or
model. Bisection over whether any fleet within the stock keeps the objectives, so the bracket is
proven as far as the solver's answers are.
"""

from collections.abc import Callable
from dataclasses import replace

from pdplan.errors import SpecError
from pdplan.plan import Alternative, Objective, Plan
from pdplan.specs.scenario import Scenario

BRACKET = 1e-3
"""Relative width of the bracket in which the largest rate lies."""
LEAST, MOST = 1e-6, 1e9
"""Rates beyond which no more is tried [req/s]."""


def most_rate(
    scenario: Scenario, *, carries: Callable[[Scenario], bool], solve: Callable[[Scenario], Plan]
) -> Plan:
    """Find the largest rate within the stock, and the fewest accelerators that carry it.

    The objective's value is the rate of a plan that was found, its bound a rate at which there is
    none. At rates in proportion each class keeps its share. Raises SpecError where the stock of a
    kind is not given: then there is no largest rate.
    """
    for offer in scenario.hardware:
        if offer.stock is None and scenario.limits.max_gpus is None:
            message = (
                f"objective rate: '{offer.id}' needs a stock, for example "
                f"'hardware: [{{id: {offer.id}, stock: 16}}]' or --stock {offer.id}=16"
            )
            raise SpecError(message)

    def at(rate_rps: float) -> Scenario:
        traffic = replace(scenario.traffic, rate_rps=rate_rps)
        return replace(scenario, objective="gpus", traffic=traffic)

    low = high = scenario.traffic.rate_rps
    if carries(at(low)):
        while carries(at(high)) and high < MOST:
            low, high = high, 2 * high
    else:
        while not carries(at(low)):
            low, high = low / 2, low
            if low < LEAST:
                return _of_rate(solve(at(low)), None, None)
    while high > low * (1 + BRACKET):
        middle = (low + high) / 2
        low, high = (middle, high) if carries(at(middle)) else (low, middle)
    return _of_rate(solve(at(low)), low, high)


def _of_rate(plan: Plan, value: float | None, bound: float | None) -> Plan:
    """Say of a plan what was asked: the largest rate."""
    gap = None if value is None or bound is None else bound / value - 1
    return replace(
        plan,
        objective=Objective("rate", value, bound, gap),
        alternatives=tuple(_beaten(row) for row in plan.alternatives),
    )


def _beaten(row: Alternative) -> Alternative:
    """An alternative under the objective rate: it carries as much with no fewer accelerators."""
    if row.reason is not None:
        return row
    told = f"carries this rate with {row.gpus} accelerators; its largest rate is not worked out"
    return replace(row, objective=None, reason=told)
