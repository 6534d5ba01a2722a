"""`explain`: where the time goes, what binds, what a change would do, what else was near."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from pdplan.plan import Objective, Plan, Target
from pdplan.planner.binding import broken_by, counted, resized
from pdplan.planner.describe import describe
from pdplan.planner.evaluation import at_rate, evaluated, fleets_of
from pdplan.planner.fleet import Fleet, Fleets
from pdplan.planner.provenance import gathered
from pdplan.pools.attention_ffn import half_passes
from pdplan.pools.table import PoolTable
from pdplan.specs.plan_file import PlanSpec
from pdplan.stages.encode import tower_pass
from pdplan.stages.llm import Pass, decode_pass, prefill_pass

Cell = str | float | None
_NO_OBJECTIVE = Objective("cost", None, None, None)


@dataclass(frozen=True, slots=True)
class Section:
    """One table of an explanation."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan and the tables that explain it."""

    plan: Plan
    sections: tuple[Section, ...]


def explain(spec: PlanSpec) -> Explanation:
    """Explain what a fleet delivers and why."""
    fleets = fleets_of(spec)
    plan = evaluated(fleets)
    return Explanation(
        plan=plan,
        sections=(
            _terms(plan),
            _passes(fleets),
            _memory(plan),
            _binds(fleets, plan),
            _sensitivities(fleets),
            _alternatives(spec),
            _provenance(plan),
        ),
    )


def _terms(plan: Plan) -> Section:
    assert plan.prediction is not None
    terms, mean = plan.prediction.ttft_terms_s, plan.prediction.ttft_s.mean
    rows: list[tuple[str, float, float]] = [
        (f.name, getattr(terms, f.name), getattr(terms, f.name) / mean) for f in fields(terms)
    ]
    return Section(
        "Where the first token's time goes",
        ("term", "mean_s", "share"),
        tuple(row for row in rows if row[1] > 0),
        "means; percentiles come from the distribution of the sum, not from summed percentiles",
    )


def _passes(fleets: Fleets) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for fleet in fleets.groups:
        for member, table in zip(fleet.members, fleet.chain().tables, strict=True):
            for what, one in _typical(fleet, table):
                total, roof = float(one.total_s[0, 0]), float(one.roof_s[0, 0])
                parts = (one.compute_s, one.memory_s, one.network_s, one.overhead_s)
                each = (float(part[0, 0]) for part in parts)
                rows.append((member.name, what, total, *each, roof / total))
    return Section(
        "One pass of each stage, alone",
        ("pool", "pass", "total_s", "compute_s", "memory_s", "network_s", "overhead_s",
         "roofline_share"),
        tuple(rows),
        "compute and memory join by a p-norm, so parts do not add up to the total; "
        "roofline_share is the datasheet's least time over the total",
    )  # fmt: skip


def _typical(fleet: Fleet, table: PoolTable) -> Iterator[tuple[str, Pass]]:
    """Mean prompt, mean batch and mean media of a pool, one pass each."""
    demand, m = fleet.demand, table.times.machines
    if "E" in table.stages and demand.media.any:
        tower = fleet.model.vision if demand.media.vision.positions.any() else fleet.model.audio
        load = demand.media.vision if tower is fleet.model.vision else demand.media.audio
        heaviest = int(np.argmax(load.positions * demand.weight()))
        one = type(load)(*(getattr(load, f.name)[[heaviest]] for f in fields(load)))
        if tower is not None:
            yield "encode, most common media", tower_pass(m, tower, one)
    if "P" in table.stages:
        tokens, cached = (float(demand.mean(x)) for x in (demand.new_tokens, demand.cached_tokens))
        prompt = prefill_pass(fleet.model, m, new_tokens=tokens, prefix_tokens=cached)
        beside = f" over {cached:.0f} cached" if cached else ""
        yield f"prefill, {tokens:.0f} tokens{beside}", prompt
    if table.times.bundles is not None:
        yield from half_passes(demand, table.times.bundles, max(float(table.mean_batch[0]), 1.0))
    elif "D" in table.stages:
        batch = max(float(table.mean_batch[0]), 1.0)
        step = decode_pass(
            fleet.model,
            m,
            sequences=batch,
            context_tokens=demand.context_tokens,
            cross_tokens=demand.cross_tokens,
        )
        yield f"decode, batch {batch:.0f} at {demand.context_tokens:.0f} tokens", step


