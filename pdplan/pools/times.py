"""Stage times of candidate instances under one demand, before any of them queues."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.specs.engine import EngineSpec
from pdplan.specs.hardware import HardwareSpec
from pdplan.stages.encode import encode_times
from pdplan.stages.llm import decode_pass
from pdplan.stages.machine import Machines, Shape, machines
from pdplan.stages.memory import (
    DeviceMemory,
    cache_bytes_per_sequence,
    device_memory,
    resident_sequences,
)
from pdplan.stages.prompt import PromptTimes, prompt_times


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """C candidate instances of one kind of pool, at S support points and batches 1..N."""

    stages: str
    shapes: tuple[Shape, ...]
    machines: Machines
    chunk_tokens: int
    memory: DeviceMemory
    resident: Floats
    """Requests whose cache fits at once [C]; infinite where nothing is cached."""
    longest_bytes: Floats
    """Cache of the longest request on one accelerator [C]."""
    encode_s: Floats
    """Device time to encode a request's media [C, S]."""
    host_s: Floats
    """Host time to prepare them [C, S]."""
    prefill_s: Floats
    """Prefill of one prompt alone [C, S]."""
    marginal_s: Floats
    """What a prompt adds to steps that run anyway [C, S]."""
    passes: Floats
    """Steps a prompt's chunks ride on [C, S]."""
    full_s: Floats
    """A prompt's share of a pass filled with prompts like it [C, S]."""
    step_s: Floats
    """Decode step at batch 1..N [C, N]; never falling."""

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.shapes)

    def fits(self) -> NDArray[np.bool_]:
        """Whether weights, workspace and even the longest request fit [C]."""
        cache = self.memory.cache[:, 0]
        return np.asarray((cache >= 0) & (self.resident >= 1) & (self.longest_bytes <= cache))


def stage_times(
    stages: str,
    shapes: Sequence[Shape],
    hardware: dict[str, HardwareSpec],
    engine: EngineSpec,
    demand: Demand,
    *,
    largest_batch: int,
    chunk_tokens: int | None = None,
) -> Times:
    """Time the stages that a pool runs, on every candidate shape."""
    m = machines(shapes, hardware, engine)
    model, size, count = demand.model, len(demand.prompt_tokens), len(shapes)
    chunk = chunk_tokens or engine.defaults.chunk_tokens
    encode = host = nothing = np.zeros((count, size))
    prompts = PromptTimes(nothing, nothing, nothing, nothing)
    step = np.zeros((count, 0))
    if "E" in stages and demand.media.any:
        times = encode_times(model, m, demand.media)
        encode, host = times.device_s, times.host_s
    if "P" in stages:
        prompts = _prompts(demand, m, chunk)
    if "D" in stages:
        step = _steps(demand, m, largest_batch)
    longest = float(chunk) if "P" in stages else 0.0
    if stages == "E":
        longest = float(demand.media.vision.positions.max(initial=0.0))
    memory = device_memory(
        model,
        m,
        pass_tokens=max(longest, largest_batch if "D" in stages else 0),
        language=stages != "E",
        towers="E" in stages,
    )
    return Times(
        stages=stages,
        shapes=tuple(shapes),
        machines=m,
        chunk_tokens=chunk,
        memory=memory,
        resident=_resident(stages, demand, m, memory),
        longest_bytes=_longest(stages, demand, m),
        encode_s=encode,
        host_s=host,
        prefill_s=prompts.alone_s,
        marginal_s=prompts.riding_s,
        passes=prompts.passes,
        full_s=prompts.full_s,
        step_s=step,
    )


def _prompts(demand: Demand, m: Machines, chunk: int) -> PromptTimes:
    """Time each distinct prompt once; [C, S]."""
    distinct, where = np.unique(
        np.column_stack([demand.prompt_tokens, demand.media.cross_tokens]), axis=0,
        return_inverse=True,
    )  # fmt: skip
    times = prompt_times(
        demand.model,
        m,
        tokens=distinct[:, 0],
        chunk_tokens=chunk,
        cross_tokens=distinct[:, 1],
    )
    return times.take(where.ravel())


def _steps(demand: Demand, m: Machines, largest_batch: int) -> Floats:
    """Decode step times, never falling with the batch, [C, N]."""
    batches = np.arange(1, largest_batch + 1, dtype=float)
    steps = decode_pass(
        demand.model,
        m,
        sequences=batches,
        context_tokens=demand.context_tokens,
        cross_tokens=demand.cross_tokens,
    ).total_s
    return np.asarray(np.maximum.accumulate(steps, axis=1))


def _longest(stages: str, demand: Demand, m: Machines) -> Floats:
    """Cache of the longest support point [C]: its prompt, and its mean output where it decodes."""
    if stages == "E":
        return np.zeros(len(m.tp))
    tokens = demand.prompt_tokens
    if "D" in stages:
        traffic = demand.traffic
        tokens = tokens + (traffic.output_weight * traffic.output_tokens).sum(1)
    held = cache_bytes_per_sequence(demand.model, m, tokens, demand.media.cross_tokens)
    return np.asarray(held.max(axis=1))


def _resident(stages: str, demand: Demand, m: Machines, memory: DeviceMemory) -> Floats:
    """Requests that fit beside each other [C]: running ones, or prompts in prefill alone."""
    if stages == "E":
        return np.where(memory.cache[:, 0] >= 0, np.inf, 0.0)
    context = demand.context_tokens if "D" in stages else float(demand.mean(demand.prompt_tokens))
    spread_tokens = demand.context_spread if "D" in stages else 0.0
    mean = cache_bytes_per_sequence(demand.model, m, context, demand.cross_tokens)
    longer = cache_bytes_per_sequence(demand.model, m, context + spread_tokens, demand.cross_tokens)
    return resident_sequences(memory.cache, m, mean, longer - mean)[:, 0]
