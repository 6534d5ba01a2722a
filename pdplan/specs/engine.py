"""Engine profiles: what software achieves on silicon, as named constants with their sources."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pdplan.errors import SpecError
from pdplan.specs.base import Bytes, Count, Seconds, Spec, validate
from pdplan.specs.catalog import bundled, find, plain_name
from pdplan.specs.engine_checks import MemoryShare, PeakShare, problems
from pdplan.specs.source import load_yaml

Origin = Literal["fitted", "literature", "transferred", "user"]
Error = Annotated[float, Field(ge=0)]


class Gemm(Spec):
    """Matrix products: shares of peak compute and of memory bandwidth, joined by a p-norm."""

    norm: Annotated[float, Field(ge=1, le=16)]
    """p of the p-norm that joins compute and memory time."""
    mfu: dict[str, PeakShare]
    """Share of the dense peak reached with many tokens, by operand type."""
    mbu: dict[str, PeakShare]
    """Share of memory bandwidth reached when streaming weights, by weight type."""
    floor: Seconds
    """Least time of one product, whatever its size."""
    elementwise_mbu: PeakShare
    """Share of memory bandwidth of norms, activations, rotation and quantising."""


class Attention(Spec):
    """Attention kernels: rates, a floor per call, and the rows that keep the chip busy."""

    prefill_mfu: PeakShare
    prefill_mbu: PeakShare
    prefill_fill: Annotated[float, Field(ge=0, le=1e6)]
    """Rows (queries x heads) below which the longest row sets the time."""
    prefill_floor: Seconds
    decode_mbu: PeakShare
    decode_floor: Seconds
    latent_mfu: PeakShare
    """Share of peak in absorbed MLA decode, which can be compute-bound."""
    latent_mbu: PeakShare


class Encoder(Spec):
    """Vision and audio towers: their attention and the host's work per item."""

    attention_mfu: PeakShare
    attention_fill: Annotated[float, Field(ge=0, le=1e6)]
    """Rows (positions x heads) that keep the chip busy."""
    attention_floor: Seconds
    layer: Seconds
    """Launch overhead per layer of a tower."""
    item: Seconds
    """Host work per image or clip that delays its request (decode, hash, hand-over)."""
    megapixel: Seconds
    """Host work per million pixels of an image (decode, resize, normalise)."""
    frame: Seconds
    """Host work per video frame."""


class Experts(Spec):
    """Mixture-of-experts layers."""

    mfu: dict[str, PeakShare]
    """Share of the dense peak in grouped products, by operand type."""
    mbu: dict[str, PeakShare]
    """Share of memory bandwidth when streaming experts, by weight type."""
    floor: Seconds
    """Least time of one layer's experts: routing, sorting, two grouped products."""
    padding: Annotated[float, Field(ge=0, le=512)]
    """Token rows computed in vain per expert that a pass touches."""
    skew: Annotated[float, Field(ge=0, le=3)]
    """Exponent of the Zipf law by which tokens choose experts; 0 is uniform."""
    imbalance: Annotated[float, Field(ge=0, le=4)]
    """How far the busiest rank of expert parallelism strays: c of `physics.experts.busiest`."""


class Collectives(Spec):
    """Communication inside a scale-up domain: the engine's own kernels and the library's."""

    latency: Seconds
    """Of the engine's all-reduce kernel."""
    rank_latency: Seconds
    """What each rank adds to it."""
    efficiency: PeakShare
    """Share of the link's bandwidth that the kernel reads from its peers at."""
    limit: Bytes
    """Largest tensor that the kernel takes; 0 where there is none."""
    library_latency: Seconds
    library_rank_latency: Seconds
    library_efficiency: PeakShare
    """Share of the link's bandwidth of a long message between two ranks."""
    contention: Annotated[float, Field(ge=-1, le=3)]
    """How it falls with ranks: (n / 2) to the power of minus this."""
    exchange_latency: Seconds
    """All-to-all (expert dispatch or combine) of few tokens."""
    exchange_efficiency: PeakShare


