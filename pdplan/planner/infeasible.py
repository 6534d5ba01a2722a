"""Why there is no plan: what binds, how near the best try came, and what would help."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pdplan.placement.latency import Sojourn
from pdplan.plan import Infeasible
from pdplan.planner.aims import UNITS
from pdplan.planner.blocks import Block
from pdplan.planner.context import Candidates, Context, Unit
from pdplan.planner.goals import tpot_goals
from pdplan.planner.place import Placed, place
from pdplan.planner.program import OVER_BUDGET, Program
from pdplan.planner.splitting import Splits
from pdplan.solver import Relaxation
from pdplan.stages.machine import Shape
from pdplan.units import format_seconds, format_si

LOOSER = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
"""Factors tried on a latency objective when looking for a relaxation that helps."""
NAMES = {"gpus": "max_gpus", "usd_per_hour": "budget", "power_w": "power limit"}


def reason(context: Context, placed: Placed) -> str:
    """Say in one line why a placement has no plan."""
    if placed.empty is not None:
        return _no_candidate(
            placed.context, placed.empty, placed.context.candidates(placed.empty, placed.variant)
        )
    assert placed.program is not None
    for name in placed.choice.violated if placed.choice else ():
        devices = [pool.name for pool in placed.program.pools()]
        if name in devices and len(devices) > 1:
            return f"no candidate left for its {name} pool: the network cannot carry the transfers"
        if name == OVER_BUDGET and placed.choice:
            budget = context.scenario.limits.budget_usd_per_hour
            cost = placed.choice.objective
            return f"budget of {cost:.2f} instead of {budget:g} USD/h, in whole nodes"
    near = nearest(placed.program)
    if near is not None:
        return near
    helping = placed.program.diagnose().relaxations
    if helping:
        return _limit_text(helping[0])
    return "the limits together leave no choice"


def _no_candidate(context: Context, unit: Unit, pool: Candidates) -> str:
    """Why a pool has no candidate: shapes refused, memory, or TPOT out of reach."""
    times, stages = pool.times, "-".join(unit)
    if not len(times):
        refused = sorted(pool.turned_away.items(), key=lambda item: (-item[1], item[0]))
        return f"pool {stages}: {refused[0][0]}" if refused else f"pool {stages}: no hardware"
    fits = times.fits()
    if not fits.any():
        memory = times.memory
        needed = (memory.weights + memory.activations + memory.reserve)[:, 0]
        best = int(np.argmin(needed / memory.limit[:, 0]))
        return (
            f"pool {stages}: memory: {format_si(float(needed[best]), 'B')} needed before any "
            f"cache on {_shape(times.shapes[best])}, "
            f"{format_si(float(memory.limit[best, 0]), 'B')} usable"
        )
    levels, limits = tpot_goals(context.goals)
    step = np.where(fits, times.step_s[:, 0], np.inf)
    best = int(np.argmin(step))
    if levels.size and step[best] > limits.min():
        return (
            f"pool {stages}: TPOT {format_seconds(float(step[best]))} at best "
            f"({_shape(times.shapes[best])} batch=1), objective {format_seconds(limits.min())}; "
            f"{int(fits.sum())} of {len(times)} candidates fit in memory"
        )
    return f"pool {stages}: no batch limit of the search fits in memory"


def _shape(shape: Shape) -> str:
    extra = [f"{k}={v}" for k, v in (("pp", shape.pp), ("ep", shape.ep), ("dp", shape.dp)) if v > 1]
    return " ".join([shape.hardware, f"tp={shape.tp}", *extra])


def nearest(program: Program) -> str | None:
    """Best TTFT that the columns reach, where that misses an objective."""
    chain = program.chain
    if not program.goals or not all(len(table) for table in chain.tables):
        return None
    quickest = []
    for table in chain.tables:
        waits = sum((np.asarray(w.mean_s) for w in table.waits), np.zeros(len(table)))
        fixed = chain.demand.mean(table.encode_s + table.prefill_s)
        quickest.append(int(np.argmin(fixed + waits)))
    leaders = [quickest[group[0]] for group in chain.placement.devices]
    sojourn: Sojourn = chain.sojourn(np.array([leaders]))
    for goal in program.goals:
        reached = goal.ttft_s(sojourn)
        if reached > goal.limit_s:
            shapes = " + ".join(
                _shape(t.times.shapes[int(t.columns.config[k])])
                for t, k in zip(chain.tables, quickest, strict=True)
            )
            return (
                f"{goal.name} {format_seconds(reached)} at best ({shapes}), "
                f"objective {format_seconds(goal.limit_s)}"
            )
    return None


def why_none(context: Context, placed: list[Placed], splits: Splits | None = None) -> Infeasible:
    """Sum up over placements: the limit that binds, the nearest miss, the cheapest relaxation."""
    best = min(placed, key=lambda p: p.objective, default=None)
    if splits is not None and best is not None and np.isfinite(best.objective):
        shared = f"all classes sharing: {_worth(context, best)}"
        return Infeasible(_by_class(splits), "split", shared, f"split: auto, with {shared}")
    found = _why_none(context, placed)
    if splits is None:
        return found
    return replace(found, reason=f"{found.reason}; {_by_class(splits)}")


def _by_class(splits: Splits) -> str:
    """Which classes have no plan even alone."""
    told = []
    for block in splits.blocks.values():
        if isinstance(block, Block) and len(block.classes) == 1 and not np.isfinite(block.lower):
            why = _why_none(block.context, block.failed())
            told.append(f"class {block.names[0]} alone: {why.reason}")
    return "; ".join(told) or "each class alone has a plan, but not within the limits together"


def _why_none(context: Context, placed: list[Placed]) -> Infeasible:
    if not placed:
        return Infeasible("no placement suits the workload", "placement", None, None)
    reasons = {p.placement.text: reason(context, p) for p in placed}
    options = sorted(_relaxations(context, placed), key=lambda o: (o[0], o[1]))
    first = placed[0].placement.text
    limit = options[0][2] if options else _limit_named(reasons[first])
    text = options[0][3] if options else None
    helped = options[0][4] if options else first
    others = "; ".join(f"{name}: {why}" for name, why in reasons.items() if name != helped)
    return Infeasible(
        reason=f"{helped}: {reasons[helped]}" + (f"; {others}" if others else ""),
        limit=limit,
        nearest=f"{helped}: {reasons[helped]}",
        relaxation=text,
    )


def _limit_named(text: str) -> str:
    for word in ("TPOT", "TTFT", "memory", "network"):
        if f"{word} " in text.partition(";")[0] or f"{word}:" in text:
            return word.lower()
    return "limits"


Option = tuple[float, float, str, str, str]
"""Relative change, objective, limit, text, placement."""


def _relaxations(context: Context, placed: list[Placed]) -> Iterator[Option]:
    """Single changes that would make some placement feasible."""
    for p in placed:
        if p.program is None:
            continue
        budget = context.scenario.limits.budget_usd_per_hour
        if p.choice is not None and OVER_BUDGET in p.choice.violated and budget:
            cost, name = p.choice.objective, p.placement.text
            text = f"{reason(context, p)}: {_worth_of(context, name, cost)}"
            yield cost / budget, cost, "budget", text, name
            continue
        for r in p.program.diagnose().relaxations:
            if r.limit is not None and r.needed is not None:
                name = NAMES.get(r.name, r.name)
                worth = _worth_of(context, p.placement.text, r.objective)
                text = f"{_limit_text(r)}: {worth}"
                yield (r.needed / r.limit, r.objective, name, text, p.placement.text)
    metrics = sorted({goal.metric for goal in context.goals}, reverse=True)
    helped = False
    for metric in metrics:
        for option in _looser(context, placed, (metric,)):
            helped = True
            yield option
    if not helped and len(metrics) > 1:
        yield from _looser(context, placed, tuple(metrics))


def _looser(context: Context, placed: list[Placed], metrics: tuple[str, ...]) -> Iterator[Option]:
    """The least factor on latency objectives, of those tried, at which a plan exists."""
    for factor in LOOSER:
        goals = tuple(
            replace(goal, limit_s=_rounded_up(goal.limit_s * factor))
            if goal.metric in metrics
            else goal
            for goal in context.goals
        )
        relaxed = Context(context.scenario, context.demand, goals, context.hardware)
        found = [place(relaxed, p.placement) for p in placed]
        best = min(found, key=lambda p: p.objective)
        if np.isfinite(best.objective):
            parts = []
            for metric in metrics:
                limit = max(goal.limit_s for goal in goals if goal.metric == metric)
                parts.append(f"{metric.upper()} objective of {format_seconds(limit)}")
            text = f"{' and '.join(parts)} (x {factor:g}): {_worth(context, best)}"
            yield factor, best.objective, " and ".join(metrics), text, best.placement.text
            return


def _rounded_up(seconds: float) -> float:
    """Round up to the three digits that are printed, so that taking the text literally works.

    >>> _rounded_up(0.5625)
    0.563
    """
    digits = 2 - math.floor(math.log10(seconds))
    scale = 10.0**digits
    return math.ceil(round(seconds * scale, 6)) / scale


def _worth(context: Context, placed: Placed) -> str:
    return _worth_of(context, placed.placement.text, placed.objective)


def _worth_of(context: Context, placement: str, objective: float) -> str:
    unit, digits = UNITS[context.scenario.objective]
    return f"{placement} at {objective:.{digits}f} {unit}"


def _limit_text(relaxation: Relaxation) -> str:
    name = NAMES.get(relaxation.name, relaxation.name.replace("stock:", "stock of "))
    if relaxation.limit is None or relaxation.needed is None:
        return f"{name}: cannot be met with the other limits"
    unit = {"usd_per_hour": " USD/h", "power_w": " W"}.get(relaxation.name, "")
    return f"{name} of {relaxation.needed:g}{unit} instead of {relaxation.limit:g}{unit}"
