"""YAML files as plain data that remembers its lines, read defensively.

Size, depth and node count are bounded, so that a hostile or broken file (huge, self-referencing,
alias bombs) ends in a message and not in an exhausted machine.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pdplan.errors import Problem, SpecError

MAX_FILE_BYTES = 16_000_000
MAX_NODES = 200_000
MAX_DEPTH = 50

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data with the line of every key."""

    name: str
    data: Any
    lines: dict[Key, int] = field(default_factory=dict)

    def line(self, key: Key) -> int | None:
        """Line of a key, or of its nearest parent that has one."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key)

    def problem(self, key: Key, message: str) -> Problem:
        """Describe one defect at one key."""
        return Problem(self.name, self.line(key), dotted(key), message)


def dotted(key: Key) -> str:
    """Write a key path as people do: `pools[0].tp`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_text(path: Path) -> str:
    """Read a text file of bounded size; raises SpecError."""
    try:
        if path.is_dir():
            raise SpecError(Problem(str(path), None, "", "is a folder; expected a file"))
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            message = f"is {size} bytes; at most {MAX_FILE_BYTES} are read"
            raise SpecError(Problem(str(path), None, "", message))
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_FILE_BYTES + 1)  # a pipe or a device says nothing of its size
    except FileNotFoundError:
        raise SpecError(Problem(str(path), None, "", "no such file")) from None
    except UnicodeDecodeError:
        raise SpecError(Problem(str(path), None, "", "is not UTF-8 text")) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise SpecError(Problem(str(path), None, "", message)) from None
    if len(text) > MAX_FILE_BYTES:
        message = f"is larger than {MAX_FILE_BYTES} bytes; no more are read"
        raise SpecError(Problem(str(path), None, "", message))
    return text


def load_yaml(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping; raises SpecError."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, name: str) -> Document:
    """Read YAML text whose top level is a mapping; raises SpecError."""
    loader = _LOADER(text)
    try:
        _check_size(text, name)
        node = loader.get_single_node()
        if node is None:
            raise SpecError(Problem(name, None, "", "is empty; expected a mapping of keys"))
        document = _Reader(name, loader).document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark is not None else None
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise SpecError(Problem(name, line, "", f"is not valid YAML: {what}")) from None
    except (yaml.YAMLError, RecursionError) as error:
        message = f"is not valid YAML: {str(error).splitlines()[0]}"
        raise SpecError(Problem(name, None, "", message)) from None
    finally:
        loader.dispose()
    if not isinstance(document.data, dict):
        message = f"expected a mapping of keys; got {shown(document.data)}"
        raise SpecError(Problem(name, node.start_mark.line + 1, "", message))
    return document


def shown(value: object) -> str:
    """Write a value found in a file as its author knows it, shortened."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _too_many() -> str:
    return f"holds more than {MAX_NODES} values, aliases counted each time"


def _too_deep() -> str:
    return f"is nested deeper than {MAX_DEPTH} levels"


def _check_size(text: str, name: str) -> None:
    """Refuse what is too deep or too long before the (recursive) composer sees it."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH or nodes > 2 * MAX_NODES:
            message = _too_deep() if depth > MAX_DEPTH else _too_many()
            line = event.start_mark.line + 1 if event.start_mark is not None else None
            raise SpecError(Problem(name, line, "", message))


class _Reader:
    """Turns YAML nodes into plain data, counting as it goes."""

    def __init__(self, name: str, loader: Any) -> None:  # noqa: ANN401  (PyYAML has no type for it)
        self.name = name
        self.loader = loader
        self.lines: dict[Key, int] = {}
        self.nodes = 0
        self.open: set[int] = set()

    def document(self, node: yaml.Node) -> Document:
        return Document(self.name, self.value(node, ()), self.lines)

    def fail(self, node: yaml.Node, key: Key, message: str) -> SpecError:
        return SpecError(Problem(self.name, node.start_mark.line + 1, dotted(key), message))

    def value(self, node: yaml.Node, key: Key) -> Any:  # noqa: ANN401  (YAML holds anything)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.fail(node, key[:1], _too_many())
        if len(key) > MAX_DEPTH:
            raise self.fail(node, key[:1], _too_deep())
        if id(node) in self.open:
            raise self.fail(node, key, "refers to itself")
        self.lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, key)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*key, i)) for i, item in enumerate(node.value)]
            return self.mapping(node, key)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.Node, key: Key) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name_node, value_node in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise self.fail(name_node, key, "a key must be plain text")
            name = str(name_node.value)
            if name in found:
                raise self.fail(name_node, (*key, name), "is given twice")
            self.lines[(*key, name)] = name_node.start_mark.line + 1
            found[name] = self.value(value_node, (*key, name))
        return found

    def scalar(self, node: yaml.ScalarNode, key: Key) -> str | int | float | bool | None:
        kind = node.tag.rpartition(":")[2]
        if kind in ("str", "timestamp"):
            return str(node.value)
        if kind not in ("int", "float", "bool", "null"):
            raise self.fail(node, key, f"has the unsupported YAML tag '{node.tag}'")
        try:
            value: str | int | float | bool | None = self.loader.construct_object(node)
        except (ValueError, OverflowError):
            raise self.fail(node, key, f"'{node.value[:40]}' is not a number") from None
        return value
