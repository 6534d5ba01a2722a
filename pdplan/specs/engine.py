"""Engine profiles: what software achieves on silicon, as named constants with their sources."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pdplan.specs.base import Bytes, Count, Fraction, Seconds, Spec, validate
from pdplan.specs.catalog import find
from pdplan.specs.source import load_yaml

Origin = Literal["fitted", "literature", "transferred", "user"]


class Gemm(Spec):
    """Matrix products: shares of peak compute and of memory bandwidth, joined by a p-norm."""

    norm: Annotated[float, Field(ge=1, le=16)]
    """p of the p-norm that joins compute and memory time."""
    mfu: dict[str, Fraction]
    """Share of the dense peak reached with many tokens, by operand type."""
    mbu: dict[str, Fraction]
    """Share of memory bandwidth reached when streaming weights, by weight type."""


class Attention(Spec):
    """Attention kernels: a rate and a floor per call."""

    prefill_mfu: Fraction
    prefill_floor: Seconds
    decode_mbu: Fraction
    decode_floor: Seconds
    latent_mfu: Fraction
    """Share of peak in absorbed MLA decode, which can be compute-bound."""
    latent_mbu: Fraction


class Encoder(Spec):
    """Vision and audio towers: their attention and the host's work per item."""

    attention_mfu: Fraction
    half_positions: Annotated[float, Field(ge=0)]
    """Positions x heads / 16 at which attention reaches half of its rate."""
    attention_floor: Seconds
    layer: Seconds
    """Launch overhead per layer of a tower."""
    item: Seconds
    """Host work per image or clip that delays its request (decode, resize, hash)."""
    frame: Seconds
    """Host work per video frame."""


class Experts(Spec):
    """Mixture-of-experts layers."""

    mfu: Fraction
    """Share of peak in grouped products, imbalance included."""
    mbu: Fraction
    skew: Annotated[float, Field(ge=0, le=3)]
    """Exponent of the Zipf law by which tokens choose experts; 0 is uniform."""
    imbalance: Annotated[float, Field(ge=1)]
    """Load of the busiest rank over the mean under expert parallelism."""


class Collectives(Spec):
    """All-reduce inside a scale-up domain: latency and share of link bandwidth, by ranks."""

    latency: dict[int, Seconds]
    efficiency: dict[int, Fraction]
    exchange_latency: Seconds
    """All-to-all (expert dispatch or combine) of few tokens."""
    exchange_efficiency: Fraction


class Overhead(Spec):
    """Time that no roofline explains: launches, host work, scheduling."""

    prefill_layer: Seconds
    decode_layer: Seconds
    step: Seconds
    sequence: Seconds
    """Host work per running sequence and step."""
    request: Seconds
    """Host work once per request, before its first token; it delays but occupies no device."""


class Network(Spec):
    """KV and embedding transfers between instances."""

    latency: Seconds
    efficiency: Fraction
    layerwise: bool
    """Whether KV is sent layer by layer while later layers still prefill."""


class DeviceMemory(Spec):
    """How an engine divides device memory."""

    utilization: Fraction
    """Share of device memory the engine may use."""
    reserve: Bytes
    """Context, graphs and communication buffers inside that share."""
    activation_bytes_per_token: Annotated[float, Field(ge=0)]
    """Workspace per token of a pass, in units of the model's hidden width x 2 bytes."""


class Generation(Spec):
    """The constants of one engine on one hardware generation."""

    origin: Origin
    source: Annotated[str, Field(min_length=3)]
    points: Annotated[int, Field(ge=0)] = 0
    """Measurements behind the constants."""
    error: str = ""
    """In-sample and held-out error, in words."""
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

    def constants(self, generation: str) -> tuple[Generation, Origin]:
        """Constants for a hardware generation, and where they come from."""
        if generation in self.generations:
            found = self.generations[generation]
            return found, found.origin
        return self.generations[self.transferred.get(generation, self.unknown)], "transferred"


@cache
def load_engine(name: str, specs_dir: Path | None = None) -> EngineSpec:
    """Read an engine profile by id or path; raises SpecError."""
    document = load_yaml(find("engine", name, specs_dir))
    return validate(document, EngineSpec)
