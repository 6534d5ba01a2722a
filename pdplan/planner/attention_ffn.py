"""Which bundles of attention and FFN accelerators are worth timing in full."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np

from pdplan.physics.micro_batches import balanced_ratio
from pdplan.physics.roofline import Floats
from pdplan.planner.aims import each_of
from pdplan.planner.goals import Goal, tpot_goals
from pdplan.planner.shapes import Shapes, candidate_shapes, default_weight_dtype, misfit
from pdplan.pools.attention_ffn import asked, bundles_of, fit, halves, side_memories
from pdplan.pools.caches import sequence_bytes
from pdplan.pools.demand import Demand
from pdplan.pools.times import resident_of
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.model import ModelSpec
from pdplan.specs.options.attention_ffn import AttentionFfn
from pdplan.specs.scenario import HardwareChoice, Scenario
from pdplan.stages.attention_ffn import sides
from pdplan.stages.bundle import Bundles, FfnSide
from pdplan.stages.llm import decode_pass
from pdplan.stages.machine import Shape, machines

FFN_GPUS = (1, 2, 4, 8, 16, 32, 64)
ATTENTION_GPUS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
ATTENTION_TP = (1, 2, 4, 8)
GROUP_BATCHES = np.array([[8.0, 32.0, 128.0, 512.0]])
"""Requests of an attention group at which the sides are matched."""
KEPT = 48
"""Candidates timed in full."""
SLACK = 1.15
"""Cost of a token over the cheapest of smaller bundles' at which one is still worth its time."""
BATCHES = 2.0 ** np.arange(0, 14)
"""At which bundles are compared."""


def bundle_shapes(
    scenario: Scenario,
    demand: Demand,
    hardware: Mapping[str, HardwareSpec],
    goals: tuple[Goal, ...],
    largest_batch: int,
) -> Shapes:
    """Bundles of the search space that are worth timing in full.

    For every FFN side, sizes of the attention side around the ratio at which neither waits
    (`balanced_ratio`, from the linear times of both); of those that fit, the ones that serve tokens
    at a cost near the least of bundles no larger, at batches that keep TPOT. A bundle without
    attention accelerators of its own is an instance that is not split.
    """
    options = asked(demand)
    if options.attention_gpus == (0,):
        return candidate_shapes(scenario, "D")
    shapes = Shapes()
    for pair in _pairs(scenario, options):
        for weight, kv in _dtypes(scenario):
            _add(shapes, scenario, demand, options, pair, weight, kv)
    if not shapes.found:
        if not shapes.turned_away:
            shapes.refuse("no hardware on offer for a half (attention_hardware, ffn_hardware)")
        return shapes
    bundles = bundles_of(shapes.found, hardware, scenario.engine, demand)
    assert bundles is not None
    kept = _worthwhile(scenario, demand, goals, shapes.found, bundles, largest_batch)
    if not kept:
        shapes.refuse("no bundle holds the model and keeps TPOT, whatever its batch")
    return replace(shapes, found=[shapes.found[i] for i in kept])


def _pairs(
    scenario: Scenario, options: AttentionFfn
) -> Iterator[tuple[HardwareChoice, HardwareChoice]]:
    """Kinds of accelerators of both sides: alike unless a side is told."""
    told = bool(options.attention_hardware or options.ffn_hardware)
    for a, f in product(scenario.hardware, repeat=2):
        allowed = not options.attention_hardware or a.id in options.attention_hardware
        allowed &= not options.ffn_hardware or f.id in options.ffn_hardware
        if allowed and (told or a.id == f.id):
            yield a, f


def _dtypes(scenario: Scenario) -> Iterator[tuple[str, str]]:
    search, pins = scenario.search, scenario.search.roles.get("AF")
    weights: tuple[str, ...] = (pins.weight_dtypes if pins else ()) or search.weight_dtypes
    weights = weights or (default_weight_dtype(scenario.model),)
    kv_dtypes = (pins.kv_dtypes if pins else ()) or search.kv_dtypes
    yield from product(weights, kv_dtypes)


