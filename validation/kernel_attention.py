"""Attention kernels: measured times, constants fitted to them, and errors on what was left out.

`python -m validation.kernel_attention` prints the table.
"""

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pdplan.physics.attention import (
    attention_s,
    cached_attention_s,
    causal_pairs,
    padded_head_dim,
    prefill_bytes,
)
from pdplan.physics.roofline import Floats
from validation.kernel_fits import FAMILIES, Law, column, hardware, table

HEAD_DIM = 128
LATENT, LATENT_ROPE = 512, 64
OPERANDS = {"bfloat16": "bf16", "fp8": "fp8"}
"""Type of the products with a cache of a type: kernels of an fp8 cache quantise the queries."""
L2_BYTES = {"l40s": 96e6, "rtx_pro_6000_server": 128e6}
L2_TIMES = 4
"""A decode point counts when its cache is this many times the L2."""
PROFILES = ("vidur", "vllm-profile")
"""Frameworks of profiles of one model, kept apart from the operator tables."""
FEWEST = 15
"""Points a printed group has at least."""
DECODE_MFU = 0.5
"""Never binds with grouped queries: bytes do."""
OLD_TRIANGLE = 2.6
"""Cost of the causal triangle of vidur's 2023 kernel over that of its pairs; fitted with it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One timed kernel call of one layer on one accelerator."""

    phase: str
    """prefill, decode, latent or encode."""
    system: str
    framework: str
    dtype: str
    heads: float
    kv_heads: float
    head_dim: float
    flops: float
    row_flops: float
    bytes_moved: float
    peak_flops_per_s: float
    peak_bytes_per_s: float
    measured_s: float


def rows() -> list[Row]:
    """All usable measurements."""
    return [*_prefill(), *_decode(), *_latent(), *_encode(), *_vidur(), *_mixed_profile()]


def _row(phase: str, r: dict[str, str], seconds: float, **work: float) -> Row:
    spec = hardware(r["system"])
    return Row(
        phase=phase,
        system=r["system"],
        framework=r["framework"],
        dtype=r.get("kv_dtype", "bfloat16"),
        heads=float(r["heads"]),
        kv_heads=float(r.get("kv_heads", r["heads"])),
        head_dim=float(r.get("head_dim", HEAD_DIM)),
        flops=work["flops"],
        row_flops=work.get("row_flops", 0.0),
        bytes_moved=work["bytes_moved"],
        peak_flops_per_s=spec.flops_per_s(OPERANDS[r.get("kv_dtype", "bfloat16")]) or np.nan,
        peak_bytes_per_s=spec.memory.bandwidth,
        measured_s=seconds,
    )


def _prefill_row(r: dict[str, str], new: float, past: float, batch: float, seconds: float) -> Row:
    heads, kv_heads = float(r["heads"]), float(r["kv_heads"])
    triangle = OLD_TRIANGLE if r["framework"] == "vidur" else 1.0
    pairs = new * past + triangle * float(causal_pairs(new, 0, np.inf))
    kv_bytes = 2 * kv_heads * HEAD_DIM * (1 if r["kv_dtype"] == "fp8" else 2)
    moved = batch * float(prefill_bytes(new, past, heads * HEAD_DIM, kv_bytes))
    return _row(
        "prefill",
        r,
        seconds,
        flops=4 * HEAD_DIM * heads * batch * pairs,
        row_flops=4 * HEAD_DIM * (past + new),
        bytes_moved=moved,
    )


def _decode_row(r: dict[str, str], batch: float, context: float, seconds: float) -> Row:
    heads, kv_heads = float(r["heads"]), float(r["kv_heads"])
    cache = 2 * kv_heads * context * (1 if r["kv_dtype"] == "fp8" else 2)
    return _row(
        "decode",
        r,
        seconds,
        flops=4 * HEAD_DIM * heads * batch * context,
        bytes_moved=HEAD_DIM * batch * (cache + 4 * heads),
    )


