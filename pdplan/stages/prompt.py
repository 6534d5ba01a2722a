"""Prompts on one instance: alone, riding on decode steps, in chunks, in full passes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pdplan.physics.roofline import Floats
from pdplan.specs.model import ModelSpec
from pdplan.stages.llm import Pass, prefill_pass
from pdplan.stages.machine import Machines


@dataclass(frozen=True, slots=True, eq=False)
class PromptTimes:
    """Times of one prompt, each [C, X]."""

    alone_s: Floats
    """With the instance to itself."""
    riding_s: Floats
    """What it adds to steps that run anyway."""
    passes: Floats
    """Chunks it is cut into."""
    full_s: Floats
    """Its share of a pass filled with prompts like it."""

    def plus(self, other: "PromptTimes") -> "PromptTimes":
        """Another model's passes over the same chunks, right after these."""
        return PromptTimes(
            self.alone_s + other.alone_s,
            self.riding_s + other.riding_s,
            self.passes,
            self.full_s + other.full_s,
        )

    def take(self, where: NDArray[np.intp]) -> "PromptTimes":
        """Support points picked or repeated along the last axis."""
        return PromptTimes(*(getattr(self, name)[:, where] for name in self.__dataclass_fields__))


def chunked_prefill(
    model: ModelSpec,
    m: Machines,
    *,
    tokens: ArrayLike,
    chunk_tokens: ArrayLike,
    prefix_tokens: ArrayLike = 0.0,
    sequences: ArrayLike = 1.0,
    cross_tokens: ArrayLike = 0.0,
    launched: bool = True,
) -> Pass:
    """Prefill of prompts in as many equal passes as a token budget asks for, [C, X].

    Several prompts share a pass; a prompt longer than the budget takes several, each over what is
    cached by then (its middle, which is exact for causal attention). Groups of data-parallel
    attention have a budget each.
    """
    new, prefix = np.asarray(tokens, float), np.asarray(prefix_tokens, float)
    batch = np.asarray(sequences, float)
    groups = np.minimum(m.dp, np.maximum(batch, 1.0))
    share = batch / groups
    passes = np.ceil(np.maximum(share, 1.0) * new / chunk_tokens - 1e-9)
    passes = np.maximum(passes, 1.0)
    each = share / passes
    part = np.minimum(each * new, new)
    one = prefill_pass(
        model,
        m,
        new_tokens=part,
        prefix_tokens=prefix + (new - part) / 2,
        sequences=groups * np.maximum(each, 1.0),
        cross_tokens=cross_tokens,
        launched=launched,
    )
    return one.times(passes)


def prompt_times(
    model: ModelSpec,
    m: Machines,
    *,
    tokens: Floats,
    chunk_tokens: ArrayLike,
    prefix_tokens: ArrayLike = 0.0,
    cross_tokens: ArrayLike = 0.0,
) -> PromptTimes:
    """Time prompts of `tokens` new tokens, [X] or [C, X], under a token budget per pass.

    On a running step a prompt adds its passes less empty ones, or its share of a full pass where
    that is less (experts that the step reads anyway), and never less than its arithmetic, so that
    slack in memory-bound steps is used but no roofline beaten; a step that carries prompts also
    loses its captured graph. Groups of data-parallel attention take a prompt and a budget each.
    """
    chunk = np.asarray(chunk_tokens, float)

    def several(sequences: ArrayLike, *, launched: bool = True) -> Pass:
        return chunked_prefill(
            model,
            m,
            tokens=tokens,
            chunk_tokens=chunk_tokens,
            prefix_tokens=prefix_tokens,
            sequences=sequences,
            cross_tokens=cross_tokens,
            launched=launched,
        )

    empty = prefill_pass(model, m, new_tokens=1.0, launched=False)
    passes = np.ceil(tokens / chunk)
    alone = several(1.0).total_s
    graph_lost = model.layers * np.maximum(m.prefill_layer_s - m.decode_layer_s, 0.0)
    each = several(m.dp, launched=False)
    arithmetic = np.maximum(each.compute_s - passes * empty.compute_s, 0.0) / m.dp
    together = np.maximum(chunk * m.dp / tokens, 1.0)
    full = np.where(together > 1, several(together).total_s / together, alone)
    more = np.minimum((each.total_s - passes * empty.total_s) / m.dp, full)
    riding = np.maximum(more, arithmetic)
    spread = np.ones_like(alone)
    return PromptTimes(alone, riding + passes * graph_lost, passes * spread, full)
