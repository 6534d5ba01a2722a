"""A JSON object of a result file that knows where it stands, read defensively."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pdplan.errors import Problem, SpecError
from pdplan.specs.source import shown


@dataclass(frozen=True, slots=True)
class Node:
    """One object; what is missing or null in it reads as None or as an empty object."""

    source: str
    line: int | None
    data: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""

    def refuse(self, key: str, message: str) -> NoReturn:
        """Raise SpecError for a defect at a key of this object."""
        raise SpecError(Problem(self.source, self.line, self._path(key), message))

    def child(self, *keys: str) -> "Node":
        """Object below a path of keys."""
        node = self
        for key in keys:
            data = node.data.get(key)
            path = node._path(key)
            node = Node(self.source, self.line, data if isinstance(data, dict) else {}, path)
        return node

    def items(self, key: str) -> list["Node"]:
        """Objects of the list at a key; what else is in the list is left out."""
        values = self.data.get(key)
        path = self._path(key)
        return [
            Node(self.source, self.line, value, f"{path}[{i}]")
            for i, value in enumerate(values if isinstance(values, list) else [])
            if isinstance(value, dict)
        ]

    def number(self, *keys: str, scale: float = 1.0) -> float | None:
        """Take the number at the first of the keys that is there, times `scale`."""
        key = next((key for key in keys if self.data.get(key) is not None), None)
        return None if key is None else self._checked(key, self.data[key]) * scale

    def numbers(self, key: str) -> list[float]:
        """Numbers of the list at a key."""
        values = self.data.get(key)
        if not isinstance(values, list):
            return []
        return [self._checked(f"{key}[{i}]", value) for i, value in enumerate(values)]

    def text(self, *keys: str) -> str:
        """Text or number at the first of the keys that is there, else nothing."""
        for key in keys:
            value = self.data.get(key)
            if isinstance(value, str) and value.strip():
                if not value.isprintable():
                    self.refuse(key, f"must be text on one line; got {shown(value)}")
                return value.strip()
            if isinstance(value, int | float) and not isinstance(value, bool):
                return number_text(self._checked(key, value))
        return ""

    def _checked(self, key: str, value: object) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or number < 0:
            message = f"must be a finite number of at least 0; got {shown(value)}"
            self.refuse(key, message)
        return number

    def _path(self, key: str) -> str:
        return f"{self.at}.{key}" if self.at else key


def number_text(value: float) -> str:
    """Write a number as a cell of `predict`.

    >>> number_text(16.0), number_text(293.395809)
    ('16', '293.396')
    """
    return str(int(value)) if value < 1e15 and value == int(value) else f"{value:.6g}"