def _prefill() -> Iterator[Row]:
    for r in table("facts/efficiency/context_attention.csv"):
        seconds = float(r["latency_us"]) / 1e6
        yield _prefill_row(r, float(r["isl"]), 0.0, float(r["batch"]), seconds)


def _decode() -> Iterator[Row]:
    """Without A100 (not physical), what fits L2, and TensorRT-LLM's scalar fp8 MHA on Hopper."""
    for r in table("facts/efficiency/decode_attention.csv"):
        scalar = r["framework"] == "trtllm" and r["kv_dtype"] == "fp8"
        scalar &= r["heads"] == r["kv_heads"] and r["system"] in ("h100_sxm", "h200_sxm")
        in_l2 = float(r["ws_gb"]) * 1e9 < L2_TIMES * L2_BYTES.get(r["system"], 0.0)
        if r["system"] != "a100_sxm" and not scalar and not in_l2:
            seconds = float(r["latency_us"]) / 1e6
            yield _decode_row(r, float(r["batch"]), float(r["ctx"]) + 1, seconds)


def _latent() -> Iterator[Row]:
    """Without A100, where no MLA kernel exists and a scalar one stands in."""
    for r in table("facts/efficiency/decode_mla.csv"):
        tokens = float(r["batch"]) * (float(r["ctx"]) + 1)
        queries = float(r["batch"]) * float(r["heads"]) * (2 * LATENT + LATENT_ROPE)
        if r["system"] != "a100_sxm":
            yield _row(
                "latent",
                r | {"kv_dtype": "bfloat16"},
                float(r["latency_us"]) / 1e6,
                flops=2 * (2 * LATENT + LATENT_ROPE) * float(r["heads"]) * tokens,
                bytes_moved=2 * (LATENT + LATENT_ROPE) * tokens + 2 * queries,
            )


def _encode() -> Iterator[Row]:
    for r in table("facts/efficiency/encoder_attention.csv"):
        batch, n, heads = float(r["batch"]), float(r["seq"]), float(r["heads"])
        row_flops = 4 * float(padded_head_dim(float(r["head_dim"]))) * n
        yield _row(
            "encode",
            r,
            float(r["latency_us"]) / 1e6,
            flops=row_flops * heads * batch * n,
            row_flops=row_flops,
            bytes_moved=8 * heads * float(r["head_dim"]) * batch * n,
        )


def _vidur() -> Iterator[Row]:
    shard = {
        "system": "a100_sxm",
        "framework": "vidur",
        "kv_dtype": "bfloat16",
        "heads": "32",
        "kv_heads": "4",
    }
    for r in table("data/vidur/attention/attention_a100_llama2-70b_tp2.csv"):
        cached, batch = float(r["kv_cache_size"]), float(r["batch_size"])
        if r["is_prefill"] == "True":
            seconds = float(r["attn_prefill.median"]) / 1e3
            yield _prefill_row(shard, float(r["prefill_chunk_size"]), cached, batch, seconds)
        else:
            yield _decode_row(shard, batch, cached, float(r["attn_decode.median"]) / 1e3)


