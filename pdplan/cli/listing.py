"""One line a spec: what one chooses by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pdplan.cli.catalog import load, raw
from pdplan.report.blocks import Cell, Grid
from pdplan.report.headline import length_words, media_words
from pdplan.specs.catalog import names
from pdplan.specs.dtypes import DTYPE_BYTES

Row = tuple[Cell, ...]


def listing(kind: str, specs: Path | None) -> Grid:
    """Make the table of a kind."""
    columns, rows = _TABLES[kind]
    found = [row for name in names(kind, specs) for row in rows(name, specs)]
    return Grid(columns, tuple(found), short=frozenset({"source"}))


def _hardware(name: str, specs: Path | None) -> list[Row]:
    spec = load("hardware", name, specs)
    price = spec.price()
    row = (
        *(name, spec.generation, spec.flops_per_s("bf16"), spec.flops_per_s("fp8")),
        *(spec.memory.capacity, spec.memory.bandwidth),
        spec.scale_up.bandwidth if spec.scale_up else None,
        spec.scale_out.bandwidth if spec.scale_out else None,
        *((price.price, price.provider, price.date) if price else (None, "", "")),
    )
    return [row]


def _model(name: str, specs: Path | None) -> list[Row]:
    spec = load("model", name, specs)
    counts = spec.parameters()
    encoders = [kind for kind in ("vision", "audio") if getattr(spec, kind) is not None]
    kv = spec.kv_bytes_per_token(DTYPE_BYTES["bf16"])
    return [
        (
            *(name, counts.total, counts.active_per_token, spec.layers, kv, spec.max_position),
            *(" ".join(encoders), spec.checkpoint_dtype),
        )
    ]


def _workload(name: str, specs: Path | None) -> list[Row]:
    spec, data = load("workload", name, specs), raw("workload", name, specs)
    classes = data.get("classes") or [data]
    found: list[Row] = []
    for item, kind in zip(classes, spec.kinds(), strict=True):
        label = f"{name}/{kind.name} ({kind.share:.0%})" if len(classes) > 1 else name
        media = ", ".join(media_words(item))
        lengths = (length_words(item.get("isl")), length_words(item.get("osl")))
        found.append((label, spec.rate, *lengths, media, kind.ttft, kind.tpot, spec.source))
    return found


def _engine(name: str, specs: Path | None) -> list[Row]:
    spec = load("engine", name, specs)
    measured: list[Row] = [
        (name, generation, constants.origin, constants.points, constants.source)
        for generation, constants in spec.generations.items()
    ]
    borrowed: list[Row] = [
        (name, generation, "transferred", None, f"from {origin}")
        for generation, origin in spec.transferred.items()
    ]
    return measured + borrowed


def _system(name: str, specs: Path | None) -> list[Row]:
    spec = load("system", name, specs)
    options: Any = spec.options_text()
    return [(name, spec.title, spec.citation, spec.placements, options, spec.example)]


_TABLES: dict[str, tuple[tuple[str, ...], Callable[[str, Path | None], list[Row]]]] = {
    "hardware": (
        (
            *("id", "generation", "bf16_flops_per_s", "fp8_flops_per_s", "memory_bytes"),
            *("bandwidth_bytes_per_s", "scale_up_bytes_per_s", "nic_bytes_per_s"),
            *("usd_per_hour", "provider", "date"),
        ),
        _hardware,
    ),
    "model": (
        (
            *("id", "params", "active", "layers", "kv_bytes_per_token", "context"),
            *("encoders", "dtype"),
        ),
        _model,
    ),
    "workload": (
        ("id", "rate_rps", "isl", "osl", "media", "ttft_s", "tpot_s", "source"),
        _workload,
    ),
    "engine": (("id", "generation", "origin", "points", "source"), _engine),
    "system": (("name", "title", "citation", "placement", "options", "example"), _system),
}
