"""Vision encoding, quoted in public threads: one tower on an RTX 3090, two engines at 1080p.

The RTX 3090 rows time the tower alone, so the host's work per image is left out there. The SGLang
rows give TTFT with the tower and the language model on a GPU each.
"""

from pathlib import Path

from pdplan.calibration.formats.row import Measured
from pdplan.calibration.observations import Observations
from pdplan.specs.engine import EngineSpec, load_engine
from validation.datasets.scored import GroupScore, Pair, grouped
from validation.datasets.tables import measured, table

TOWER = "vision/vision_encode_rtx3090_27b.csv"
POINTS = "vision/vision_encode_points.csv"
FULL_HD = {"image_width": "1920", "image_height": "1080"}
IMAGES, TEXT = 4, 1024
"""Of one request to SGLang."""
IMAGE_TOKENS = 2040
"""Qwen3-VL's, of one 1920 x 1080 image: 60 x 34."""


def tower_rows() -> list[Measured]:
    """Square images through Qwen3-VL's tower (27 layers, 1,152 wide)."""
    return [
        measured(
            TOWER,
            i,
            {
                "model": "qwen3-vl-32b",
                "hardware": "rtx-3090",
                "engine": "vllm",
                "phase": "encode",
                "image_width": r["image_side_px"],
                "image_height": r["image_side_px"],
            },
            latency_s=float(r["encode_ms_resident"]) / 1e3,
        )
        for i, r in enumerate(table(TOWER), 2)
    ]


def vllm_rows() -> list[Measured]:
    """One 1080p image, prepared on the host and encoded."""
    row = {"model": "qwen2.5-vl-7b", "hardware": "h100-sxm", "engine": "vllm", "phase": "encode"}
    seconds = float(table(POINTS)[0]["encode_plus_preproc_ms"]) / 1e3
    return [measured(POINTS, 2, row | FULL_HD, latency_s=seconds)]


def device_only(engine: EngineSpec) -> EngineSpec:
    """The profile without host work per image."""
    nothing = {"item": 0.0, "megapixel": 0.0}
    generations = {
        name: one.model_copy(update={"encoder": one.encoder.model_copy(update=nothing)})
        for name, one in engine.generations.items()
    }
    return engine.model_copy(update={"generations": generations})


def pairs(specs_dir: Path | None = None) -> list[Pair]:
    """Every point beside its prediction [s]."""
    tower = Observations(tower_rows(), specs_dir)
    alone = tower.predicted(device_only(load_engine("vllm", specs_dir)))
    image = Observations(vllm_rows(), specs_dir)
    found = [
        Pair("encode_s", "tower on RTX 3090", float(value), float(t), m.row["image_width"] + " px")
        for m, value, t in zip(tower.measured, tower.values, alone, strict=True)
    ]
    found += [
        Pair("encode_s", "vLLM on H100", float(value), float(t), "1080p")
        for value, t in zip(image.values, image.predicted(), strict=True)
    ]
    return found + _sglang(specs_dir)


def _sglang(specs_dir: Path | None) -> list[Pair]:
    """TTFT of one request: encode, then prefill; of four at once, all prompts share the passes.

    The encoder works on the later requests while the first ones prefill.
    """
    found = []
    shape = {"model": "qwen3-vl-8b", "hardware": "h20", "engine": "sglang"}
    prompt = TEXT + IMAGES * IMAGE_TOKENS
    for line, (r, together) in enumerate(zip(table(POINTS)[1:], (1, 4), strict=True), 3):
        stages = (
            {"phase": "encode", "images": str(IMAGES)} | FULL_HD,
            {"phase": "prefill", "isl": str(prompt), "batch": str(together)},
        )
        rows = [measured(POINTS, line, shape | stage, latency_s=1.0) for stage in stages]
        total = float(Observations(rows, specs_dir).predicted().sum())
        seconds = float(r["ttft_ms"]) / 1e3
        found.append(Pair("ttft_s", "SGLang on H20", seconds, total, f"{together} at once"))
    return found


def scored(specs_dir: Path | None = None) -> list[GroupScore]:
    """Errors by source."""
    return grouped(pairs(specs_dir))