def _mixed_profile() -> Iterator[Row]:
    """LLMServingSim: the passes that only prefill or only decode."""
    for tp in (1, 2):
        shard = {
            "system": "rtx_pro_6000_server",
            "framework": "vllm-profile",
            "kv_dtype": "bfloat16",
            "heads": str(32 // tp),
            "kv_heads": str(8 // tp),
        }
        path = f"RTXPRO6000__Llama-3.1-8B__bf16__tp{tp}__attention.csv"
        for r in table(f"data/llmservingsim/profile/{path}"):
            new, past, count, context = (
                float(r[name]) for name in ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
            )
            if not count:
                yield _prefill_row(shard, new, past, 1.0, float(r["time_us"]) / 1e6)
            elif not new:
                yield _decode_row(shard, count, context, float(r["time_us"]) / 1e6)


def _many_queries(chosen: Sequence[Row], constants: Floats) -> Floats:
    mfu, mbu, fill_rows, floor_us = constants
    return attention_s(
        column(chosen, "flops"),
        column(chosen, "row_flops"),
        column(chosen, "bytes_moved"),
        mfu * column(chosen, "peak_flops_per_s"),
        mbu * column(chosen, "peak_bytes_per_s"),
        fill_rows,
        floor_us / 1e6,
    )


def _one_query(chosen: Sequence[Row], constants: Floats) -> Floats:
    mfu, mbu, floor_us = constants if len(constants) == 3 else (DECODE_MFU, *constants)
    return cached_attention_s(
        column(chosen, "flops"),
        column(chosen, "bytes_moved"),
        mfu * column(chosen, "peak_flops_per_s"),
        mbu * column(chosen, "peak_bytes_per_s"),
        floor_us / 1e6,
    )


_MANY = Law[Row](
    {
        "mfu": (0.6, 0.05, 1.0),
        "mbu": (0.5, 0.03, 1.0),
        "fill_rows": (2e4, 300.0, 1e6),
        "floor_us": (10.0, 1.0, 60.0),
    },
    _many_queries,
)
LAWS = {
    "prefill": _MANY,
    "encode": _MANY,
    "decode": Law[Row]({"mbu": (0.9, 0.3, 1.0), "floor_us": (10.0, 1.0, 60.0)}, _one_query),
    "latent": Law[Row](
        {"mfu": (0.6, 0.05, 1.0), "mbu": (0.8, 0.3, 1.0), "floor_us": (13.0, 1.0, 60.0)},
        _one_query,
    ),
}


def fit(chosen: Sequence[Row]) -> dict[str, float]:
    """Constants of rows of one phase."""
    return LAWS[chosen[0].phase].fit(chosen)


def error(chosen: Sequence[Row], constants: dict[str, float]) -> float:
    """Mean relative error of constants on rows of one phase."""
    return LAWS[chosen[0].phase].error(chosen, constants)


def held_out_error(chosen: Sequence[Row], by: Callable[[Row], Hashable]) -> float:
    """Mean error on each group of rows of one phase, predicted from the others."""
    return LAWS[chosen[0].phase].held_out_error(chosen, by)


def shard(row: Row) -> Hashable:
    """What tensor parallelism changes: the group to leave out."""
    if row.phase == "encode":
        return row.head_dim
    return row.kv_heads if row.phase == "decode" else row.heads


def _line(name: str, chosen: Sequence[Row], by: Callable[[Row], Hashable]) -> str:
    constants = fit(chosen)
    numbers = "  ".join(f"{k} {v:.3g}" for k, v in constants.items())
    held = held_out_error(chosen, by)
    return f"{name:52} {len(chosen):6} {error(chosen, constants):6.1%} {held:6.1%}  {numbers}"


def report() -> Iterator[str]:
    """Constants and errors: by hardware, framework and dtype, then with hardware left out."""
    everything = rows()
    for phase in LAWS:
        groups: dict[str, list[Row]] = {}
        families: dict[str, list[Row]] = {}
        for r in everything:
            if r.phase != phase:
                continue
            groups.setdefault(f"{phase} {r.system} {r.framework} {r.dtype}", []).append(r)
            if r.framework not in PROFILES:
                groups.setdefault(f"{phase} {r.system} all {r.dtype}", []).append(r)
                families.setdefault(
                    f"{phase} left out of {FAMILIES[r.system]} {r.dtype}", []
                ).append(r)
        for name, chosen in sorted(groups.items()):
            if len(chosen) >= FEWEST:
                yield _line(name, chosen, shard)
        for name, chosen in sorted(families.items()):
            yield _line(name, chosen, lambda r: r.system)


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in report())
