"""Why this plan: what else was tried, and where the numbers come from."""

from pdplan.plan import Alternative, Plan
from pdplan.planner.provenance import gathered
from pdplan.report.blocks import Cell, Grid
from pdplan.report.numbers import percent


def alternatives(plan: Plan) -> Grid:
    """List what else was tried and what it would have cost; the same reason is given once."""
    best = plan.objective.value
    possible: list[tuple[Cell, ...]] = [
        (a.placement, a.label or "", a.cost_usd_per_hour, a.gpus, verdict(a, best))
        for a in plan.alternatives
        if not a.reason
    ]
    reasons: dict[str, list[str]] = {}
    for other in plan.alternatives:
        if other.reason:
            reasons.setdefault(other.reason, []).append(other.placement)
    lost = [(", ".join(names), "", None, None, reason) for reason, names in reasons.items()]
    columns = ("placement", "label", "usd_per_hour", "gpus", "verdict")
    return Grid(columns, (*possible, *lost), title="What else was tried")


def verdict(other: Alternative, best: float | None) -> str:
    """Write by how much an alternative loses, or why it cannot be."""
    if other.reason:
        return other.reason
    if other.objective is None or not best:
        return "possible"
    more = other.objective / best - 1
    return f"+{percent(more)}" if more > 1e-9 else "as good" if more > -1e-9 else percent(more)


def provenance(plan: Plan) -> Grid:
    """List where numbers come from; what is said of one thing by one kind of source is one row."""
    rows: list[tuple[Cell, ...]] = [
        (row.quantity, "! transferred" if row.origin == "transferred" else row.origin, row.source)
        for row in gathered(plan.provenance)
    ]
    columns = ("quantity", "origin", "source")
    short = frozenset({"source"})
    return Grid(columns, tuple(rows), title="Where the numbers come from", short=short)
