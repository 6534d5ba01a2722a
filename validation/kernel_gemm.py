"""Measured matrix products: constants of `pdplan.physics.products` and their held-out error.

Three sources: vidur's per-layer profiles (A100, A40; fp16), LLMServingSim's (RTX PRO 6000; bf16),
and the extremes of aiconfigurator's GEMM tables (Hopper, Blackwell, Ada; bf16 to fp4), whose
smallest and largest shapes are known. Element-wise kernels are left to `elementwise_s`.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from pdplan.physics.products import product_s
from pdplan.physics.roofline import Floats
from pdplan.specs.hardware import load_hardware

SHARED = Path(__file__).parents[1].parent / "shared"
SYSTEMS = {
    "a100_sxm": "a100-80gb-sxm",
    "h100_sxm": "h100-sxm",
    "h200_sxm": "h200-sxm",
    "b200_sxm": "b200-sxm",
    "b300_sxm": "b300-sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx_pro_6000_server": "rtx-pro-6000-server",
}
VIDUR = {"a100": "a100-80gb-sxm", "a40": "a40"}


@dataclass(frozen=True, slots=True)
class Format:
    """What a product reads: the rate it runs at, bytes of a weight and of an input."""

    rate: str
    weight_bytes: float
    input_bytes: float

    @property
    def staged_bytes(self) -> float:
        """Bytes to quantise one 16-bit input, none where it stays as it is."""
        return 0.0 if self.input_bytes == 2 else 2 + self.input_bytes


FORMATS = {
    "bf16": Format("bf16", 2, 2),
    "fp16": Format("fp16", 2, 2),
    "bfloat16": Format("bf16", 2, 2),
    "fp8": Format("fp8", 1, 1),
    "fp8_block": Format("fp8", 1, 1),
    "nvfp4": Format("fp4", 9 / 16, 9 / 16),
    "int8_wo": Format("bf16", 1, 2),
    "int4_wo": Format("bf16", 0.5, 2),
    "sq": Format("int8", 1, 1),
}
SMALLEST, LARGEST = (4096, 4096), (8192, 10240)
"""Inputs and outputs of the shapes behind aiconfigurator's least and greatest latency."""
CACHED = {"l40s", "rtx_pro_6000_server"}
"""Their caches hold the smallest shape's weights between repetitions."""
FEW, THINNED = 64, 104
"""Tokens: vidur's grid is thinned above the first to multiples of the second, off tile sizes."""


@dataclass(frozen=True, slots=True)
class Product:
    """One measured matrix product of one shard."""

    hardware: str
    source: str
    dtype: str
    model: str
    tp: int
    tokens: int
    inputs: int
    outputs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Constants:
    """Shares of the datasheet's rates, and the times that no rate shortens."""

    mfu: float
    mbu: float
    floor_us: float
    step_ns: float


FIRST_GUESS, LOWER, UPPER = (0.7, 0.7, 5.0, 0.3), (0.01, 0.01, 0.0, 0.0), (1.0, 1.0, 300.0, 50.0)


def rows() -> list[Product]:
    """Every measured product."""
    return [*_vidur(), *_llmservingsim(), *_aiconfigurator()]


def predicted_s(found: Sequence[Product], at: Constants) -> Floats:
    """Times that the law gives with these constants, [P]."""
    rates = np.array([_rates(one.hardware, one.dtype) for one in found])
    formats = [FORMATS[one.dtype] for one in found]
    return product_s(
        np.array([one.tokens for one in found]),
        np.array([one.inputs for one in found]),
        np.array([one.outputs for one in found]),
        weight_bytes=np.array([form.weight_bytes for form in formats]),
        input_bytes=np.array([form.input_bytes for form in formats]),
        staged_bytes=np.array([form.staged_bytes for form in formats]),
        flops_per_s=at.mfu * rates[:, 0],
        bytes_per_s=at.mbu * rates[:, 1],
        step_s=1e-9 * at.step_ns,
        floor_s=1e-6 * at.floor_us,
    )


def fit(found: Sequence[Product]) -> Constants:
    """Constants of least robust log error."""
    seconds = np.array([one.seconds for one in found])
    best = least_squares(
        lambda x: np.log(predicted_s(found, Constants(*x)) / seconds),
        FIRST_GUESS,
        bounds=(LOWER, UPPER),
        x_scale=FIRST_GUESS,
        loss="soft_l1",
        f_scale=0.1,
    )
    return Constants(*(float(x) for x in best.x))


