"""An engine profile as the text of its YAML file."""

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pdplan.specs.base import Bytes, Seconds
from pdplan.specs.engine import EngineSpec

DIGITS = 3
"""Significant digits of a constant: more than any fit tells."""


def profile_text(engine: EngineSpec) -> str:
    """Write a profile so that it reads back the same."""
    text: str = yaml.dump(
        _mapping(engine), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Short mappings of numbers on one line."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: Any = None) -> Any:  # noqa: ANN401
        node = super().represent_mapping(tag, mapping, flow_style)
        plain = all(isinstance(value, yaml.ScalarNode) for _, value in node.value)
        node.flow_style = plain and len(node.value) > 0 and _short(mapping)
        return node


def _short(mapping: Mapping[Any, Any]) -> bool:
    return all(len(str(value)) < 12 for value in mapping.values()) and not any(
        isinstance(value, bool) for value in mapping.values()
    ) and len(str(mapping)) < 90  # fmt: skip


def _mapping(spec: BaseModel) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if not field.is_required() and value == field.get_default(call_default_factory=True):
            continue
        found[name] = _value(value, field)
    return found


def _value(value: Any, field: FieldInfo) -> Any:  # noqa: ANN401  (what YAML holds)
    if isinstance(value, BaseModel):
        return _mapping(value)
    if isinstance(value, Mapping):
        return {key: _value(one, field) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(one, field) for one in value]
    if isinstance(value, float):
        if _has(field, Seconds):
            return seconds_text(value)
        if _has(field, Bytes):
            return f"{_rounded(value / 1e9)} GB"
        return _rounded(value)
    return value


def _has(field: FieldInfo, kind: Any) -> bool:  # noqa: ANN401  (an annotated type)
    (quantity,) = kind.__metadata__
    inner = getattr(field.annotation, "__args__", ())
    return quantity in field.metadata or any(
        quantity in getattr(one, "__metadata__", ()) for one in inner
    )


def seconds_text(value: float) -> str:
    """Write a time with its unit.

    >>> seconds_text(4.7e-5), seconds_text(0.0005), seconds_text(0.015)
    ('47 us', '500 us', '15 ms')
    """
    unit, scale = ("us", 1e6) if value < 1e-3 else ("ms", 1e3) if value < 1 else ("s", 1.0)
    return f"{_rounded(value * scale):g} {unit}"


def _rounded(value: float) -> float:
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) >= 10 else rounded
