"""One spec in full, as its author wrote it, with what follows from it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pdplan.report.blocks import Block, Cell, Grid, Lines
from pdplan.report.numbers import percent
from pdplan.specs.dtypes import DTYPE_BYTES


def blocks(kind: str, spec: Any, data: Mapping[str, Any]) -> list[Block]:  # noqa: ANN401
    """Name, everything that the file says, and what can be worked out from it."""
    about = [str(data.get(key)) for key in ("name", "description") if data.get(key)]
    tables = {key: value for key, value in data.items() if _is_table(value)}
    rest = {k: v for k, v in data.items() if k not in tables and k not in ("name", "description")}
    found: list[Block] = [Lines(tuple(about))]
    if kind == "engine":
        found.append(_generations(spec))
    found.append(fields(rest))
    for title, rows in tables.items():
        columns = tuple(dict.fromkeys(key for row in rows for key in row))
        cells = tuple(tuple(_cell(row.get(column)) for column in columns) for row in rows)
        found.append(Grid(columns, cells, title=title))
    unsaid = _unsaid(spec)
    if unsaid:
        found.append(Lines((", ".join(unsaid),), "Not stated, so the default"))
    if kind == "model":
        found.append(_counted(spec))
    return found


def _generations(engine: Any) -> Grid:  # noqa: ANN401  (EngineSpec)
    """How well each generation is known."""
    rows: list[tuple[Cell, ...]] = [
        (
            *(name, found.origin, ", ".join(found.measured), found.points),
            *(_errors(found.in_sample), _errors(found.held_out), len(found.intervals)),
        )
        for name, found in engine.generations.items()
    ]
    rows += [
        (name, "transferred", f"none; as {lender}", None, "", "", None)
        for name, lender in engine.transferred.items()
    ]
    columns = ("generation", "origin", "measured", "points", "in_sample", "held_out", "fitted")
    note = "errors: mean of the absolute, by what was measured; fitted: constants with an interval"
    return Grid(columns, tuple(rows), title="What stands behind each generation", note=note)


def _errors(found: Mapping[str, float]) -> str:
    return ", ".join(f"{what} {percent(error)}" for what, error in found.items())


def fields(data: Mapping[str, Any]) -> Grid:
    """One row a key, nested keys with dots."""
    return Grid(("key", "value"), tuple(_flat(data, "")))


def _flat(value: object, key: str) -> Iterator[tuple[Cell, ...]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for i, inner in enumerate(value):
            yield from _flat(inner, f"{key}[{i}]")
    else:
        yield (key, _cell(value))


def _is_table(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(row, Mapping)
            and not any(isinstance(cell, Mapping | list) for cell in row.values())
            for row in value
        )
    )


def _cell(value: object) -> Cell:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else " ".join(str(value).split())


def _unsaid(spec: Any) -> list[str]:  # noqa: ANN401  (any spec)
    found = []
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if name not in spec.model_fields_set and isinstance(value, str | int | float) and value:
            found.append(f"{name}: {value}")
    return found


def _counted(model: Any) -> Grid:  # noqa: ANN401  (ModelSpec)
    counts = model.parameters()
    rows: list[tuple[Cell, ...]] = [
        ("parameters, all", f"{counts.total:,}"),
        ("parameters, active a token", f"{counts.active_per_token:,}"),
        ("parameters, encoders", f"{counts.vision + counts.audio + counts.projector:,}"),
    ]
    rows += [
        (f"KV cache a token, {dtype}", f"{model.kv_bytes_per_token(DTYPE_BYTES[dtype]):,.0f} B")
        for dtype in ("bf16", "fp8")
    ]
    return Grid(("quantity", "value"), tuple(rows), title="Counted from the architecture")