def _add(
    shapes: Shapes, scenario: Scenario, demand: Demand, options: AttentionFfn,
    pair: tuple[HardwareChoice, HardwareChoice], weight: str, kv: str,
) -> None:  # fmt: skip
    """Add bundles of two kinds of accelerators around balance."""
    model, (a, f) = scenario.model, pair
    groups = [
        Shape(a.id, tp=tp, weight_dtype=_dense(model, weight), moe_dtype=weight, kv_dtype=kv)
        for tp in _attention_tps(model, options)
    ]
    ends = [ffn_shape(model, options, f.id, n, weight, kv) for n in options.ffn_gpus or FFN_GPUS]
    usable_groups = [s for s in groups if _counts(shapes, model, a.spec, s)]
    usable_ends = [s for s in ends if _counts(shapes, model, f.spec, s)]
    if not usable_groups or not usable_ends:
        return
    ratios = _ratios(scenario, demand, options, usable_groups, usable_ends, pair)
    for (i, end), (j, group) in product(enumerate(usable_ends), enumerate(usable_groups)):
        sizes = sorted(_sizes(options, group.tp, ratios[i, j]))
        for size, micro, copies in product(sizes, options.micro_batches, options.copies):
            if copies > 1 and copies >= micro:
                continue
            side = FfnSide(end, micro, copies)
            whole = replace(group, dp=size // group.tp, ffn=side)
            shapes.found.append(whole)


def ffn_shape(
    model: ModelSpec, options: AttentionFfn, hardware: str, gpus: int, weight: str, kv: str
) -> Shape:
    """One copy of the FFN side: experts spread over its accelerators, or dense layers cut by TP."""
    dense = _dense(model, weight)
    if model.moe is None:
        return Shape(hardware, tp=gpus, weight_dtype=dense, moe_dtype=weight, kv_dtype=kv)
    return Shape(hardware, dp=gpus, ep=gpus, weight_dtype=dense, moe_dtype=weight, kv_dtype=kv)


def _dense(model: ModelSpec, weight: str) -> str:
    return "bf16" if weight == "mxfp4" and model.moe is not None else weight


def _attention_tps(model: ModelSpec, options: AttentionFfn) -> tuple[int, ...]:
    """Ways to share a request's heads; a latent cache has one head, others no more than KV heads.

    Where the side holds KV only, sharing heads costs nothing, so as many as there are.
    """
    if options.attention_tp:
        return options.attention_tp
    if any(group.kind == "latent" for group in model.attention):
        return (1,)
    heads = min(group.kv_heads for group in model.attention)
    return tuple(tp for tp in ATTENTION_TP if heads % tp == 0)


def _counts(shapes: Shapes, model: ModelSpec, spec: HardwareSpec, shape: Shape) -> bool:
    domain = spec.scale_up.domain if spec.scale_up else 1
    reason = misfit(model, spec, shape, "D")
    if shape.tp > domain:
        reason = f"tp={shape.tp} exceeds the scale-up domain of {shape.hardware} ({domain})"
    if reason is not None:
        shapes.refuse(reason)
    return reason is None


def _ratios(
    scenario: Scenario, demand: Demand, options: AttentionFfn, groups: list[Shape],
    ends: list[Shape], pair: tuple[HardwareChoice, HardwareChoice],
) -> Floats:  # fmt: skip
    """Attention groups to one FFN side at which neither waits, [ends, groups, batches]."""
    known = {choice.id: choice.spec for choice in pair}
    own, other = sides(demand.model, options)
    attention = decode_pass(
        demand.model,
        machines(groups, known, scenario.engine),
        sequences=GROUP_BATCHES,
        context_tokens=demand.context_tokens,
        cross_tokens=demand.cross_tokens,
        parts=own,
    ).total_s
    few, many = GROUP_BATCHES, 8 * GROUP_BATCHES
    m = machines(ends, known, scenario.engine)
    low, high = (
        decode_pass(demand.model, m, sequences=n, context_tokens=0.0, parts=other).total_s
        for n in (few, many)
    )
    each = np.maximum((high - low) / (many - few), 1e-12)
    fixed = np.maximum(low - each * few, 1e-12)
    return balanced_ratio(
        attention[None], np.zeros(1), each[:, None], fixed[:, None], GROUP_BATCHES[None]
    )


def _sizes(options: AttentionFfn, tp: int, ratios: Floats) -> set[int]:
    """Accelerators of the attention side: as asked, or next to those at balance."""
    if options.attention_gpus:
        return {n for n in options.attention_gpus if n and n % tp == 0}
    ladder = np.array([n for n in ATTENTION_GPUS if n % tp == 0])
    above = np.searchsorted(ladder, ratios * tp)
    near = np.concatenate([above - 1, above])
    return set(ladder[np.clip(near, 0, len(ladder) - 1)].tolist())


def _worthwhile(
    scenario: Scenario, demand: Demand, goals: tuple[Goal, ...], found: list[Shape],
    bundles: Bundles, largest_batch: int,
) -> list[int]:  # fmt: skip
    """Candidates that fit and serve tokens at a cost near the least of those no larger."""
    own, other = side_memories(demand, bundles, largest_batch)
    mean, spread = sequence_bytes("D", demand, bundles.attention)
    room = resident_of("D", own.cache[:, 0], bundles.attention.dp[:, 0], mean, spread)
    fits = fit(other) & fit(own) & (room >= 1)
    batches = BATCHES[largest_batch >= BATCHES]
    step = halves(demand, bundles, sequences=batches, context_tokens=demand.context_tokens).total_s
    _, limits = tpot_goals(goals)
    limit = limits.min(initial=np.inf) * demand.tokens_per_step
    usable = (batches <= room[:, None]) & (step <= limit)
    rate = np.where(usable, batches / step, 0.0).max(axis=1)
    rate = np.where(fits, rate, 0.0)
    cost = _worth(scenario, found)
    each = np.where(rate > 0, cost / np.maximum(rate, 1e-300), np.inf)
    order = np.lexsort((each, cost))
    least = np.minimum.accumulate(each[order])
    near = [i for i, best in zip(order, least, strict=True) if each[i] <= SLACK * best]
    near = [i for i in near if np.isfinite(each[i])]
    return sorted(sorted(near, key=lambda i: each[i])[:KEPT])


def _worth(scenario: Scenario, found: list[Shape]) -> Floats:
    """Objective of one bundle of each candidate."""
    known = {c.id: each_of(c, scenario.objective) or 0.0 for c in scenario.hardware}
    return np.array([sum(known[name] * n for name, n in s.parts) for s in found], float)
