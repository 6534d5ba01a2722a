"""What each engine profile is fitted on, and from where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdplan.calibration.formats.row import Measured
from pdplan.specs.engine import EngineSpec
from pdplan.specs.source import load_yaml
from validation.datasets import (
    distserve,
    dynamo,
    inferencex,
    llm_inference_bench,
    mlperf,
    mooncake,
    splitwise,
    trtllm,
)  # fmt: skip

START = Path(__file__).parent / "start.yaml"
"""Constants of kernels and literature, before any end-to-end measurement."""
TRTLLM_MEMORY = {"utilization": 1.0, "reserve": "5 GB", "cache_share": 0.9}
"""It gives KV 0.9 of what weights and workspace leave free."""


@dataclass(frozen=True)
class Recipe:
    """One engine profile."""

    name: str
    description: str
    data: Callable[[], list[Measured]]
    chunk_tokens: int = 8192
    max_batch: int = 256
    scheduler: str = "chunked"
    kind: str = "pass"
    """What may be left out: of a `run`, its model on its hardware."""
    independent: int = 4
    """Measurements of one model, accelerator and TP degree that count in full: few of runs, which
    share what is not modelled; many of passes that were timed one by one."""
    like: tuple[str, ...] = ()
    """Engines of its time, whose runs its fit looks at first."""
    constants: Mapping[str, float] = field(default_factory=dict)
    """Starting values other than the start's, for every generation or (`ada:...`) for one."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    sources: str = ""


def _of(engine: str, rows: list[Measured]) -> list[Measured]:
    return [one for one in rows if one.row.get("engine") == engine]


def inference(engine: str) -> list[Measured]:
    """Closed-loop runs of an engine that nothing speaks against."""
    return _of(engine, inferencex.rows(plausible=True))


RECIPES = (
    Recipe(
        "vllm",
        "vLLM 0.10 to 0.19 (2025-2026): CUDA graphs in decode, chunked prefill.",
        lambda: inference("vllm") + dynamo.rows() + mooncake.rows(),
        constants={"overhead.request": 0.018},
        kind="run",
        like=("trtllm", "sglang"),
        sources="InferenceX and NVIDIA's accuracy references in aiconfigurator-core 0.12.0; "
        "ai-dynamo 0.9.0 profile; Mooncake vLLM-v1 measurements",
    ),
    Recipe(
        "trtllm",
        "TensorRT-LLM 1.0 to 1.3 (2025-2026), in-flight batching and chunked prefill.",
        lambda: inference("trtllm"),
        max_batch=2048,
        memory=TRTLLM_MEMORY,
        constants={"overhead.request": 0.035},
        kind="run",
        like=("vllm", "sglang"),
        sources="InferenceX and NVIDIA's accuracy references in aiconfigurator-core 0.12.0",
    ),
    Recipe(
        "sglang",
        "SGLang 0.5 (2025-2026): CUDA graphs, chunked prefill.",
        lambda: inference("sglang"),
        constants={"overhead.request": 0.035},
        kind="run",
        like=("vllm", "trtllm"),
        sources="InferenceX and NVIDIA's accuracy references in aiconfigurator-core 0.12.0",
    ),
    Recipe(
        "vllm-2024",
        "vLLM 0.3 to 0.6 (2024): CUDA graphs in decode, prompts first.",
        lambda: _of("vllm-2024", llm_inference_bench.rows() + mlperf.offline()),
        max_batch=1024,
        scheduler="prefill_first",
        sources="LLM-Inference-Bench (Argonne); MLPerf Inference v4.1 offline runs (MI300X)",
    ),
    Recipe(
        "trtllm-2024",
        "TensorRT-LLM 0.5 to 0.14 (2023-2024), in-flight batching.",
        lambda: (
            _of("trtllm-2024", llm_inference_bench.rows())
            + trtllm.static()
            + trtllm.prompts()
            + trtllm.throughput()
            + _of("trtllm-2024", mlperf.offline())
        ),
        max_batch=2048,
        constants={
            "ada:collectives.contention": 0.35,
            "overhead.prefill_launch": 2e-6,
            "overhead.request": 2e-3,  # timed in its process, without a server
        },
        memory=TRTLLM_MEMORY,
        sources="LLM-Inference-Bench (Argonne); TensorRT-LLM performance pages v0.5 to v0.14; "
        "MLPerf Inference v4.1 offline runs",
    ),
    Recipe(
        "vllm-2023",
        "vLLM 0.2 (2023): eager, no CUDA graphs, prompts first.",
        lambda: splitwise.rows(plausible=True) + distserve.rows("vllm"),
        independent=20,
        scheduler="prefill_first",
        constants={"overhead.decode_launch": 4e-5, "overhead.prefill_launch": 4e-5},
        sources="Splitwise (ISCA 2024); DistServe's fits of vLLM (OSDI 2024)",
    ),
    Recipe(
        "distserve",
        "DistServe's own engine (SwiftTransformer, 2024): eager C++.",
        lambda: distserve.rows("distserve"),
        independent=20,
        scheduler="prefill_first",
        constants={"overhead.decode_launch": 1.5e-5, "overhead.prefill_launch": 1.5e-5},
        memory={"utilization": 0.923, "reserve": "0 GB", "activation_bytes_per_token": 0},
        sources="DistServe's fits of its own engine (OSDI 2024)",
    ),
)

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


def start(recipe: Recipe) -> EngineSpec:
    """The profile that a recipe's fit starts from."""
    data: dict[str, Any] = dict(load_yaml(START).data)
    generations = {}
    for name, constants in data["generations"].items():
        changed = dict(constants)
        for path, number in recipe.constants.items():
            where, _, path = path.rpartition(":")
            group, key = path.split(".")
            if where in ("", name):
                value = f"{number} s" if group == "overhead" else number
                changed[group] = dict(changed[group]) | {key: value}
        changed["memory"] = dict(changed["memory"]) | dict(recipe.memory)
        generations[name] = changed
    data |= {
        "name": recipe.name,
        "description": recipe.description,
        "defaults": {
            "scheduler": recipe.scheduler,
            "chunk_tokens": recipe.chunk_tokens,
            "max_batch": recipe.max_batch,
            "quantized_kv": recipe.name.startswith("trtllm"),
        },
        "generations": generations,
    }
    return EngineSpec.model_validate(data)
