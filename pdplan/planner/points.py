"""Rows of a `predict` table, read and checked one by one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pdplan.errors import PdplanError, SpecError
from pdplan.planner.shapes import default_weight_dtype, misfit
from pdplan.specs.base import suggestion
from pdplan.specs.dtypes import DTYPE_BYTES
from pdplan.specs.engine import EngineSpec, load_engine
from pdplan.specs.hardware import HardwareSpec, load_hardware
from pdplan.specs.model import ModelSpec, load_model
from pdplan.stages.machine import Shape
from pdplan.units import parse_quantity

T = TypeVar("T")

PHASES = ("prefill", "decode", "encode", "transfer", "static", "serve")
TEXTS = ("model", "hardware", "engine", "phase", "weight_dtype", "moe_dtype", "kv_dtype")
COUNTS = ("tp", "pp", "ep", "moe_tp", "dp")
NUMBERS = (
    "rate",
    "concurrency",
    "batch",
    "isl",
    "context",
    "osl",
    "prefix",
    "images",
    "image_width",
    "image_height",
    "bytes",
    "requests",
)
PREDICT_INPUTS = (
    "model", "hardware", "engine", "phase", "tp", "pp", "ep", "moe_tp", "dp", "weight_dtype",
    "moe_dtype", "kv_dtype", "rate", "concurrency", "batch", "isl", "context", "osl", "prefix",
    "images", "image_width", "image_height", "bytes", "requests",
)  # fmt: skip
NEEDED: Mapping[str, tuple[str, ...]] = {
    "prefill": ("isl",),
    "decode": ("context",),
    "encode": ("image_width", "image_height"),
    "transfer": (),
    "static": ("isl", "osl"),
    "serve": ("isl", "osl"),
}
ABOVE_ZERO = (
    "isl", "osl", "batch", "image_width", "image_height", "rate", "concurrency", "requests",
)  # fmt: skip
LARGEST = {"concurrency": 1e5, "batch": 1e6, "bytes": 1e15, "rate": 1e9}
LARGEST_NUMBER = 1e9
"""Of any other column."""


@dataclass(frozen=True, slots=True)
class Point:
    """One row: what to predict, on what."""

    phase: str
    model_id: str
    model: ModelSpec
    engine: EngineSpec
    hardware: HardwareSpec
    shape: Shape
    numbers: Mapping[str, float]

    def number(self, name: str, default: float = 0.0) -> float:
        """Value of a column, or its default."""
        return self.numbers.get(name, default)


@dataclass(slots=True)
class Reader:
    """Reads rows; remembers which names could not be loaded."""

    specs_dir: Path | None
    _loaded: dict[tuple[str, str], object]

    def point(self, row: Mapping[str, str]) -> Point:
        """Read one row; raises SpecError with everything wrong in it."""
        text = {name: (row.get(name) or "").strip() for name in PREDICT_INPUTS}
        phase = text["phase"] or "prefill"
        problems: list[str] = []
        if phase not in PHASES:
            hint = suggestion(phase, PHASES)
            problems.append(f"phase: '{phase}' is not one of {', '.join(PHASES)}{hint}")
        problems += [f"{name}: missing" for name in ("model", "hardware") if not text[name]]
        numbers = _numbers(text, problems)
        problems += [
            f"{name}: missing; {phase} needs it" for name in NEEDED.get(phase, ()) if not text[name]
        ]
        if phase == "serve" and ("rate" in numbers) == ("concurrency" in numbers):
            problems.append("serve needs either rate or concurrency")
        if phase == "transfer" and not numbers.keys() & {"isl", "bytes"}:
            problems.append("transfer needs isl or bytes")
        if problems:
            raise SpecError(*problems)
        model: ModelSpec = self._load("model", text["model"], load_model)
        hardware: HardwareSpec = self._load("hardware", text["hardware"], load_hardware)
        engine: EngineSpec = self._load("engine", text["engine"] or "vllm", load_engine)
        shape = _shape(text, numbers, model, engine)
        reason = misfit(model, hardware, shape, "E" if phase == "encode" else "P")
        if reason is not None:
            raise SpecError(reason)
        return Point(phase, text["model"], model, engine, hardware, shape, numbers)

    def _load(self, kind: str, name: str, load: Callable[[str, Path | None], T]) -> T:
        key = (kind, name)
        if key not in self._loaded:
            try:
                self._loaded[key] = load(name, self.specs_dir)
            except PdplanError as error:
                self._loaded[key] = error
        found = self._loaded[key]
        if isinstance(found, PdplanError):
            raise found
        return found  # type: ignore[return-value]


def _numbers(text: Mapping[str, str], problems: list[str]) -> dict[str, float]:
    found = {}
    for name in (*COUNTS, *NUMBERS):
        if not text[name]:
            continue
        try:
            value = float(text[name])
        except ValueError:
            try:
                value = parse_quantity(text[name], "bytes" if name == "bytes" else "rps")
            except ValueError:
                problems.append(f"{name}: '{text[name]}' is not a number")
                continue
        least = 1.0 if name in COUNTS else 0.0
        most = LARGEST.get(name, LARGEST_NUMBER)
        strictly = name in ABOVE_ZERO
        whole = name not in COUNTS or (value <= most and value == int(value))
        if not least <= value <= most or (strictly and value == 0) or not whole:
            what = "a whole number of at least 1" if name in COUNTS else "a positive number"
            what += f" of at most {most:g}" if most < value < math.inf else ""
            problems.append(f"{name}: must be {what}; got {text[name]}")
            continue
        found[name] = value
    return found


def _shape(
    text: Mapping[str, str], numbers: Mapping[str, float], model: ModelSpec, engine: EngineSpec
) -> Shape:
    """Shape of a row: experts over tp x dp unless said, mixed formats as the checkpoint's."""
    count = {name: int(numbers[name]) for name in COUNTS if name in numbers}
    weight = text["weight_dtype"] or default_weight_dtype(model)
    moe_dtype = text["moe_dtype"] or weight
    if weight == "mxfp4" and not text["moe_dtype"] and model.moe is not None:
        weight = "bf16"
    narrow = engine.defaults.quantized_kv and weight in ("fp8", "nvfp4")
    kv = text["kv_dtype"] or ("fp8" if narrow else "bf16")
    for name, value in (("weight_dtype", weight), ("moe_dtype", moe_dtype), ("kv_dtype", kv)):
        if value not in DTYPE_BYTES:
            message = f"{name}: '{value}' is not one of {', '.join(DTYPE_BYTES)}"
            raise SpecError(message + suggestion(value, list(DTYPE_BYTES)))
    tp, dp = count.get("tp", 1), count.get("dp", 1)
    ranks = tp * dp if model.moe is not None else 1
    ep = count.get("ep")
    moe_tp = count.get("moe_tp")
    if ep is None:
        ep = ranks // moe_tp if moe_tp else ranks if dp > 1 and model.moe is not None else 1
    return Shape(
        text["hardware"],
        tp=tp,
        pp=count.get("pp", 1),
        ep=ep,
        dp=dp,
        moe_tp=moe_tp or max(ranks // ep, 1),
        weight_dtype=weight,
        moe_dtype=moe_dtype,
        kv_dtype=kv,
    )
