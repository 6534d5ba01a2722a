"""Arithmetic and traffic of passes in seconds at the datasheet's rates: what energy is made of.

A pass of an instance whose achieved rates are the datasheet's takes compute_s = FLOPs / F and
memory_s = bytes / B on each of its accelerators, whatever time it really takes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats
from pdplan.specs.model import ModelSpec
from pdplan.specs.speculation import Speculation
from pdplan.stages.encode import MediaWork, tower_pass
from pdplan.stages.llm import Pass, prefill_pass
from pdplan.stages.machine import Machines
from pdplan.stages.prompt import chunked_prefill
from pdplan.stages.speculation import decode_step


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Arithmetic and traffic, summed over the accelerators of an instance, each [C, X]."""

    compute_s: Floats
    """FLOPs over the datasheet's rate of one accelerator."""
    memory_s: Floats
    """Bytes over the datasheet's bandwidth of one accelerator."""

    def plus(self, other: "Work") -> "Work":
        """Both of them."""
        return Work(self.compute_s + other.compute_s, self.memory_s + other.memory_s)

    def less(self, other: "Work", share: float = 1.0) -> "Work":
        """Without a share of the other; never below nothing."""
        return Work(
            np.maximum(self.compute_s - share * other.compute_s, 0.0),
            np.maximum(self.memory_s - share * other.memory_s, 0.0),
        )

    def times(self, count: Floats | float) -> "Work":
        """So many times as much."""
        return Work(np.asarray(self.compute_s * count), np.asarray(self.memory_s * count))

    @classmethod
    def of(cls, m: Machines, one: Pass) -> "Work":
        """A pass: its times are those of one rank; pipeline stages share the layers."""
        ranks = m.tp * m.dp
        return cls(one.compute_s * ranks, one.memory_s * ranks)


def at_datasheet(m: Machines) -> Machines:
    """The same instances at the datasheet's rates, without rows computed in vain."""
    half, memory = m.half_peak_flops_per_s, m.peak_bytes_per_s
    return replace(
        m,
        flops_per_s=m.peak_flops_per_s,
        moe_flops_per_s=m.moe_peak_flops_per_s,
        half_flops_per_s=half,
        prefill_attention_flops_per_s=half,
        latent_flops_per_s=half,
        encoder_attention_flops_per_s=half,
        stream_bytes_per_s=memory,
        half_stream_bytes_per_s=memory,
        moe_bytes_per_s=memory,
        elementwise_bytes_per_s=memory,
        prefill_attention_bytes_per_s=memory,
        decode_attention_bytes_per_s=memory,
        latent_bytes_per_s=memory,
        expert_padding=0 * m.expert_padding,
        imbalance=0 * m.imbalance,
    )


def encode_work(model: ModelSpec, m: Machines, media: MediaWork) -> Work:
    """Encoding of each support point's media."""
    nothing = np.zeros((len(m.tp), len(media.items)))
    found = Work(nothing, nothing)
    for tower, load in ((model.vision, media.vision), (model.audio, media.audio)):
        if tower is not None:
            one = tower_pass(m, tower, load)
            found = found.plus(Work(one.compute_s * m.tp, one.memory_s * m.tp))
    return found


def prompt_work(
    model: ModelSpec,
    m: Machines,
    *,
    tokens: ArrayLike,
    chunk_tokens: ArrayLike,
    prefix_tokens: ArrayLike = 0.0,
    cross_tokens: ArrayLike = 0.0,
    sequences: ArrayLike = 1.0,
) -> Work:
    """One prompt of a pass that it shares with `sequences` - 1 others, in chunks.

    Groups of data-parallel attention take a prompt each.
    """
    batch = np.maximum(np.asarray(sequences, float), m.dp)
    one = chunked_prefill(
        model,
        m,
        tokens=tokens,
        chunk_tokens=chunk_tokens,
        prefix_tokens=prefix_tokens,
        sequences=batch,
        cross_tokens=cross_tokens,
        launched=False,
    )
    return Work.of(m, one).times(1 / batch)


def riding_work(
    model: ModelSpec,
    m: Machines,
    *,
    tokens: ArrayLike,
    chunk_tokens: ArrayLike,
    beside: ArrayLike,
    running: float = 1.0,
    prefix_tokens: ArrayLike = 0.0,
    cross_tokens: ArrayLike = 0.0,
) -> Work:
    """What a prompt adds to steps that decode `beside` requests anyway, in chunks or whole.

    passes (pass(chunk + n) - running pass(n)): weights that a step reads for its n tokens are not
    read again for the chunk, experts only as far as more of them are touched. A prompt whose chunk
    is the whole of it (prefill by groups of layers) reads all weights once. running: share of time
    that a step runs anyway. Groups of data-parallel attention take a prompt each.
    """
    new, chunk = np.asarray(tokens, float), np.asarray(chunk_tokens, float)
    prefix = np.asarray(prefix_tokens, float)
    passes = np.maximum(np.ceil(new / chunk - 1e-9), 1.0)
    part = new / passes
    n = np.maximum(np.asarray(beside, float) / m.dp, 1e-6)
    with_it = prefill_pass(
        model,
        m,
        new_tokens=part + n,
        prefix_tokens=prefix + (new - part) / 2,
        sequences=m.dp,
        cross_tokens=cross_tokens,
        launched=False,
    )
    without = prefill_pass(model, m, new_tokens=n, sequences=m.dp, launched=False)
    anyway = Work.of(m, without)
    return Work.of(m, with_it).less(anyway, running).times(passes / m.dp)


def step_work(
    model: ModelSpec,
    m: Machines,
    *,
    speculation: Speculation | None,
    sequences: ArrayLike,
    context_tokens: ArrayLike,
    cross_tokens: ArrayLike = 0.0,
) -> Work:
    """One request's part of a decode step of `sequences` requests."""
    batch = np.maximum(np.asarray(sequences, float), 1.0)
    one = decode_step(
        model,
        m,
        speculation=speculation,
        sequences=batch,
        context_tokens=context_tokens,
        cross_tokens=cross_tokens,
    )
    each = np.maximum(batch / m.pp, 1e-9)
    return Work.of(m, one).times(1 / each)
