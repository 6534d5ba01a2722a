"""LLM-Inference-Bench (Argonne, SC-W 2024): whole static batches on A100-40GB."""

from pdplan.calibration.formats.row import Measured
from validation.datasets.tables import measured, table

ENGINES = {"vLLM": "vllm-2024", "TensorRT-LLM": "trtllm-2024"}
MODELS = {
    "Qwen/Qwen2-7B": "qwen2.5-7b",  # the same architecture
    "meta-llama/Llama-2-70b-hf": "llama-2-70b",
    "meta-llama/Llama-2-7b-hf": "llama-2-7b",
    "meta-llama/Meta-Llama-3-70B": "llama-3-70b",
    "meta-llama/Meta-Llama-3-8B": "llama-3-8b",
    "mistralai/Mistral-7B-v0.1": "mistral-7b-v0.1",
}


def rows() -> list[Measured]:
    """Latency of a batch from its start to its last token."""
    path = "llm_inference_bench/a100.csv"
    return [
        measured(
            path,
            i,
            {
                "model": MODELS[r["model"]],
                "hardware": "a100-40gb-sxm",
                "engine": ENGINES[r["framework"]],
                "phase": "static",
                "tp": r["tp"],
                "weight_dtype": "fp16",
                "kv_dtype": "fp16",
                "batch": r["batch"],
                "isl": r["isl"],
                "osl": r["osl"],
            },
            latency_s=float(r["latency_s"]),
        )
        for i, r in enumerate(table(path), 2)
    ]
