"""What a plan is made least of: its resource, and what one accelerator has of it."""

from pdplan.specs.scenario import HardwareChoice

RESOURCES = {
    "cost": "usd_per_hour",
    "gpus": "gpus",
    "power": "power_w",
    "hardware_cost": "hardware_cost",
}
"""Objectives and the use of columns that each sums up."""

UNITS = {
    "cost": ("USD/h", 2),
    "gpus": ("GPUs", 0),
    "power": ("W", 0),
    "hardware_cost": ("x an H100", 2),
}
"""Their units and digits."""


def each_of(choice: HardwareChoice, aim: str) -> float | None:
    """What one accelerator has of an objective; None where it is not known."""
    if aim == "cost":
        return choice.usd_per_hour
    if aim == "power":
        return choice.spec.power.board if choice.spec.power else None
    if aim == "hardware_cost":
        return choice.spec.relative_cost.value if choice.spec.relative_cost else None
    return 1.0
