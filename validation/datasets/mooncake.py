"""Mooncake (kvcache-ai): KV transfer and TTFT, Qwen3-8B, 1P1D TP8 on 2 x 8 H800, vLLM 0.11."""

from pdplan.calibration.formats.row import Measured
from validation.datasets.tables import measured, table

_SHAPE = {
    "model": "qwen3-8b", "hardware": "h800", "engine": "vllm", "tp": "8", "weight_dtype": "bf16",
    "kv_dtype": "bf16",
}  # fmt: skip
_PATH = "mooncake/kv_transfer_qwen3_8b_h800.csv"


def rows() -> list[Measured]:
    """Transfers of a prompt's cache, and lone prompts."""
    return [
        measured(
            _PATH, i, _SHAPE | {"phase": phase, "isl": r["isl"]}, latency_s=float(r[key]) / 1e3
        )
        for i, r in enumerate(table(_PATH), 2)
        for phase, key in (("transfer", "transfer_ms"),)
    ]