def _memory(plan: Plan) -> Section:
    rows = [
        (p.name, p.hardware, u.weights / 1e9, u.activations / 1e9, u.reserve / 1e9, u.kv / 1e9,
         u.limit / 1e9, p.kv_capacity_tokens)
        for p in plan.pools
        for u in (p.memory_bytes,)
    ]  # fmt: skip
    return Section(
        "Memory of one accelerator, GB",
        ("pool", "hardware", "weights", "activations", "reserve", "left_for_kv", "usable",
         "kv_capacity_tokens"),
        tuple(rows),
        "kv_capacity_tokens is per instance",
    )  # fmt: skip


def _binds(fleets: Fleets, plan: Plan) -> Section:
    assert plan.prediction is not None
    rows: list[tuple[Cell, ...]] = [
        (_name(t), t.predicted_s, t.objective_s, 1 - t.predicted_s / t.objective_s)
        for t in plan.prediction.targets
    ]
    for fleet in fleets.groups:
        for i, member in enumerate(fleet.members):
            if member.pool.instances > 1:
                fewer = resized(fleet, i, member.pool.instances - 1)
                broken = broken_by(fewer, i) or "every objective still holds"
                text = f"{member.name} with {counted(member.pool.instances - 1)}: {broken}"
                rows.append((text, None, None, None))
    return Section(
        "Objectives, and what one instance less would break",
        ("what", "predicted_s", "objective_s", "slack"),
        tuple(rows),
    )


def _name(target: Target) -> str:
    return f"{target.what} ({target.request_class})"


def _sensitivities(fleets: Fleets) -> Section:
    rate = fleets.demand.rate_rps
    changes = [("as planned", fleets)]
    changes += [(f"rate x {f:g}", at_rate(fleets, rate * f)) for f in (0.8, 0.9, 1.1, 1.25)]
    for k, fleet in enumerate(fleets.groups):
        for i, member in enumerate(fleet.members):
            larger = resized(fleet, i, member.pool.instances + 1)
            groups = (*fleets.groups[:k], larger, *fleets.groups[k + 1 :])
            changes.append((f"{member.name} + 1 instance", replace(fleets, groups=groups)))
    rows: list[tuple[Cell, ...]] = []
    for text, changed in changes:
        prediction = describe(changed, status="feasible", objective=_NO_OBJECTIVE).prediction
        assert prediction is not None
        values = (prediction.ttft_s.p90, prediction.tpot_s.p90, prediction.e2e_s.p90)
        shown = [value if np.isfinite(value) else None for value in values]
        rows.append((text, *shown, prediction.attainment, changed.usd_per_hour))
    return Section(
        "What a change would do",
        ("change", "ttft_p90_s", "tpot_p90_s", "e2e_p90_s", "attainment", "usd_per_hour"),
        tuple(rows),
        "an empty latency means overload: there is no steady state",
    )


def _alternatives(spec: PlanSpec) -> Section:
    rows = [
        (a.get("placement"), a.get("label"), a.get("cost_usd_per_hour"), a.get("reason"))
        for a in spec.alternatives
    ]
    note = "" if rows else "the plan file records none; `pdplan compare` works them out"
    return Section(
        "Other placements, when the plan was made",
        ("placement", "label", "usd_per_hour", "reason"),
        tuple(rows),
        note,
    )


def _provenance(plan: Plan) -> Section:
    together = gathered(plan.provenance)
    borrowed = {p.quantity.partition(": ")[0]: p for p in together if p.origin == "transferred"}
    notes = [
        f"pool {pool.name} stands on transferred numbers: {found.quantity} ({found.source})"
        for pool in plan.pools
        if (found := borrowed.get(pool.hardware)) is not None
    ]
    return Section(
        "Where the numbers come from",
        ("quantity", "origin", "source"),
        tuple((p.quantity, p.origin, p.source) for p in together),
        ". ".join(notes) or "no pool stands on transferred numbers",
    )
