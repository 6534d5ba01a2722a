"""What pruning costs in accuracy, beside every plan that prunes."""

from pdplan.plan import Plan
from pdplan.report.blocks import Cell

UNKNOWN = "not stated"


def accuracy_drop(plan: Plan | None) -> Cell:
    """Accuracy that a plan loses by what it leaves out, as its user says; None where nothing is."""
    pruned = (plan.options or {}).get("prune") if plan is not None else None
    if not pruned or set(pruned) <= {"accuracy_drop", "max_accuracy_drop"}:
        return None
    lost = pruned.get("accuracy_drop")
    return UNKNOWN if lost is None else float(lost)
