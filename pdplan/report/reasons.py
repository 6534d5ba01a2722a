"""Why this plan: what else was tried, and where the numbers come from."""

from itertools import groupby

from pdplan.plan import Alternative, Plan, Provenance
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
    rows: list[tuple[Cell, ...]] = []
    for (about, origin, _), group in groupby(plan.provenance, _about):
        found = list(group)
        told = ", ".join(row.quantity.partition(": ")[2] for row in found if ": " in row.quantity)
        sources = "; ".join(dict.fromkeys(row.source for row in found))
        mark = "! transferred" if origin == "transferred" else origin
        rows.append((f"{about}: {told}" if told else about, mark, sources))
    columns = ("quantity", "origin", "source")
    short = frozenset({"source"})
    return Grid(columns, tuple(rows), title="Where the numbers come from", short=short)


def _about(row: Provenance) -> tuple[str, str, bool]:
    return row.quantity.partition(": ")[0], row.origin, row.quantity.endswith(": price")
