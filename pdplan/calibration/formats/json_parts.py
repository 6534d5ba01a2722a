"""JSON results: one object, a list of them, or one object a line."""

import json
from typing import Any

from pdplan.calibration.formats.format import Part
from pdplan.calibration.formats.json_object import Node
from pdplan.errors import Problem, SpecError


def json_parts(name: str, text: str) -> list[Part]:
    """Read one or many objects; raises SpecError with the line that is broken."""
    lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and _whole(lines[0][1]):
        return [_part(name, i, _parsed(name, line, i)) for i, line in lines]
    value = _parsed(name, text, None)
    if not isinstance(value, list):
        return [_part(name, None, value)]
    if not value:
        raise SpecError(Problem(name, None, "", "is an empty list; expected a benchmark result"))
    return [_part(name, None, item) for item in value]


def _whole(line: str) -> bool:
    """Whether a line is an object by itself."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _parsed(name: str, text: str, line: int | None) -> Any:  # noqa: ANN401  (JSON holds anything)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        what = "ends in the middle of its JSON" if cut else f"is not valid JSON: {error.msg}"
        raise SpecError(Problem(name, line or error.lineno, "", what)) from None
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        what = "is nested too deep" if deep else "is not valid JSON: a number is too long"
        raise SpecError(Problem(name, line, "", what)) from None


def _part(name: str, line: int | None, value: object) -> Part:
    if not isinstance(value, dict):
        raise SpecError(Problem(name, line, "", "expected a JSON object of a benchmark result"))
    return Part("json", tuple(value), Node(name, line, value), name, line)
