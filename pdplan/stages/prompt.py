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

    def take(self, where: NDArray[np.intp]) -> "PromptTimes":
        """Support points picked or repeated along the last axis."""
        return PromptTimes(*(getattr(self, name)[:, where] for name in self.__dataclass_fields__))


def prompt_times(
    model: ModelSpec,
    m: Machines,
    *,
    tokens: Floats,
    chunk_tokens: int,
    prefix_tokens: ArrayLike = 0.0,
    cross_tokens: ArrayLike = 0.0,
) -> PromptTimes:
    """Time prompts of `tokens` new tokens, [X] or [C, X], under a token budget per pass.

    Each further chunk costs an empty pass more. On a running step a prompt adds its whole pass
    less an empty one, and never less than its arithmetic, so that slack in memory-bound steps is
    used but no roofline beaten; a step that carries prompts also loses its captured graph. Groups
    of data-parallel attention take a prompt and a budget each.
    """

    def several(sequences: ArrayLike) -> Pass:
        return prefill_pass(
            model,
            m,
            new_tokens=tokens,
            prefix_tokens=prefix_tokens,
            sequences=sequences,
            cross_tokens=cross_tokens,
        )

    empty = prefill_pass(model, m, new_tokens=1.0)
    passes = np.ceil(tokens / chunk_tokens)
    alone = several(1.0).total_s + (passes - 1) * empty.total_s
    graph_lost = model.layers * np.maximum(m.prefill_layer_s - m.decode_layer_s, 0.0)
    each = several(m.dp)
    arithmetic = (each.compute_s - empty.compute_s) / m.dp
    riding = np.maximum((each.total_s - empty.total_s) / m.dp, arithmetic) + passes * graph_lost
    together = np.maximum(chunk_tokens * m.dp / tokens, 1.0)
    full = np.where(together > 1, several(together).total_s / together, alone)
    spread = np.ones_like(alone)
    return PromptTimes(alone, riding, passes * spread, full)
