"""Decode pools whose instances are bundles of an attention side and an FFN side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.specs.engine import EngineSpec
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.options.attention_ffn import AttentionFfn
from pdplan.specs.speculation import MTP
from pdplan.stages.attention_ffn import (
    HalvedStep,
    halved_step,
    side_bytes,
    side_memory,
    sides,
)
from pdplan.stages.bundle import Bundles
from pdplan.stages.llm import Pass, decode_pass
from pdplan.stages.machine import Machines, Shape
from pdplan.stages.memory import DeviceMemory
from pdplan.stages.parts import Parts
from pdplan.stages.speculation import decode_step

UNSAID = AttentionFfn()


def asked(demand: Demand) -> AttentionFfn:
    """How the halves are divided and linked; the defaults where nothing is said."""
    return demand.options.attention_ffn or UNSAID


def bundles_of(
    shapes: Sequence[Shape],
    hardware: Mapping[str, HardwareSpec],
    engine: EngineSpec,
    demand: Demand,
) -> Bundles | None:
    """Tabulate bundles; None where instances are not split."""
    found = [shape.ffn for shape in shapes if shape.ffn is not None]
    if not found:
        return None
    own = [replace(shape, ffn=None) for shape in shapes]
    return Bundles.of(own, found, hardware, engine, asked(demand))


def step_s(
    demand: Demand,
    m: Machines,
    bundles: Bundles | None,
    *,
    sequences: ArrayLike,
    context_tokens: ArrayLike,
) -> Floats:
    """Whole decode step, drafting and checking included, of instances or bundles [C, X]."""
    if bundles is not None:
        return halves(demand, bundles, sequences=sequences, context_tokens=context_tokens).total_s
    return decode_step(
        demand.model,
        m,
        speculation=demand.speculation,
        sequences=sequences,
        context_tokens=context_tokens,
        cross_tokens=demand.cross_tokens,
    ).total_s


def halves(
    demand: Demand, bundles: Bundles, *, sequences: ArrayLike, context_tokens: ArrayLike
) -> HalvedStep:
    """Step of bundles and its stages; a draft model is split like the model, its steps added."""
    options, guess = asked(demand), demand.speculation
    step = halved_step(
        demand.model,
        bundles,
        options,
        sequences=sequences,
        context_tokens=context_tokens,
        cross_tokens=demand.cross_tokens,
        context_spread=demand.context_spread,
        positions=guess.draft_tokens + 1 if guess else 1,
    )
    if demand.draft is None or guess is None:
        return step
    drafted = halved_step(
        demand.draft,
        bundles.quiet(),
        options,
        sequences=sequences,
        context_tokens=context_tokens,
        context_spread=demand.context_spread,
    )
    return step.after(drafted, guess.draft_tokens)


def half_passes(demand: Demand, bundles: Bundles, batch: float) -> Iterator[tuple[str, Pass]]:
    """Passes of both sides over one micro-batch, and what they are."""
    each = max(batch / float(bundles.micro_batches[0, 0]), 1.0)
    quiet = bundles.quiet()
    parts = sides(demand.model, asked(demand))
    for name, m, own in zip(("attention", "FFN"), (quiet.attention, quiet.ffn), parts, strict=True):
        yield (
            f"{name} half, micro-batch {each:.0f} at {demand.context_tokens:.0f} tokens",
            decode_pass(
                demand.model,
                m,
                sequences=each,
                context_tokens=demand.context_tokens,
                cross_tokens=demand.cross_tokens,
                parts=own,
            ),
        )


def side_memories(
    demand: Demand, bundles: Bundles, largest_batch: int
) -> tuple[DeviceMemory, DeviceMemory]:
    """What fills an accelerator of the attention side and one of the FFN side.

    Each holds its own operators' weights and room for its share of the largest micro-batch.
    """
    model, guess = demand.model, demand.speculation
    own, other = sides(model, asked(demand))
    tokens = largest_batch * (guess.draft_tokens + 1 if guess else 1) / bundles.micro_batches
    share = tokens / bundles.ffn.dp
    if model.moe is not None and not other.projections:
        share = share * model.moe.topk
    return (
        side_memory(
            model,
            bundles.attention,
            _held(demand, bundles.attention, own),
            tokens / bundles.attention.dp,
        ),
        side_memory(model, bundles.ffn, _held(demand, bundles.ffn, other), share),
    )


def _held(demand: Demand, m: Machines, parts: Parts) -> Floats:
    """Weights of one side on one accelerator, a draft's beside them [C, 1]."""
    weights, guess = side_bytes(demand.model, m, parts), demand.speculation
    if demand.draft is None or guess is None:
        return weights
    if guess.draft != MTP:
        return weights + side_bytes(demand.draft, m, parts)
    layers = min(guess.draft_tokens, max(demand.model.mtp_layers, 1))
    return weights + layers * side_bytes(demand.draft, m, parts, tables=False)


def fit(memory: DeviceMemory) -> NDArray[np.bool_]:
    """Whether an FFN side holds its weights and workspace [C]."""
    return np.asarray(memory.limit >= memory.weights + memory.activations + memory.reserve)[:, 0]
