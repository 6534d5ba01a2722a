"""Whether an engine profile fits the hardware that is known: no pass beats the roofline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from pdplan.planner.shapes import default_weight_dtype, make_shape, misfit
from pdplan.specs.base import suggestion
from pdplan.specs.catalog import names
from pdplan.specs.engine import EngineSpec
from pdplan.specs.hardware import HardwareSpec, load_hardware
from pdplan.specs.model import ModelSpec, load_model
from pdplan.specs.source import Key
from pdplan.stages.encode import TowerWork, tower_pass
from pdplan.stages.llm import Pass, decode_pass, prefill_pass
from pdplan.stages.machine import Shape, machines
from pdplan.units import format_seconds

MODELS = ("llama-3.1-8b", "gpt-oss-120b", "deepseek-v3", "qwen2.5-vl-7b")
"""Dense, windowed with mixed formats, latent with experts, with an encoder."""
TOKENS = np.array([16.0, 1000.0, 30_000.0])
BATCH = np.array([1.0, 16.0, 512.0])
IMAGE = (1280, 960)


@dataclass(frozen=True, slots=True)
class Faster:
    """A pass that a profile predicts faster than the datasheet allows."""

    what: str
    total_s: float
    roof_s: float

    def __str__(self) -> str:
        figure, limit = format_seconds(self.total_s), format_seconds(self.roof_s)
        return f"{self.what} in {figure}; the roofline allows no less than {limit}"


def misfits(engine: EngineSpec, specs_dir: Path | None = None) -> Iterator[tuple[Key, str]]:
    """What of a profile does not agree with the hardware that is known: where, and what."""
    hardware = {name: load_hardware(name, specs_dir) for name in names("hardware", specs_dir)}
    yield from _unknown(engine, hardware)
    for generation in engine.generations:
        served = {
            name: spec
            for name, spec in hardware.items()
            if engine.lender(spec.generation) == generation
        }
        found = faster(engine, served)
        worst = max(found, key=lambda one: one.roof_s / one.total_s, default=None)
        if worst is not None:
            yield ("generations", generation), str(worst)


def _unknown(engine: EngineSpec, hardware: Mapping[str, HardwareSpec]) -> Iterator[tuple[Key, str]]:
    """Generations and accelerators that no file speaks of."""
    families = sorted({spec.generation for spec in hardware.values()})
    keys: list[Key] = [("generations", n) for n in engine.generations if n != engine.unknown]
    keys += [("transferred", name) for name in engine.transferred]
    for key in keys:
        name = str(key[-1])
        if name not in families:
            yield key, f"no hardware is of generation '{name}'" + suggestion(name, families)
    for generation, constants in engine.generations.items():
        for i, name in enumerate(constants.measured):
            if name not in hardware:
                hint = suggestion(name, list(hardware))
                yield ("generations", generation, "measured", i), f"unknown hardware '{name}'{hint}"


def faster(engine: EngineSpec, hardware: dict[str, HardwareSpec]) -> Iterator[Faster]:
    """Passes of a few models and shapes that beat the roofline of some hardware."""
    for name in MODELS:
        model = load_model(name)
        weights = dict.fromkeys((default_weight_dtype(model), "bf16", "fp8"))
        shapes = [
            shape
            for each, spec in hardware.items()
            for tp, weight in product((1, 8), weights)
            for shape in (make_shape(model, each, tp, 1, 1, None, weight, "bf16"),)
            if misfit(model, spec, shape, "P") is None
        ]
        if shapes:
            yield from _faster(engine, model, shapes, hardware)


def _faster(
    engine: EngineSpec, model: ModelSpec, shapes: list[Shape], hardware: dict[str, HardwareSpec]
) -> Iterator[Faster]:
    m = machines(shapes, hardware, engine)
    passes: list[tuple[str, Pass]] = [
        (f"prefill of {n:,.0f} tokens", prefill_pass(model, m, new_tokens=n)) for n in TOKENS
    ]
    passes += [
        (
            f"a decode step of {batch:.0f} at {context:,.0f} tokens",
            decode_pass(model, m, sequences=batch, context_tokens=context),
        )
        for batch in BATCH
        for context in TOKENS
    ]
    if model.vision is not None:
        work = TowerWork.of([(1.0, model.vision.image_work(*IMAGE, 1))])
        passes.append(("encoding an image", tower_pass(m, model.vision, work)))
    for what, one in passes:
        total, roof = (np.broadcast_to(x, m.tp.shape)[:, 0] for x in (one.total_s, one.roof_s))
        for i in np.flatnonzero(total < roof * (1 - 1e-9)):
            shape = shapes[i]
            where = f"{model.name} on {shape.hardware} tp={shape.tp} {shape.moe_dtype}"
            yield Faster(f"{where}: {what}", float(total[i]), float(roof[i]))
