"""Stage times of candidate instances under one demand, before any of them queues."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.memory import sequences_that_fit
from pdplan.physics.roofline import Floats
from pdplan.pools.attention_ffn import bundles_of, fit, side_memories, step_s
from pdplan.pools.caches import idle_bytes_s, longest_bytes, sequence_bytes
from pdplan.pools.demand import Demand
from pdplan.pools.drafting import DeviceCycles, in_rounds
from pdplan.pools.local_prefill import measured_s, prefills
from pdplan.pools.measured import measured_times
from pdplan.pools.pruned import of_pool
from pdplan.specs.engine import EngineSpec
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.options.media_engine import MediaEngine
from pdplan.stages.affinity import with_affinity
from pdplan.stages.bundle import Bundles
from pdplan.stages.embedding_hop import missed_share
from pdplan.stages.encode import encode_times
from pdplan.stages.machine import Machines, Shape, machines
from pdplan.stages.media import MediaTimes, frame_bytes, media_times, with_frames
from pdplan.stages.memory import CERTAINTY, DeviceMemory, device_memory
from pdplan.stages.prompt import PromptTimes, prompt_times
from pdplan.stages.speculation import draft_bytes, within_a_step


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """C candidate instances of one kind of pool, at S support points and batches 1..N."""

    stages: str
    shapes: tuple[Shape, ...]
    machines: Machines
    chunk_tokens: int
    memory: DeviceMemory
    resident: Floats
    """Requests whose cache fits at once [C], were none kept between turns; infinite where nothing
    is cached."""
    sequence_bytes: Floats
    """Mean cache of a resident request on one accelerator [C]."""
    spread_bytes: Floats
    """Standard deviation of the same."""
    idle_bytes_s: Floats
    """Cache kept between the turns of sessions times how long, per request [B s], [C]."""
    longest_bytes: Floats
    """Cache of the longest request on one accelerator [C]."""
    encode_s: Floats
    """Device time to encode a request's media [C, S]."""
    encode_fixed_s: Floats
    """Part of it that each of several instances takes which share them [C, S]."""
    host_s: Floats
    """Host time to prepare them [C, S]."""
    prefill_s: Floats
    """Prefill of one prompt alone [C, S]."""
    marginal_s: Floats
    """What a prompt adds to steps that run anyway [C, S]."""
    whole_s: Floats
    """What a prompt adds to steps that it rides on whole, a group of layers each [C, S]."""
    passes: Floats
    """Steps a prompt's chunks ride on [C, S]."""
    full_s: Floats
    """A prompt's share of a pass filled with prompts like it [C, S]."""
    step_s: Floats
    """Whole decode step at batch 1..N, drafting and checking included [C, N]; never falling."""
    slowdown: Floats | float = 1.0
    """Factor on decode steps, in them already, of what runs on the same devices [C]."""
    media: MediaTimes | None = None
    """What media ask of cores and video decoders, in the stage M."""
    bundles: Bundles | None = None
    """Both sides of candidates that decode in halves; `machines` and `memory` are attention's."""
    ffn_memory: DeviceMemory | None = None
    """What fills an accelerator of their FFN side."""
    cycles: DeviceCycles | None = None
    """Rounds behind `step_s` where requests are away on devices between passes [C, N]."""

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.shapes)

    def fits(self) -> NDArray[np.bool_]:
        """Whether weights, workspace and even the longest request fit [C]."""
        cache = self.memory.cache[:, 0]
        if self.ffn_memory is not None:
            cache = np.where(fit(self.ffn_memory), cache, -1.0)
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
    if stages == "M":
        return _media_stage(shapes, hardware, engine, demand)
    stages = "D" if stages == "AF" else stages
    demand = of_pool(demand, stages)
    bundles = bundles_of(shapes, hardware, engine, demand)
    m = machines(shapes, hardware, engine) if bundles is None else bundles.attention
    m = with_affinity(m, shapes, hardware, engine, demand.options.node_affinity, stages)
    model, size, count = demand.model, len(demand.prompt_tokens), len(shapes)
    chunk = chunk_tokens or engine.defaults.chunk_tokens
    encode = fixed = host = whole = nothing = np.zeros((count, size))
    prompts = PromptTimes(nothing, nothing, nothing, nothing)
    step = np.zeros((count, 0))
    if "E" in stages and demand.media.any:
        times = encode_times(model, m, demand.media)
        encode, host, fixed = times.device_s, times.host_s, times.fixed_s
    missed = missed_share(demand.options.embedding_transfer, stages) if demand.media.any else 0.0
    if missed > 0:
        times = encode_times(model, m, demand.media)
        encode, host = missed * times.device_s, missed * times.host_s
    if demand.options.media_engine is not None:
        host = nothing
    if prefills(stages, demand):
        prompts = _prompts(demand, m, chunk)
        if "D" in stages:
            whole = _prompts(demand, m, chunk, whole=True).riding_s
    if "D" in stages:
        step = _steps(demand, m, bundles, largest_batch)
    longest = float(chunk) if prefills(stages, demand) else 0.0
    if stages == "E":
        longest = float(demand.media.vision.positions.max(initial=0.0))
    memory = device_memory(
        model,
        m,
        pass_tokens=max(longest, largest_batch * _width(demand) if "D" in stages else 0),
        language=stages != "E",
        towers="E" in stages or missed > 0,
        draft_bytes=draft_bytes(model, m, demand.speculation),
    )
    if demand.options.media_engine is not None and "E" in stages:
        memory = with_frames(memory, frame_bytes(demand.options.media_engine, demand.traffic))
    ffn_memory = None
    if bundles is not None:
        memory, ffn_memory = side_memories(demand, bundles, largest_batch)
    mean_bytes, spread_bytes = sequence_bytes(stages, demand, m)
    found = Times(
        stages=stages,
        shapes=tuple(shapes),
        machines=m,
        chunk_tokens=chunk,
        memory=memory,
        resident=resident_of(stages, memory.cache[:, 0], m.dp[:, 0], mean_bytes, spread_bytes),
        sequence_bytes=mean_bytes,
        spread_bytes=spread_bytes,
        idle_bytes_s=idle_bytes_s(stages, demand, m),
        longest_bytes=longest_bytes(stages, demand, m),
        encode_s=encode,
        encode_fixed_s=fixed,
        host_s=host,
        prefill_s=prompts.alone_s,
        marginal_s=measured_s(stages, demand, step, prompts.riding_s),
        whole_s=measured_s(stages, demand, step, whole),
        passes=prompts.passes,
        full_s=prompts.full_s,
        step_s=step,
        bundles=bundles,
        ffn_memory=ffn_memory,
    )
    return measured_times(in_rounds(found, demand), demand)


