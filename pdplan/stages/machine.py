"""Candidate instances as columns of numbers: what physics needs of hardware, engine and shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.collectives import shared_bytes_per_s
from pdplan.physics.roofline import Floats
from pdplan.specs.dtypes import COMPUTE_DTYPES, DTYPE_BYTES
from pdplan.specs.engine import EngineSpec
from pdplan.specs.hardware import HardwareSpec

if TYPE_CHECKING:
    from pdplan.stages.bundle import FfnSide


@dataclass(frozen=True, slots=True)
class Shape:
    """How one instance is built: accelerators of one kind, parallelism and number formats."""

    hardware: str
    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1
    moe_tp: int = 1
    weight_dtype: str = "bf16"
    moe_dtype: str = "bf16"
    kv_dtype: str = "bf16"
    ffn: "FfnSide | None" = None
    """The FFN side of a bundle, whose attention side the rest says; None on whole instances."""

    @property
    def gpus(self) -> int:
        """Accelerators of one instance, of both sides of a bundle."""
        return self.tp * self.dp * self.pp + (self.ffn.gpus if self.ffn else 0)

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """Accelerators of one instance by kind."""
        if self.ffn is None or self.ffn.shape.hardware == self.hardware:
            return ((self.hardware, self.gpus),)
        own = self.gpus - self.ffn.gpus
        return ((self.hardware, own), (self.ffn.shape.hardware, self.ffn.gpus))


@dataclass(frozen=True, slots=True, eq=False)
class Machines:
    """C candidate instances; every array is [C, 1] so that it broadcasts over support points."""

    tp: Floats
    pp: Floats
    ep: Floats
    dp: Floats
    moe_tp: Floats
    moe_ranks: Floats
    """Accelerators that share the experts of a layer."""
    weight_bytes: Floats
    """Bytes of one stored weight."""
    moe_weight_bytes: Floats
    kv_bytes: Floats
    norm: Floats
    peak_flops_per_s: Floats
    """Datasheet rate of the dense products' operand type, per accelerator."""
    flops_per_s: Floats
    """Achieved rate of the dense products, per accelerator."""
    moe_peak_flops_per_s: Floats
    moe_flops_per_s: Floats
    half_peak_flops_per_s: Floats
    """Datasheet 16-bit rate: attention, encoders and the LM head."""
    half_flops_per_s: Floats
    peak_bytes_per_s: Floats
    """Datasheet memory bandwidth."""
    stream_bytes_per_s: Floats
    """Achieved bandwidth when streaming dense weights."""
    half_stream_bytes_per_s: Floats
    moe_bytes_per_s: Floats
    product_floor_s: Floats
    elementwise_bytes_per_s: Floats
    staged_bytes: Floats
    """Traffic per input value of a dense product to quantise it; 0 in 16 bits."""
    prefill_attention_flops_per_s: Floats
    prefill_attention_bytes_per_s: Floats
    prefill_attention_fill: Floats
    prefill_attention_floor_s: Floats
    decode_attention_bytes_per_s: Floats
    decode_attention_floor_s: Floats
    latent_flops_per_s: Floats
    latent_bytes_per_s: Floats
    expert_floor_s: Floats
    expert_padding: Floats
    expert_skew: Floats
    imbalance: Floats
    reduce_latency_s: Floats
    """Of the engine's own all-reduce kernel, at this number of ranks."""
    reduce_bytes_per_s: Floats
    reduce_limit_bytes: Floats
    library_latency_s: Floats
    library_bytes_per_s: Floats
    nodes: Floats
    """Scale-up domains that the tensor-parallel ranks span."""
    node_bytes_per_s: Floats
    """One-way network bandwidth of one accelerator."""
    exchange_latency_s: Floats
    exchange_bytes_per_s: Floats
    hop_latency_s: Floats
    hop_bytes_per_s: Floats
    prefill_layer_s: Floats
    decode_layer_s: Floats
    prefill_launch_s: Floats
    decode_launch_s: Floats
    step_s: Floats
    sequence_s: Floats
    request_s: Floats
    serial_s: Floats
    clump: Floats
    encoder_attention_flops_per_s: Floats
    encoder_attention_fill: Floats
    encoder_floor_s: Floats
    encoder_layer_s: Floats
    encoder_item_s: Floats
    encoder_megapixel_s: Floats
    encoder_frame_s: Floats
    network_latency_s: Floats
    network_bytes_per_s: Floats
    """Achieved one-way bandwidth of a whole instance to others; 0 without a network."""
    network_peak_bytes_per_s: Floats
    network_layerwise: Floats
    """1 where KV is sent layer by layer, else 0."""
    memory_bytes: Floats
    """Device memory of one accelerator."""
    usable_bytes: Floats
    """What the engine may use of it."""
    reserve_bytes: Floats
    activation_bytes_per_token: Floats
    cache_share: Floats

    def take(self, index: NDArray[np.intp]) -> "Machines":
        """Rows of the table, repeated as asked."""
        return Machines(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def machines(
    shapes: Sequence[Shape], hardware: dict[str, HardwareSpec], engine: EngineSpec
) -> Machines:
    """Tabulate candidate instances; [C, 1] arrays in the order of `shapes`."""
    memo: dict[tuple[object, ...], dict[str, float]] = {}
    rows = []
    for shape in shapes:
        key = (shape.hardware, shape.weight_dtype, shape.moe_dtype)
        if key not in memo:
            memo[key] = _per_accelerator(
                hardware[shape.hardware], engine, shape.weight_dtype, shape.moe_dtype
            )
        rows.append(memo[key] | _per_instance(shape, hardware[shape.hardware], engine))
    return Machines(**{f.name: _column(rows, f.name) for f in fields(Machines)})


def _column(rows: list[dict[str, float]], name: str) -> Floats:
    column = np.array([row[name] for row in rows], float).reshape(-1, 1)
    column.flags.writeable = False
    return column


def compute_dtype(hardware: HardwareSpec, weight_dtype: str) -> str | None:
    """Operand type in which a weight format is multiplied on a hardware; None if it cannot be."""
    candidates = COMPUTE_DTYPES[weight_dtype]
    return next((d for d in candidates if getattr(hardware.compute, d, None)), None)


def _rate(
    hardware: HardwareSpec, mfu: Mapping[str, float], weight_dtype: str
) -> tuple[float, float]:
    """Peak and achieved rate of products with weights of a type."""
    dtype = compute_dtype(hardware, weight_dtype)
    if dtype is None:
        return np.nan, np.nan
    peak = float(getattr(hardware.compute, dtype))
    return peak, peak * _share(mfu, dtype)


def _share(table: Mapping[str, float], dtype: str | None) -> float:
    """Of a type, else of 16 bits, else the least known."""
    return table.get(dtype or "", table.get("bf16", min(table.values())))


def _staged_bytes(operand: str | None) -> float:
    """Bytes to read a 16-bit value and write it in the operand type; 0 where it stays."""
    narrow = {"fp8": 1.0, "int8": 1.0, "fp4": 0.5625}
    return 2 + narrow[operand] if operand in narrow else 0.0


def _per_accelerator(
    hardware: HardwareSpec, engine: EngineSpec, weight_dtype: str, moe_dtype: str
) -> dict[str, float]:
    constants, _ = engine.constants(hardware.generation)
    gemm, attention, experts = constants.gemm, constants.attention, constants.experts
    encoder, overhead, network = constants.encoder, constants.overhead, constants.network
    collectives, memory = constants.collectives, constants.memory
    peak, rate = _rate(hardware, gemm.mfu, weight_dtype)
    moe_peak, moe_rate = _rate(hardware, experts.mfu, moe_dtype)
    half_peak, half_rate = _rate(hardware, gemm.mfu, "bf16")
    bandwidth = hardware.memory.bandwidth
    return {
        "weight_bytes": DTYPE_BYTES[weight_dtype],
        "moe_weight_bytes": DTYPE_BYTES[moe_dtype],
        "norm": gemm.norm,
        "peak_flops_per_s": peak,
        "flops_per_s": rate,
        "moe_peak_flops_per_s": moe_peak,
        "moe_flops_per_s": moe_rate,
        "half_peak_flops_per_s": half_peak,
        "half_flops_per_s": half_rate,
        "peak_bytes_per_s": bandwidth,
        "stream_bytes_per_s": bandwidth * _share(gemm.mbu, weight_dtype),
        "half_stream_bytes_per_s": bandwidth * _share(gemm.mbu, "bf16"),
        "moe_bytes_per_s": bandwidth * _share(experts.mbu, moe_dtype),
        "product_floor_s": gemm.floor,
        "elementwise_bytes_per_s": bandwidth * gemm.elementwise_mbu,
        "staged_bytes": _staged_bytes(compute_dtype(hardware, weight_dtype)),
        "prefill_attention_flops_per_s": half_peak * attention.prefill_mfu,
        "prefill_attention_bytes_per_s": bandwidth * attention.prefill_mbu,
        "prefill_attention_fill": attention.prefill_fill,
        "prefill_attention_floor_s": attention.prefill_floor,
        "decode_attention_bytes_per_s": bandwidth * attention.decode_mbu,
        "decode_attention_floor_s": attention.decode_floor,
        "latent_flops_per_s": half_peak * attention.latent_mfu,
        "latent_bytes_per_s": bandwidth * attention.latent_mbu,
        "expert_floor_s": experts.floor,
        "expert_padding": experts.padding,
        "expert_skew": experts.skew,
        "imbalance": experts.imbalance,
        "reduce_limit_bytes": collectives.limit,
        "exchange_latency_s": collectives.exchange_latency,
        "hop_latency_s": collectives.latency,
        "prefill_layer_s": overhead.prefill_layer,
        "decode_layer_s": overhead.decode_layer,
        "prefill_launch_s": overhead.prefill_launch,
        "decode_launch_s": overhead.decode_launch,
        "step_s": overhead.step,
        "sequence_s": overhead.sequence,
        "request_s": overhead.request,
        "serial_s": overhead.serial,
        "clump": overhead.clump,
        "encoder_attention_flops_per_s": half_peak * encoder.attention_mfu,
        "encoder_attention_fill": encoder.attention_fill,
        "encoder_floor_s": encoder.attention_floor,
        "encoder_layer_s": encoder.layer,
        "encoder_item_s": encoder.item,
        "encoder_megapixel_s": encoder.megapixel,
        "encoder_frame_s": encoder.frame,
        "network_latency_s": network.latency,
        "network_layerwise": float(network.layerwise),
        "memory_bytes": hardware.memory.capacity,
        "usable_bytes": hardware.memory.capacity * memory.utilization,
        "reserve_bytes": memory.reserve,
        "activation_bytes_per_token": memory.activation_bytes_per_token,
        "cache_share": memory.cache_share,
    }


def _per_instance(shape: Shape, hardware: HardwareSpec, engine: EngineSpec) -> dict[str, float]:
    constants, _ = engine.constants(hardware.generation)
    collectives, network = constants.collectives, constants.network
    moe_ranks = shape.ep * shape.moe_tp
    domain = hardware.scale_up.domain if hardware.scale_up else 1
    inside = min(shape.tp, domain)
    out = hardware.scale_out.bandwidth if hardware.scale_out else 0.0
    link = _link(hardware, inside)
    library = link * collectives.library_efficiency
    if inside > 1:
        shared = float(shared_bytes_per_s(inside, library, collectives.contention))
        library = min(shared, link)
    return {
        "tp": shape.tp,
        "pp": shape.pp,
        "ep": shape.ep,
        "dp": shape.dp,
        "moe_tp": shape.moe_tp,
        "moe_ranks": moe_ranks,
        "kv_bytes": DTYPE_BYTES[shape.kv_dtype],
        "reduce_latency_s": collectives.latency + collectives.rank_latency * inside,
        "reduce_bytes_per_s": link * collectives.efficiency,
        "library_latency_s": collectives.library_latency
        + collectives.library_rank_latency * inside,
        "library_bytes_per_s": library,
        "nodes": np.ceil(shape.tp / domain),
        "node_bytes_per_s": out * network.efficiency if shape.tp > domain else np.inf,
        "exchange_bytes_per_s": _link(hardware, moe_ranks) * collectives.exchange_efficiency,
        "hop_bytes_per_s": _link(hardware, shape.gpus) * collectives.efficiency,
        "network_bytes_per_s": out * shape.gpus * network.efficiency,
        "network_peak_bytes_per_s": out * shape.gpus,
    }


def _link(hardware: HardwareSpec, ranks: int) -> float:
    """One-way bandwidth per accelerator among a group of ranks: a pair's, the domain's, or out.

    A group that outgrows the scale-up domain moves at the network's rate.
    """
    fabric = hardware.scale_up
    if ranks <= 1:
        return np.inf
    if fabric is not None and ranks <= fabric.domain:
        peers = min(ranks - 1, fabric.domain)
        return min(fabric.bandwidth, peers * fabric.pair_bandwidth)
    return hardware.scale_out.bandwidth if hardware.scale_out else np.nan
