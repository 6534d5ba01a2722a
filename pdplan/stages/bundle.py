"""Instances that decode in two halves: attention accelerators and FFN accelerators, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.roofline import Floats
from pdplan.specs.engine import EngineSpec
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.options.attention_ffn import AttentionFfn
from pdplan.stages.layers import ACTIVATION_BYTES
from pdplan.stages.machine import Machines, Shape, compute_dtype, machines


@dataclass(frozen=True, slots=True)
class FfnSide:
    """The other half of a bundle, and how the halves take turns."""

    shape: Shape
    """Its accelerators; experts over tp x dp of them."""
    micro_batches: int = 1
    copies: int = 1
    """Of this side, which serve the attention side in turn."""

    @property
    def gpus(self) -> int:
        """Accelerators of all copies."""
        return self.shape.gpus * self.copies


@dataclass(frozen=True, slots=True, eq=False)
class Bundles:
    """C bundles; every array is [C, 1]."""

    attention: Machines
    ffn: Machines
    micro_batches: Floats
    copies: Floats
    ranks: Floats
    """Accelerators of one copy of the FFN side."""
    bytes_per_s: Floats
    """Between the sides, one way, all of them together."""
    latency_s: Floats
    """Of a message."""
    sent_bytes: Floats
    """Of one value on its way to an expert; it comes back in 16 bits."""
    inside: NDArray[np.bool_]
    """Whether messages stay in a scale-up domain [C]."""

    @classmethod
    def of(
        cls,
        shapes: Sequence[Shape],
        sides: Sequence[FfnSide],
        hardware: Mapping[str, HardwareSpec],
        engine: EngineSpec,
        options: AttentionFfn,
    ) -> "Bundles":
        """Tabulate attention sides and the FFN sides that go with them."""
        known = dict(hardware)
        a = machines(shapes, known, engine)
        f = machines([side.shape for side in sides], known, engine)
        ways = [
            _way(shape, side, known, engine, options)
            for shape, side in zip(shapes, sides, strict=True)
        ]

        def column(values: Sequence[float]) -> Floats:
            return np.array(values, float).reshape(-1, 1)

        latency = np.maximum(a.exchange_latency_s, f.exchange_latency_s)
        if options.message_latency is not None:
            latency = np.full_like(latency, options.message_latency)
        return cls(
            attention=a,
            ffn=f,
            micro_batches=column([side.micro_batches for side in sides]),
            copies=column([side.copies for side in sides]),
            ranks=column([side.shape.gpus for side in sides]),
            bytes_per_s=column([rate for rate, _ in ways]),
            latency_s=latency,
            sent_bytes=column([_sent_bytes(known, side.shape) for side in sides]),
            inside=np.array([inside for _, inside in ways], bool),
        )

    def quiet(self) -> "Bundles":
        """The same without the host's time per step and request."""
        return replace(self, attention=_quiet(self.attention), ffn=_quiet(self.ffn))


def _quiet(m: Machines) -> Machines:
    return replace(m, step_s=0 * m.step_s, sequence_s=0 * m.sequence_s)


def _sent_bytes(hardware: Mapping[str, HardwareSpec], shape: Shape) -> float:
    """Bytes of a value in the operand type of the experts."""
    operand = compute_dtype(hardware[shape.hardware], shape.moe_dtype)
    return {"fp8": 1.0, "int8": 1.0, "fp4": 0.5625}.get(operand or "", float(ACTIVATION_BYTES))


def inside_domain(shape: Shape, side: FfnSide, hardware: Mapping[str, HardwareSpec]) -> bool:
    """Whether both sides are of one kind and reach each other without the network."""
    fabric = hardware[shape.hardware].scale_up
    same = shape.hardware == side.shape.hardware
    return same and fabric is not None and shape.gpus + side.gpus <= fabric.domain


def _way(
    shape: Shape,
    side: FfnSide,
    hardware: Mapping[str, HardwareSpec],
    engine: EngineSpec,
    options: AttentionFfn,
) -> tuple[float, bool]:
    """Bytes per second one way between the sides of a bundle, and whether they share a domain.

    The side with the slower ports together bounds it; those of one copy are in use at a time.
    """
    inside = inside_domain(shape, side, hardware)
    ends = []
    for one in (shape, side.shape):
        spec = hardware[one.hardware]
        constants, _ = engine.constants(spec.generation)
        if inside and spec.scale_up is not None:
            port = spec.scale_up.bandwidth * constants.collectives.exchange_efficiency
        elif options.network is not None:
            port = options.network
        else:
            out = spec.scale_out.bandwidth if spec.scale_out else 0.0
            port = out * constants.collectives.exchange_efficiency
        ends.append(port * one.gpus)
    return min(ends), inside
