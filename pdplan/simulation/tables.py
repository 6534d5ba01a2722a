"""The laws of an instance's iterations, filled from the physics that the planner uses."""

from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pdplan.specs.model import ModelSpec
from pdplan.specs.speculation import Speculation
from pdplan.stages.iteration import PassLaw, PiecewiseLinear, StepLaw
from pdplan.stages.llm import cache_shard, prefill_pass
from pdplan.stages.machine import Machines
from pdplan.stages.memory import cache_bytes_per_sequence
from pdplan.stages.speculation import decode_step, within_a_step

Floats = NDArray[np.float64]
TOKEN_RATIO = 1.06
"""Between neighbouring knots of a pass's tokens: pass times within 0.3 % of the physics."""
DEPTH_RATIO = 1.25
"""Between neighbouring knots of attended tokens, in which a pass is almost linear."""


def step_law(
    model: ModelSpec,
    m: Machines,
    *,
    largest_batch: int,
    speculation: Speculation | None = None,
    cross_tokens: float = 0.0,
) -> StepLaw:
    """Tabulate the decode steps of one instance (a single row of the table)."""
    batches = np.arange(1, largest_batch + 1, dtype=float)
    windows = {float(g.window) for g in model.attention if g.window is not None}
    most = float(model.max_position)
    ladder = np.geomspace(64.0, 2 * most, ceil(np.log2(most / 32) * 2))
    contexts = np.array(sorted({0.0, *windows, *ladder.tolist()}))
    grid = decode_step(
        model,
        m,
        speculation=speculation,
        sequences=np.repeat(batches, len(contexts)),
        context_tokens=np.tile(contexts, largest_batch),
        cross_tokens=cross_tokens,
    ).total_s.reshape(largest_batch, len(contexts))
    growth = speculation.tokens_per_step if speculation else 1.0
    return law_of_steps(contexts, grid, growth)


def law_of_steps(contexts: Floats, step_s: Floats, growth: float = 1.0) -> StepLaw:
    """Law of step times [N, knots] at batches 1..N; they are made never to fall with the batch."""
    rising = np.maximum.accumulate(np.asarray(step_s, float), axis=0)
    slopes = np.diff(rising, axis=1) / np.diff(contexts)
    return StepLaw(
        contexts=contexts[:-1].tolist(),
        values=[[], *rising[:, :-1].tolist()],
        slopes=[[], *slopes.tolist()],
        growth=growth,
    )


def pass_law(
    model: ModelSpec,
    m: Machines,
    *,
    most_tokens: float,
    draft: ModelSpec | None = None,
    cross_tokens: float = 0.0,
) -> PassLaw:
    """Tabulate the prefill passes of one instance (a single row of the table).

    A draft model prefills the same tokens right after.

    Within 1 % of the physics for prompts alike, with and without prefixes; within 8 % for pieces
    of a few dozen tokens over long prefixes in models with windowed layers, whose reach the depth
    does not tell.
    """
    tokens = _ladder(1.0, most_tokens, TOKEN_RATIO)
    depths = _ladder(0.5, 2.0 * model.max_position, DEPTH_RATIO)
    t, d = (axis.ravel() for axis in np.meshgrid(tokens, depths, indexing="ij"))
    free = replace(m, sequence_s=np.zeros_like(m.sequence_s))
    dp = round(float(m.dp[0, 0]))

    def timed(each: Floats, prefix: Floats) -> Floats:
        found: Floats = np.zeros(t.shape)
        for part, machine, cross in ((model, free, cross_tokens), (draft, within_a_step(m), 0.0)):
            if part is not None:
                found = (
                    found
                    + prefill_pass(
                        part,
                        machine,
                        new_tokens=each,
                        prefix_tokens=prefix,
                        sequences=t / each,
                        cross_tokens=cross,
                    ).total_s
                )
        return found.reshape(t.shape)

    tables = []
    for groups in range(1, dp + 1):
        own = t / groups
        if groups == dp:
            grid = timed(np.minimum(own, 2 * d), np.maximum(d - own / 2, 0.0))
        else:
            least = timed(own, 0 * d)
            slope = (timed(own, own / 4) - least) / (own / 4)
            deep = timed(own, np.maximum(d - own / 2, 0.0))
            grid = np.where(d < own / 2, least + slope * (d - own / 2), deep)
        tables.append(grid.reshape(len(tokens), len(depths)).tolist())
    return PassLaw(
        tokens=tokens.tolist(),
        depths=depths.tolist(),
        values=tables,
        attention=_attention(model, m),
        sequence_s=float(m.sequence_s[0, 0]),
    )


def _attention(model: ModelSpec, m: Machines) -> tuple[float, float, float]:
    """What attention costs in all layers that attend to everything: see PassLaw.attention."""
    pair, cached, row = 0.0, 0.0, 0.0
    for group in model.attention:
        if group.kind in ("full", "latent") and group.window is None:
            dims = 2 * (group.qk_dim + group.v_dim) / m.prefill_attention_flops_per_s
            shard = cache_shard(m, group.kv_heads, group.kind == "latent")
            moved = group.cache_values_per_token * m.kv_bytes * shard
            pair += group.layers * float((group.heads / m.tp * dims)[0, 0])
            cached += group.layers * float((moved / m.prefill_attention_bytes_per_s)[0, 0])
            row += group.layers * float((dims * m.prefill_attention_fill)[0, 0])
    return pair, cached, row


def _ladder(low: float, high: float, ratio: float) -> Floats:
    count = max(ceil(np.log(high / low) / np.log(ratio)), 1) + 1
    return np.asarray(np.geomspace(low, high, count))


def cache_law(model: ModelSpec, m: Machines, draft: ModelSpec | None = None) -> PiecewiseLinear:
    """Bytes of one sequence's cache on one accelerator by its context, a draft's included; exact.

    Concave, since a window stops growing. Encoder positions that cross-attention keeps come on
    top.
    """
    models = [model] if draft is None else [model, draft]
    groups = [group for each in models for group in each.attention]
    knots = [0.0, *sorted({float(g.window) for g in groups if g.window is not None})]
    knots.append(knots[-1] + 1e6)
    held = sum(cache_bytes_per_sequence(each, m, knots)[0] for each in models)
    return PiecewiseLinear.through(knots, held)
