"""Placements side by side, rates side by side, and the sections of an explanation."""

from collections.abc import Sequence
from typing import Protocol

from pdplan.plan import Alternative, Plan
from pdplan.report.accuracy import accuracy_drop
from pdplan.report.blocks import Block, Cell, Grid
from pdplan.report.plan_blocks import plan_blocks, shape
from pdplan.report.plan_rows import prediction_cells
from pdplan.report.reasons import verdict

APART = ("P-D", "EP-D")
"""What is compared with where the gain of going further than prefill-decode is asked for."""


class Titled(Protocol):
    """A section of an explanation."""

    @property
    def title(self) -> str:
        """Its heading."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns."""

    @property
    def rows(self) -> tuple[tuple[str | float | None, ...], ...]:
        """Its cells."""

    @property
    def note(self) -> str:
        """What to keep in mind."""


def percentile(found: Sequence[Alternative]) -> int:
    """Highest percentile among the objectives; 90 where there are none."""
    targets = (t for a in found if a.plan and a.plan.prediction for t in a.plan.prediction.targets)
    known = (t.percentile for t in targets if isinstance(t.percentile, int))
    return max(known, default=90)


def comparison(found: Sequence[Alternative]) -> Grid:
    """One row a placement or system, cheapest first; the impossible ones last.

    Of equals the plain placement with the fewest pools comes first.
    """
    at = percentile(found)
    order = sorted(found, key=_worth)
    best = next((a.objective for a in order if a.objective is not None), None)
    colocated = _cheapest(order, lambda name: "-" not in name)
    apart = _cheapest(order, lambda name: name in APART)
    named = any(other.system for other in found)
    pruned = any(accuracy_drop(other.plan) is not None for other in found)
    columns = (
        *(("system",) if named else ()),
        *("placement", "label", "pools", "usd_per_hour", "gpus", f"ttft_p{at}_s", f"tpot_p{at}_s"),
        "attainment",
        *(("accuracy_drop",) if pruned else ()),
        *("saves_vs_colocated_percent", "saves_vs_pd_percent", "verdict"),
    )
    rows = tuple(
        (
            *((other.system or "",) if named else ()),
            other.placement,
            other.label or "",
            _pools(other.plan),
            other.cost_usd_per_hour,
            other.gpus,
            *_latencies(other.plan, at),
            *((accuracy_drop(other.plan),) if pruned else ()),
            _saving(other, colocated),
            _saving(other, apart),
            "best" if i == 0 and other.objective is not None else verdict(other, best),
        )
        for i, other in enumerate(order)
    )
    return Grid(columns, rows, title="Placements and systems" if named else "Placements")


def _worth(other: Alternative) -> tuple[bool, float, bool, int, str, str]:
    known, name = other.objective is not None, other.system or ""
    worth = round(other.objective or 0.0, 9)
    return not known, worth, bool(name), other.placement.count("-"), other.placement, name


def _cheapest(order: Sequence[Alternative], wanted: object) -> float | None:
    assert callable(wanted)
    sharing = (a for a in order if a.objective and "+" not in a.placement and not a.system)
    return next((a.objective for a in sharing if wanted(a.placement)), None)


def _saving(other: Alternative, base: float | None) -> float | None:
    return None if other.objective is None or not base else 100 * (1 - other.objective / base)


def _pools(plan: Plan | None) -> str:
    pools = plan.pools if plan else ()
    return ", ".join(f"{p.stages} {p.instances}x{shape(p)} {p.hardware}" for p in pools)


def _latencies(plan: Plan | None, at: int) -> tuple[Cell, Cell, Cell]:
    found = plan.prediction if plan else None
    if found is None:
        return (None, None, None)
    return (found.ttft_s.at(at), found.tpot_s.at(at), found.attainment)


def rates(plans: Sequence[Plan]) -> Grid:
    """One row a rate."""
    columns = (
        *("rate_rps", "goodput_rps", "attainment", "utilization", "output_tokens_per_s_per_gpu"),
        *(f"{m}_{level}_s" for m in ("ttft", "tpot") for level in ("mean", "p50", "p90", "p99")),
        *("e2e_mean_s", "objectives_met", "reason"),
    )
    rows = []
    for plan in plans:
        found = plan.prediction
        cells: dict[str, object] = prediction_cells(plan)
        cells["utilization"] = max((pool.utilization for pool in plan.pools), default=None)
        cells["objectives_met"] = all(t.met for t in found.targets) if found else False
        cells["reason"] = plan.infeasible.reason if plan.infeasible else ""
        rows.append(tuple(cells.get(name) for name in columns))
    return Grid(columns, tuple(rows), title="Rates")  # type: ignore[arg-type]


def explanation(plan: Plan, sections: Sequence[Titled]) -> tuple[Block, ...]:
    """Write the plan, then each section as a table of its own."""
    told = {section.title for section in sections}
    brief = (block for block in plan_blocks(plan) if not block.title or block.title not in told)
    return (*brief, *(Grid(s.columns, s.rows, s.title, s.note) for s in sections))


def long_rows(sections: Sequence[Titled]) -> Grid:
    """Sections as one table: one row a cell, for they have no columns in common."""
    rows = tuple(
        (section.title, i, name, value)
        for section in sections
        for i, row in enumerate(section.rows, 1)
        for name, value in zip(section.columns, row, strict=True)
    )
    return Grid(("section", "row", "column", "value"), rows, title="Sections")
