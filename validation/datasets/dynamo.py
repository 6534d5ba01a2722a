"""NVIDIA ai-dynamo 0.9.0 profile: Llama-3.1-8B fp8 on H200, vLLM 0.10.1."""

from pdplan.calibration.formats.row import Measured
from validation.datasets.tables import measured, table

_SHAPE = {
    "model": "llama-3.1-8b", "hardware": "h200-sxm", "engine": "vllm", "weight_dtype": "fp8",
    "kv_dtype": "bf16",
}  # fmt: skip
KV_CAPACITY_TOKENS = 945029


def rows() -> list[Measured]:
    """Decode steps by batch and context; lone prompts by length."""
    steps = "dynamo/decode_llama31_8b_fp8_h200.csv"
    prompts = "dynamo/prefill_llama31_8b_fp8_h200.csv"
    return [
        measured(
            steps,
            i,
            _SHAPE
            | {"phase": "decode", "batch": r["batch_from_kv"], "context": r["context_length"]},
            latency_s=float(r["itl_ms"]) / 1e3,
        )
        for i, r in enumerate(table(steps), 2)
    ] + [
        measured(
            prompts,
            i,
            _SHAPE | {"phase": "prefill", "isl": r["isl"]},
            latency_s=float(r["ttft_ms"]) / 1e3,
        )
        for i, r in enumerate(table(prompts), 2)
    ]