def errors(found: Sequence[Product], at: Constants) -> Floats:
    """Absolute relative errors, [P]."""
    measured = np.array([one.seconds for one in found])
    return np.asarray(np.abs(predicted_s(found, at) / measured - 1))


def held_out_error(found: Sequence[Product], by: str) -> float:
    """Mean absolute relative error on each group, fitted on the others: 'model', 'tp', ..."""
    groups = _grouped(found, by)
    if len(groups) < 2:
        message = f"one group only by '{by}'"
        raise ValueError(message)
    scored = [
        errors(group, fit([one for one in found if getattr(one, by) != name]))
        for name, group in groups.items()
    ]
    return float(np.concatenate(scored).mean())


def _grouped(found: Sequence[Product], by: str) -> dict[str | int, list[Product]]:
    ordered = sorted(found, key=lambda one: getattr(one, by))
    return {name: list(group) for name, group in groupby(ordered, lambda one: getattr(one, by))}


@cache
def _rates(hardware: str, dtype: str) -> tuple[float, float]:
    spec = load_hardware(hardware)
    peak = spec.flops_per_s(FORMATS[dtype].rate)
    if peak is None:
        message = f"{hardware} has no rate for {dtype}"
        raise ValueError(message)
    return peak, spec.memory.bandwidth


def _table(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _vidur() -> Iterator[Product]:
    """Four products of a decoder layer; few tokens are kept whole, many thinned."""
    for path in sorted((SHARED / "data/vidur/mlp").glob("*.csv")):
        for r in _table(path):
            tokens, tp = int(r["num_tokens"]), int(r["num_tensor_parallel_workers"])
            if tokens > FEW and tokens % THINNED:
                continue
            hidden, inner = int(r["n_embd"]), int(r["n_expanded_embd"]) // tp
            head = hidden // int(r["n_head"])
            query = hidden // tp
            cached = 2 * head * max(int(r["n_kv_head"]) // tp, 1)
            gates = 2 if r["use_gated_mlp"] == "True" else 1
            for column, inputs, outputs in (
                ("attn_pre_proj_ms", hidden, query + cached),
                ("attn_post_proj_ms", query, hidden),
                ("mlp_up_proj_ms", hidden, gates * inner),
                ("mlp_down_proj_ms", inner, hidden),
            ):
                seconds = float(r[column]) / 1e3
                shape = (r["model"], tp, tokens, inputs, outputs)
                yield Product(VIDUR[r["gpu"]], "vidur", "fp16", *shape, seconds)


def _llmservingsim() -> Iterator[Product]:
    """Llama-3.1-8B in vLLM 0.19."""
    hidden, inner, heads, cached = 4096, 14336, 4096, 2 * 1024
    for tp in (1, 2):
        name = f"RTXPRO6000__Llama-3.1-8B__bf16__tp{tp}__dense.csv"
        shapes = {
            "qkv_proj": (hidden, (heads + cached) // tp),
            "o_proj": (heads // tp, hidden),
            "gate_up_proj": (hidden, 2 * inner // tp),
            "down_proj": (inner // tp, hidden),
        }
        for r in _table(SHARED / "data/llmservingsim/profile" / name):
            if r["layer"] in shapes:
                shape = ("Llama-3.1-8B", tp, int(r["tokens"]), *shapes[r["layer"]])
                seconds = float(r["time_us"]) / 1e6
                yield Product("rtx-pro-6000-server", "vllm-0.19", "bf16", *shape, seconds)


def _aiconfigurator() -> Iterator[Product]:
    """Least and greatest latency of each token count; vLLM's block fp8 is bound by its host."""
    for r in _table(SHARED / "facts/efficiency/summary_gemm.csv"):
        if (r["framework"], r["dtype"]) == ("vllm", "fp8_block"):
            continue
        for name, shape in (("min", SMALLEST), ("max", LARGEST)):
            if not (name == "min" and r["system"] in CACHED):
                seconds = float(r[f"latency_us_{name}"]) / 1e6
                what = (f"{shape[0]}x{shape[1]}", 1, int(r["m"]), *shape)
                yield Product(SYSTEMS[r["system"]], r["framework"], r["dtype"], *what, seconds)
