"""TensorRT-LLM's published performance: v0.5-v0.10 static batches, v0.14 maximum throughput."""

from pdplan.calibration.formats.row import Measured
from validation.datasets.tables import Row, measured, table

MODELS = {
    "LLaMA 7B": "llama-2-7b",
    "LLaMA 70B": "llama-2-70b",
    "LLaMA v3 70B": "llama-3-70b",
    "LLaMA v3.1 70B": "llama-3.1-70b",
    "LLaMA v3.1 8B": "llama-3.1-8b",
    "LLaMA v3.1 405B": "llama-3.1-405b",
    "Mistral 7B": "mistral-7b-v0.1",
    "Mixtral 8x7B": "mixtral-8x7b",
    "Mixtral 8x22B": "mixtral-8x22b",
}
"""Those in the catalog; GPT-J 6B and Falcon 180B are not."""
NEWER = {"Mistral 7B": {"model": "mistral-7b-v0.3"}}
"""Of late 2024: without the sliding window of v0.1, as its prompts of 20,000 tokens show."""
HARDWARE = {
    "A100": "a100-80gb-sxm",
    "A100-SXM4-80GB": "a100-80gb-sxm",
    "A100-PCIE-80GB": "a100-80gb-pcie",
    "H100": "h100-sxm",
    "H200": "h200-sxm",
    "L40S": "l40s",
}
WAITING = 2048
"""Requests in flight that keep every slot of an engine busy: its largest batch."""


def _shape(r: Row) -> Row:
    quant = r["quant"].lower()
    return {
        "model": MODELS[r["model"]],
        "hardware": HARDWARE[r["gpu"]],
        "engine": "trtllm-2024",
        "tp": r["tp"],
        "weight_dtype": quant,
        "kv_dtype": quant if quant == "fp8" else "fp16",
    }


def prompts() -> list[Measured]:
    """Time to first token of a lone prompt."""
    path = "trtllm/low_latency_ttft_v05_v010.csv"
    return [
        measured(
            path,
            i,
            _shape(r) | {"phase": "prefill", "isl": r["isl"], "batch": r["batch_size"]},
            latency_s=float(r["ttft_ms"]) / 1e3,
        )
        for i, r in enumerate(table(path), 2)
        if r["model"] in MODELS
    ]


def static() -> list[Measured]:
    """Whole static batches, from their throughput: per GPU from v0.7 on, in total before."""
    path = "trtllm/static_batch_throughput_v05_v010.csv"
    found = []
    for i, r in enumerate(table(path), 2):
        if r["model"] in MODELS:
            gpus = 1 if r["version"].startswith("v0.5") else int(r["tp"])
            tokens = float(r["batch_size"]) * float(r["osl"])
            row = (
                {"phase": "static"} | {k: r[k] for k in ("isl", "osl")} | {"batch": r["batch_size"]}
            )
            seconds = tokens / (float(r["out_tok_s_reported"]) * gpus)
            found.append(measured(path, i, _shape(r) | row, latency_s=seconds))
    return found


def throughput() -> list[Measured]:
    """Largest throughput with every request queued at the start."""
    path = "trtllm/max_throughput_v014.csv"
    found = []
    for i, r in enumerate(table(path), 2):
        row = (
            _shape(r)
            | NEWER.get(r["model"], {})
            | {
                "phase": "serve",
                "pp": r["pp"],
                "isl": r["isl"],
                "osl": r["osl"],
                "concurrency": WAITING,
            }
        )
        if int(r["ep"] or 0) > 0:
            row["ep"] = r["ep"]
        per_gpu = float(r["tokens_per_s_per_gpu"])
        found.append(measured(path, i, row, output_tokens_per_s_per_gpu=per_gpu))
    return found
