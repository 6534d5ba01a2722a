"""Accelerators as their makers specify them: dense compute, one-way bandwidth, dated prices."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import (
    Bytes,
    BytesPerSecond,
    Count,
    FlopsPerSecond,
    Spec,
    Usd,
    UsdPerHour,
    Watts,
    validate,
)
from pdplan.specs.catalog import bundled, find
from pdplan.specs.source import load_yaml

Confidence = Literal["high", "medium", "low"]
Source = Annotated[str, Field(min_length=3)]
Rate = Annotated[FlopsPerSecond, Field(gt=0)]
Capacity = Annotated[Bytes, Field(gt=0)]
Bandwidth = Annotated[BytesPerSecond, Field(gt=0)]


class Compute(Spec):
    """Dense peak rates of the matrix units, by operand type; never a sparse figure."""

    fp32: Rate | None = None
    tf32: Rate | None = None
    bf16: Rate | None = None
    fp16: Rate | None = None
    fp8: Rate | None = None
    int8: Rate | None = None
    fp4: Rate | None = None
    source: Source
    confidence: Confidence = "high"

    @model_validator(mode="after")
    def _has_a_rate(self) -> "Compute":
        if not any(isinstance(value, float) for _, value in self):
            message = "needs at least one dense rate, for example 'bf16: 989 TFLOP/s'"
            raise ValueError(message)
        return self


class Memory(Spec):
    """Device memory as software sees it."""

    capacity: Capacity
    bandwidth: Bandwidth
    basis: str = ""
    """How the capacity in bytes was read off the label."""
    source: Source
    confidence: Confidence = "high"


class ScaleUp(Spec):
    """The fabric inside a node or rack (NVLink, xGMI, ICI, PCIe peer-to-peer)."""

    link: str
    bandwidth: Bandwidth
    """One direction, per accelerator, to all peers together."""
    pair_bandwidth: Bandwidth
    """One direction between two accelerators."""
    domain: Count
    """Accelerators that reach each other through this fabric."""
    source: Source
    confidence: Confidence = "high"


class ScaleOut(Spec):
    """The network between nodes."""

    bandwidth: Bandwidth
    """One direction, per accelerator."""
    source: Source
    confidence: Confidence = "high"


class Host(Spec):
    """The bus to the host."""

    link: str
    bandwidth: Bandwidth
    """One direction, per accelerator."""
    source: Source
    confidence: Confidence = "high"


class Video(Spec):
    """Fixed-function video decoders."""

    decoders: Annotated[int, Field(ge=0, strict=True)]
    source: Source
    confidence: Confidence = "high"


class Power(Spec):
    """Board or chip power limit."""

    board: Watts
    source: Source
    confidence: Confidence = "high"


class Price(Spec):
    """What an hour of one accelerator costs somewhere, on a date."""

    provider: str
    price: UsdPerHour
    kind: Literal["on_demand", "spot", "reserved", "derived"] = "on_demand"
    instance: str = ""
    date: str
    source: Source
    confidence: Confidence = "high"

    @property
    def told(self) -> str:
        """Who asks it, for what, since when, and who says so."""
        return f"{self.provider}, {self.kind}, {self.date}; {self.source}"


class Purchase(Spec):
    """What one accelerator costs to buy."""

    price: Usd
    date: str
    source: Source
    confidence: Confidence = "high"


class RelativeCost(Spec):
    """What one accelerator costs to make, in units of an H100 SXM."""

    value: Annotated[float, Field(gt=0)]
    source: Source
    confidence: Confidence = "high"


class HardwareSpec(Spec):
    """One accelerator: everything a roofline and a bill need to know of it."""

    name: str
    vendor: str
    generation: str
    """Family that shares achieved efficiencies, for example `hopper`; engine profiles use it."""
    architecture: str = ""
    accelerators_per_node: Count = 8
    compute: Compute
    memory: Memory
    scale_up: ScaleUp | None = None
    scale_out: ScaleOut | None = None
    host: Host | None = None
    video: Video | None = None
    power: Power | None = None
    default_price: str | None = None
    """Provider whose price is used unless another is asked for."""
    prices: tuple[Price, ...] = ()
    purchase: Purchase | None = None
    relative_cost: RelativeCost | None = None
    """For the objective `hardware_cost`, where chips have no market price."""
    notes: str = ""

    @model_validator(mode="after")
    def _default_is_listed(self) -> "HardwareSpec":
        listed = [price.provider for price in self.prices]
        if self.default_price is not None and self.default_price not in listed:
            known = ", ".join(listed) or "none"
            message = f"default_price: '{self.default_price}' is not among prices; listed: {known}"
            raise ValueError(message)
        if len(set(listed)) < len(listed):
            twice = next(name for name in listed if listed.count(name) > 1)
            message = f"prices: provider '{twice}' is listed twice"
            raise ValueError(message)
        return self

    def price(self, provider: str | None = None) -> Price | None:
        """Price of a provider, or the default one; None where there is none."""
        wanted = provider or self.default_price
        return next((price for price in self.prices if price.provider == wanted), None)

    def flops_per_s(self, dtype: str) -> float | None:
        """Dense peak rate for operands of a type; bf16 and fp16 stand in for each other."""
        twin = {"bf16": "fp16", "fp16": "bf16", "nvfp4": "fp4", "mxfp4": "fp4"}
        rates = {name: getattr(self.compute, name, None) for name in (dtype, twin.get(dtype, ""))}
        return next((rate for rate in rates.values() if rate), None)


@cache
def load_hardware(name: str, specs_dir: Path | None = None) -> HardwareSpec:
    """Read an accelerator by id or path; raises SpecError."""
    path = find("hardware", name, specs_dir)
    return validate(load_yaml(path), HardwareSpec).marked(own=not bundled(path))