class Overhead(Spec):
    """Time that no roofline explains: launches, host work, scheduling."""

    prefill_layer: Seconds
    """Device time of a layer's small kernels and gaps when passes are launched one by one."""
    decode_layer: Seconds
    """The same in a decode step, which may be a captured graph."""
    prefill_launch: Seconds = 0.0
    """Host time to launch a kernel, beside the device: the longer of the two counts."""
    decode_launch: Seconds = 0.0
    step: Seconds
    sequence: Seconds
    """Host work per running sequence and step."""
    request: Seconds
    """Host work once per request, before its first token; it delays but occupies no device."""
    serial: Seconds = 1e-4
    """Part of it that requests coming together do one after the other."""
    clump: Annotated[float, Field(ge=1, le=8)] = 2.0
    """Prompts that come together in a steady closed loop of like requests."""


class Network(Spec):
    """KV and embedding transfers between instances."""

    latency: Seconds
    efficiency: PeakShare
    layerwise: bool
    """Whether KV is sent layer by layer while later layers still prefill."""


class DeviceMemory(Spec):
    """How an engine divides device memory."""

    utilization: MemoryShare
    """Share of device memory the engine may use."""
    reserve: Bytes
    """Context, graphs and communication buffers inside that share."""
    activation_bytes_per_token: Annotated[float, Field(ge=0)]
    """Workspace per token of a pass, in units of the model's hidden width x 2 bytes."""
    cache_share: MemoryShare = 1.0
    """Share of what is left that becomes KV cache."""


class Generation(Spec):
    """The constants of one engine on one hardware generation."""

    origin: Origin
    source: Annotated[str, Field(min_length=3)]
    points: Annotated[int, Field(ge=0)] = 0
    """Measurements behind the constants."""
    error: str = ""
    """What the errors below do not say."""
    in_sample: dict[str, Error] = Field(default_factory=dict)
    """Mean absolute error, as a share, by what was measured; on the data of the fit."""
    held_out: dict[str, Error] = Field(default_factory=dict)
    """The same where each model, parallelism or accelerator is predicted from the others."""
    measured: tuple[str, ...] = ()
    """Accelerators that were measured; others of the generation borrow their constants."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % confidence intervals of the constants that measurements told, by path, SI units."""
    gemm: Gemm
    attention: Attention
    encoder: Encoder
    experts: Experts
    collectives: Collectives
    overhead: Overhead
    network: Network
    memory: DeviceMemory


class Defaults(Spec):
    """What the engine does unless told otherwise."""

    scheduler: Literal["chunked", "prefill_first"] = "chunked"
    chunk_tokens: Count
    max_batch: Count
    quantized_kv: bool = False
    """Whether checkpoints in fp8 or fp4 bring an fp8 cache (TensorRT-LLM's do)."""


class EngineSpec(Spec):
    """One serving engine's profile."""

    name: str
    description: str
    defaults: Defaults
    generations: dict[str, Generation]
    transferred: dict[str, str] = Field(default_factory=dict)
    """Generations nobody measured, and the measured one whose constants they borrow."""
    unknown: str
    """Generation whose constants stand in for a family named nowhere."""

    @field_validator("generations")
    @classmethod
    def _not_empty(cls, value: dict[str, Generation]) -> dict[str, Generation]:
        if not value:
            message = "needs at least one generation"
            raise ValueError(message)
        return value

    def constants(self, generation: str, hardware: str = "") -> tuple[Generation, Origin]:
        """Constants for a hardware generation, and where they come from.

        A named hardware that was not measured borrows those of its generation: transferred.
        What a profile of the user's own says is the user's.
        """
        if generation not in self.generations:
            return self.generations[self.lender(generation)], "transferred"
        found = self.generations[generation]
        if hardware and found.measured and plain_name(hardware) not in found.measured:
            return found, "transferred"
        return found, "user" if self.own else found.origin

    def lender(self, generation: str) -> str:
        """Generation whose constants a generation has."""
        known = generation in self.generations
        return generation if known else self.transferred.get(generation, self.unknown)


@cache
def load_engine(name: str, specs_dir: Path | None = None) -> EngineSpec:
    """Read an engine profile by id or path; raises SpecError."""
    path = find("engine", name, specs_dir)
    document = load_yaml(path)
    engine = validate(document, EngineSpec)
    wrong = [document.problem(key, message) for key, message in problems(engine)]
    if wrong:
        raise SpecError(*wrong)
    return engine.marked(own=not bundled(path))
