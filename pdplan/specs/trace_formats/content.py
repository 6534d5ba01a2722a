"""A trace file as rows of cells: CSV, JSON lines or one JSON value, gzipped or not.

CSV and JSON lines are read row by row, so that a file may be larger than memory.
"""

import csv
import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from pdplan.errors import Problem, SpecError

MAX_LINE = 64_000_000
"""Characters of a line."""
MAX_JSON = 256_000_000
"""Characters of a file that is one JSON value, which is held in memory."""
GZIP = b"\x1f\x8b"

Where = int | str
"""Line of a file, or place in a JSON value."""
Cells = Sequence[str] | Mapping[str, Any]
Pick = Callable[[Any], Any]
"""Cell of a row; None where there is none."""


@dataclass(frozen=True, slots=True)
class Content:
    """Rows of a file, to be read once, and the names of their cells."""

    source: str
    kind: Literal["csv", "json"]
    names: tuple[str, ...]
    rows: Iterator[tuple[Where, Any]]

    def pick(self, *names: str) -> Pick | None:
        """Function that takes the cell of the first of some names; None if none is there."""
        if not any(name in self.names for name in names):
            return None
        if self.kind == "json":
            return lambda row: next((row[name] for name in names if name in row), None)
        place = next(self.names.index(name) for name in names if name in self.names)
        return lambda row: row[place] if place < len(row) else None

    def need(self, *names: str) -> Pick:
        """Take as `pick` does; raises SpecError if none is there."""
        found = self.pick(*names)
        if found is None:
            message = f"has no column {' or '.join(names)}; found {', '.join(self.names)}"
            raise SpecError(Problem(self.source, None, "", message))
        return found


@contextmanager
def open_content(path: Path) -> Iterator[Content]:
    """Open a trace; raises SpecError, also while its rows are read."""
    name = str(path)
    if path.exists() and not path.is_file():
        message = "cannot be read as a trace: is not a file"
        raise SpecError(Problem(name, None, "", message))
    try:
        with _text(path) as lines:
            yield _content(name, lines)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SpecError(Problem(name, None, "", _reason(error))) from None


def _reason(error: Exception) -> str:
    if isinstance(error, gzip.BadGzipFile | zlib.error | EOFError):
        return "is not a whole gzip file"
    if isinstance(error, OSError):
        missing = isinstance(error, FileNotFoundError)
        return f"cannot be read as a trace: {'no such file' if missing else error.strerror}"
    return "is not UTF-8 text"


def _text(path: Path) -> IO[str]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _content(name: str, file: IO[str]) -> Content:
    lines = _lines(name, file)
    first = next((pair for pair in lines if pair[1].strip()), None)
    if first is None:
        raise SpecError(Problem(name, None, "", "is empty; expected requests"))
    lines = itertools.chain([first], lines)
    if first[1].lstrip()[0] in "{[":
        return _json(name, first, lines)
    rows = _csv_rows(name, lines)
    _, header = next(rows)
    return Content(name, "csv", tuple(cell.strip() for cell in header), rows)


def _lines(name: str, file: IO[str]) -> Iterator[tuple[int, str]]:
    for number in itertools.count(1):
        text = file.readline(MAX_LINE)
        if not text:
            return
        if len(text) == MAX_LINE:
            message = f"a line of more than {MAX_LINE} characters is not read"
            raise SpecError(Problem(name, number, "", message))
        yield number, text


def _csv_rows(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[Where, list[str]]]:
    last = 0

    def texts() -> Iterator[str]:
        nonlocal last
        for number, text in lines:
            last = number
            yield text

    reader = csv.reader(texts())
    try:
        for row in reader:
            if row:
                yield last, row
    except csv.Error as error:
        raise SpecError(Problem(name, last, "", f"is not valid CSV: {error}")) from None


def _json(name: str, first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> Content:
    head = _loaded(first[1])
    if isinstance(head, dict) and len(head) > 0:
        return Content(name, "json", tuple(head), _json_rows(name, lines))
    value = _loaded(_whole(name, lines))
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, dict) for item in items):
        message = "is neither JSON objects, one a line, nor a JSON object or list of objects"
        raise SpecError(Problem(name, None, "", message))
    several = isinstance(value, list)
    rows = ((f"[{i}]" if several else 1, item) for i, item in enumerate(items))
    return Content(name, "json", tuple(items[0]), rows)


def _whole(name: str, lines: Iterator[tuple[int, str]]) -> str:
    parts, size = [], 0
    for _, text in lines:
        parts.append(text)
        size += len(text)
        if size > MAX_JSON:
            message = (
                f"is one JSON value of more than {MAX_JSON} characters; write one request a line"
            )
            raise SpecError(Problem(name, None, "", message))
    return "".join(parts)


def _json_rows(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[Where, Any]]:
    for number, text in lines:
        if not text.strip():
            continue
        row = _loaded(text)
        if not isinstance(row, dict):
            raise SpecError(Problem(name, number, "", "is not a JSON object on one line"))
        yield number, row


def _loaded(text: str) -> Any:  # noqa: ANN401  (JSON holds anything)
    """Read JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
