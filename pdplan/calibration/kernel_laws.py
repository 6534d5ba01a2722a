"""Times of single kernels by the planner's laws, and the least that silicon allows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.attention import (
    attention_s,
    cached_attention_s,
    causal_pairs,
    prefill_bytes,
)
from pdplan.physics.collectives import pipelined_s
from pdplan.physics.products import product_s
from pdplan.physics.roofline import Floats, roof_s
from pdplan.specs.dtypes import DTYPE_BYTES
from pdplan.specs.encoder import VisionEncoder
from pdplan.specs.hardware import HardwareSpec
from pdplan.stages.encode import TowerWork, tower_pass
from pdplan.stages.llm import Pass
from pdplan.stages.machine import Machines, Shape

HALF_BYTES = 2
"""Queries, keys, values and activations are in 16 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Kernels of one kind, hardware, type, model and number of ranks; sizes are [K]."""

    kernel: str
    hardware: HardwareSpec
    shape: Shape
    vision: VisionEncoder | None
    places: NDArray[np.intp]
    """Among all measurements."""
    sizes: Mapping[str, Floats]
    measured_s: Floats
    machine: Machines | None = None

    def on(self, machine: Machines) -> "Group":
        """The same with a table of the one machine it ran on."""
        return replace(self, machine=machine)

    def rate(self, name: str) -> float:
        """One constant of the machine, by its name among `Machines`."""
        return float(getattr(self.machine, name)[0, 0])

    def __getitem__(self, size: str) -> Floats:
        return self.sizes[size]


def _gemm_s(g: Group) -> Floats:
    """Operands come quantised: the pass that quantises is no part of the product."""
    width = DTYPE_BYTES[g.shape.weight_dtype]
    return product_s(
        g["tokens"],
        g["inputs"],
        g["outputs"],
        weight_bytes=width,
        input_bytes=width,
        flops_per_s=g.rate("flops_per_s"),
        bytes_per_s=g.rate("stream_bytes_per_s"),
        step_s=0.0,
        floor_s=g.rate("product_floor_s"),
        norm=g.rate("norm"),
    )


def _gemm_roof_s(g: Group) -> Floats:
    """Of the weights, which rotate; inputs may come from cache."""
    weights = g["inputs"] * g["outputs"]
    return roof_s(
        2 * g["tokens"] * weights,
        weights * DTYPE_BYTES[g.shape.weight_dtype],
        g.rate("peak_flops_per_s"),
        g.rate("peak_bytes_per_s"),
    )


def _prefill_work(g: Group) -> tuple[Floats, Floats, Floats]:
    """Arithmetic of all rows and of the longest one, and bytes."""
    row = 4 * g["head_dim"] * g["new_tokens"]
    pairs = causal_pairs(g["new_tokens"], 0, np.inf)
    flops = 4 * g["head_dim"] * g["heads"] * g["batch"] * pairs
    cached = 2 * g["kv_heads"] * g["head_dim"] * HALF_BYTES
    moved = prefill_bytes(g["new_tokens"], 0, g["heads"] * g["head_dim"], cached)
    return flops, row, g["batch"] * moved


def _prefill_s(g: Group) -> Floats:
    flops, row, moved = _prefill_work(g)
    return attention_s(
        flops,
        row,
        moved,
        g.rate("prefill_attention_flops_per_s"),
        g.rate("prefill_attention_bytes_per_s"),
        g.rate("prefill_attention_fill"),
        g.rate("prefill_attention_floor_s"),
    )


def _prefill_roof_s(g: Group) -> Floats:
    """Without the bytes of the outputs, which may stay in cache."""
    flops, _, moved = _prefill_work(g)
    outputs = g["batch"] * g["new_tokens"] * g["heads"] * g["head_dim"] * HALF_BYTES
    return roof_s(
        flops, moved - outputs, g.rate("half_peak_flops_per_s"), g.rate("peak_bytes_per_s")
    )


def _decode_work(g: Group) -> tuple[Floats, Floats]:
    flops = 4 * g["head_dim"] * g["heads"] * g["batch"] * g["context_tokens"]
    values = 2 * g["kv_heads"] * g["head_dim"] * g["batch"] * g["context_tokens"]
    return flops, values * HALF_BYTES


def _decode_s(g: Group) -> Floats:
    flops, moved = _decode_work(g)
    return cached_attention_s(
        flops,
        moved,
        g.rate("prefill_attention_flops_per_s"),
        g.rate("decode_attention_bytes_per_s"),
        g.rate("decode_attention_floor_s"),
    )


def _decode_roof_s(g: Group) -> Floats:
    flops, moved = _decode_work(g)
    return roof_s(flops, moved, g.rate("half_peak_flops_per_s"), g.rate("peak_bytes_per_s"))


def _copy_s(g: Group) -> Floats:
    """Bounds element-wise kernels from above: no error where they are slower than a copy."""
    return np.minimum(2 * g["size_bytes"] / g.rate("elementwise_bytes_per_s"), g.measured_s)


def _copy_roof_s(g: Group) -> Floats:
    return np.asarray(2 * g["size_bytes"] / g.rate("peak_bytes_per_s"))


def _all_reduce_s(g: Group) -> Floats:
    """By the library: the engine's own kernels are not PyTorch's to call."""
    moved = 2 * (g["ranks"] - 1) / g["ranks"] * g["size_bytes"]
    return pipelined_s(moved, g.rate("library_latency_s"), g.rate("library_bytes_per_s"))


def _all_reduce_roof_s(g: Group) -> Floats:
    """Each rank receives the sum once, where the switch adds; else more."""
    fabric = g.hardware.scale_up
    return np.asarray(g["size_bytes"] / (fabric.bandwidth if fabric is not None else np.nan))


def _tower(g: Group) -> Pass:
    """The planner's pass of the tower, without an engine's step around it."""
    assert g.vision is not None
    assert g.machine is not None
    columns = (g[name].astype(int).tolist() for name in ("images", "width", "height"))
    cases = zip(*columns, strict=True)
    work = [(float(n), g.vision.image_work(width, height, n)) for n, width, height in cases]
    alone = replace(g.machine, step_s=np.zeros((1, 1)))
    return tower_pass(alone, g.vision, TowerWork.of(work))


LAWS: Mapping[str, Callable[[Group], Floats]] = {
    "gemm": _gemm_s,
    "prefill_attention": _prefill_s,
    "decode_attention": _decode_s,
    "copy": _copy_s,
    "all_reduce": _all_reduce_s,
    "encoder": lambda g: _tower(g).total_s[0],
}
ROOFS: Mapping[str, Callable[[Group], Floats]] = {
    "gemm": _gemm_roof_s,
    "prefill_attention": _prefill_roof_s,
    "decode_attention": _decode_roof_s,
    "copy": _copy_roof_s,
    "all_reduce": _all_reduce_roof_s,
    "encoder": lambda g: np.broadcast_to(_tower(g).roof_s, (1, len(g.places)))[0],
}