def _media_stage(
    shapes: Sequence[Shape], hardware: dict[str, HardwareSpec], engine: EngineSpec, demand: Demand
) -> Times:
    """Media pre-processing beside the pool that encodes: no device time, no memory of its own."""
    plain = stage_times("E", shapes, hardware, engine, demand, largest_batch=1)
    nothing, empty = np.zeros_like(plain.encode_s), np.zeros_like(plain.memory.limit)
    option = demand.options.media_engine or MediaEngine()
    return replace(
        plain,
        stages="M",
        memory=DeviceMemory(empty, empty, empty, empty, empty + 1),
        encode_s=nothing,
        encode_fixed_s=nothing,
        host_s=nothing,
        media=media_times(
            option, plain.shapes, plain.machines, hardware, demand.media, demand.traffic
        ),
    )


def _prompts(demand: Demand, m: Machines, chunk_tokens: int, *, whole: bool = False) -> PromptTimes:
    """Time each distinct prompt once; [C, S]. A whole one is its own chunk."""
    distinct, where = np.unique(
        np.column_stack([demand.new_tokens, demand.cached_tokens, demand.media.cross_tokens]),
        axis=0, return_inverse=True,
    )  # fmt: skip
    new, cached, cross = distinct.T
    chunk = np.maximum(new, chunk_tokens) if whole else chunk_tokens
    times = prompt_times(
        demand.model,
        m,
        tokens=new,
        chunk_tokens=chunk,
        prefix_tokens=cached,
        cross_tokens=cross,
    )
    if demand.draft is not None:
        quiet = within_a_step(m)
        drafts = prompt_times(
            demand.draft, quiet, tokens=new, chunk_tokens=chunk, prefix_tokens=cached
        )
        times = times.plus(drafts)
    return times.take(where.ravel())


def _steps(demand: Demand, m: Machines, bundles: Bundles | None, largest_batch: int) -> Floats:
    """Decode step times, never falling with the batch, [C, N]."""
    batches = np.arange(1, largest_batch + 1, dtype=float)
    steps = step_s(demand, m, bundles, sequences=batches, context_tokens=demand.context_tokens)
    return np.asarray(np.maximum.accumulate(steps, axis=1))


def _width(demand: Demand) -> int:
    """Positions that a step runs of each sequence."""
    return demand.speculation.draft_tokens + 1 if demand.speculation else 1


def resident_of(stages: str, cache: Floats, dp: Floats, mean: Floats, spread: Floats) -> Floats:
    """Requests that fit beside each other in the cache of an instance [K]."""
    if stages in ("E", "M"):
        return np.where(cache >= 0, np.inf, 0.0)
    return np.asarray(dp * sequences_that_fit(cache, mean, spread, CERTAINTY))


def resident_at(times: Times, demand: Demand, instances: Floats, config: Floats) -> Floats:
    """Requests whose cache fits in an instance beside what is kept between turns [K].

    Kept on average, by Little's law: rate / instances x E[kept bytes x think time]; its
    fluctuation is left to eviction. Without sessions it is `times.resident`.

    instances, config = candidate of each column [K]. *Limits*: 0 where what is kept fills the
    cache; more instances always leave more.
    """
    config = np.asarray(config)
    dp = times.machines.dp[config, 0]
    left = times.memory.cache[config, 0] - _idle_bytes(times, demand, instances, config)
    mean, spread = times.sequence_bytes[config], times.spread_bytes[config]
    return resident_of(times.stages, left, dp, mean, spread)


def kept_share(
    times: Times, demand: Demand, instances: Floats, config: Floats, batch: Floats
) -> Floats:
    """Share of what sessions would keep between turns that there is room for [K].

    min(1, room / needed): room is the cache that `batch` resident requests leave (running requests
    come first; what is kept is evicted for them), needed what all think times would keep. Sessions
    are evicted whole and at random, so the same share of later turns finds its history:
    `demand.keeping(share)`. *Valid for*: think times that are long beside the time in service.
    """
    config = np.asarray(config)
    dp = times.machines.dp[config, 0]
    running = times.sequence_bytes[config] * np.asarray(batch, float) / dp
    room = np.maximum(times.memory.cache[config, 0] - running, 0.0)
    needed = _idle_bytes(times, demand, instances, config)
    return np.asarray(np.where(needed > room, room / np.where(needed > 0, needed, 1.0), 1.0))


def _idle_bytes(times: Times, demand: Demand, instances: Floats, config: Floats) -> Floats:
    """Cache kept between turns on one accelerator of an instance [K]."""
    arriving = demand.rate_rps / np.asarray(instances, float)
    return np.asarray(arriving * times.idle_bytes_s[config] / times.machines.dp[config, 0])
