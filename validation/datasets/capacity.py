"""KV capacity in tokens, as engines report it: vLLM on H200, DistServe's block manager on A100."""

from pathlib import Path

from pdplan.calibration.formats.row import Measured
from pdplan.calibration.observations import Observations
from validation.datasets import dynamo
from validation.datasets.scored import GroupScore, Pair, grouped
from validation.datasets.tables import measured, table

PATH = "distserve/max_num_tokens.csv"
CHUNK = 8192
"""vLLM measures its workspace on a pass of this many tokens."""


def rows() -> list[Measured]:
    """Capacities of an instance; DistServe's do not depend on the pass."""
    vllm = {
        "model": "llama-3.1-8b",
        "hardware": "h200-sxm",
        "engine": "vllm",
        "phase": "prefill",
        "isl": CHUNK,
        "weight_dtype": "fp8",
        "kv_dtype": "bf16",
    }
    source = "dynamo/decode_llama31_8b_fp8_h200.csv"
    found = [measured(source, 2, vllm, kv_capacity_tokens=dynamo.KV_CAPACITY_TOKENS)]
    for i, r in enumerate(table(PATH), 2):
        row = {
            "model": r["model"].removeprefix("facebook/"),
            "hardware": "a100-80gb-sxm",
            "engine": "distserve",
            "phase": "decode",
            "context": 1,
            "tp": r["tp"],
            "pp": r["pp"],
            "weight_dtype": "fp16",
            "kv_dtype": "fp16",
        }
        found.append(measured(PATH, i, row, kv_capacity_tokens=float(r["max_num_tokens"])))
    return found


def pairs(specs_dir: Path | None = None) -> list[Pair]:
    """Every capacity beside its prediction."""
    data = Observations(rows(), specs_dir)
    return [
        Pair(
            "kv_capacity_tokens",
            f"{m.row['engine']}, {m.row['model']}",
            float(value),
            float(found),
            f"tp {m.row.get('tp', '1')}, pp {m.row.get('pp', '1')}",
        )
        for m, value, found in zip(data.measured, data.values, data.predicted(), strict=True)
    ]


def scored(specs_dir: Path | None = None) -> list[GroupScore]:
    """Errors by engine and model."""
    return grouped(pairs(specs_dir))
