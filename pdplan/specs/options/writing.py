"""Options written back as the plain data of their YAML keys."""

from typing import Any, get_args

from pydantic import BaseModel

from pdplan.specs.base import dimension_of

UNITS = {
    "bytes": "B",
    "bytes_per_s": "B/s",
    "flops_per_s": "FLOP/s",
    "s": "s",
    "rps": "req/s",
    "usd_per_hour": "USD/h",
    "usd": "USD",
    "w": "W",
    "hz": "Hz",
    "pixels": "px",
}


def written(spec: BaseModel) -> dict[str, Any]:
    """What differs from the defaults; quantities with their units, to the last digit."""
    found: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if value is None or (not field.is_required() and value == field.get_default()):
            continue
        found[name] = _plain(value, _unit(field.annotation, field.metadata))
    return found


def _plain(value: Any, unit: str | None) -> Any:  # noqa: ANN401  (whatever a spec holds)
    if isinstance(value, BaseModel):
        return written(value)
    if isinstance(value, dict):
        return {key: _plain(item, unit) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item, unit) for item in value]
    if unit is not None and isinstance(value, float | int) and not isinstance(value, bool):
        return f"{float(value)!r} {unit}".replace(".0 ", " ")
    return value


def _unit(annotation: Any, metadata: list[Any]) -> str | None:  # noqa: ANN401
    """Unit in which a field's numbers are written, if they take one."""
    for item in (*metadata, *(m for arg in get_args(annotation) for m in _marks(arg))):
        dimension = dimension_of(item)
        if dimension is not None:
            return UNITS[dimension]
    return None


def _marks(annotation: Any) -> list[Any]:  # noqa: ANN401
    """Metadata inside an annotation, as in `Seconds | None` or `tuple[Seconds, ...]`."""
    found = list(getattr(annotation, "__metadata__", ()))
    for inner in getattr(annotation, "__args__", ()):
        found += _marks(inner)
    return found
