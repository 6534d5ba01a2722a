"""Columns of numbers from a recorded trace: CSV with a header, or JSON lines."""

import csv
import json
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pdplan.errors import Problem, SpecError

MAX_ROWS = 5_000_000
MAX_LINE = 1_000_000
INPUT_NAMES = ("isl", "ContextTokens", "input_length", "prompt_tokens")
OUTPUT_NAMES = ("osl", "GeneratedTokens", "output_length", "output_tokens")

Row = tuple[int, Sequence[Any] | dict[str, Any]]


def read_trace(
    path: Path, columns: Sequence[Sequence[str]], *, at_least: float = 1.0
) -> "list[array[float]]":
    """Read one array for each wanted column, which goes by the first of its names that is there.

    Raises SpecError for a missing file or column and for values that are no finite number of at
    least `at_least`, with the line of the first.
    """
    if path.exists() and not path.is_file():
        raise _wrong(path, None, "cannot be read as a trace: is not a file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = _json_rows(path, lines) if path.suffix == ".jsonl" else _csv_rows(lines)
            return _columns(path, rows, columns, at_least)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise _wrong(path, None, f"cannot be read as a trace: {reason}") from None
    except UnicodeDecodeError:
        raise _wrong(path, None, "is not UTF-8 text") from None
    except csv.Error as error:
        raise _wrong(path, None, f"is not valid CSV: {error}") from None


def _wrong(path: Path, line: int | None, message: str, key: str = "") -> SpecError:
    return SpecError(Problem(str(path), line, key, message))


def _csv_rows(lines: Iterator[str]) -> Iterator[Row]:
    reader = csv.reader(lines)
    for row in reader:
        if row:
            yield reader.line_num, row


def _json_rows(path: Path, lines: Iterator[str]) -> Iterator[Row]:
    header = False
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text) if len(text) <= MAX_LINE else None
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise _wrong(path, number, "is not a JSON object on one line")
        if not header:
            header = True
            yield number, list(row)
        yield number, row


def _columns(
    path: Path, rows: Iterator[Row], columns: Sequence[Sequence[str]], at_least: float
) -> "list[array[float]]":
    _, header = next(rows, (0, []))
    if not header:
        raise _wrong(path, None, "is empty; expected a header and rows")
    names = [str(name).strip() for name in header]
    chosen = [_chosen(path, names, wanted) for wanted in columns]
    places = [names.index(name) for name in chosen]
    found = [array("d") for _ in columns]
    for count, (line, row) in enumerate(rows, 1):
        if count > MAX_ROWS:
            raise _wrong(path, line, f"has more than {MAX_ROWS} rows")
        for name, place, values in zip(chosen, places, found, strict=True):
            if isinstance(row, dict):
                cell = row.get(name)
            else:
                cell = row[place] if place < len(row) else None
            values.append(_number(path, line, name, cell, at_least))
    if not found[0]:
        raise _wrong(path, None, "has a header but no rows")
    return found


def _chosen(path: Path, names: Sequence[str], wanted: Sequence[str]) -> str:
    name = next((name for name in wanted if name in names), None)
    if name is None:
        message = f"has no column {' or '.join(wanted)}; found {', '.join(names)}"
        raise _wrong(path, None, message)
    return name


def _number(path: Path, line: int, name: str, cell: object, at_least: float) -> float:
    try:
        value = math.nan if isinstance(cell, bool) else float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        shown = "nothing" if cell is None or cell == "" else repr(cell)[:40]
        raise _wrong(path, line, f"must be a finite number; got {shown}", name)
    if value < at_least:
        message = f"must be at least {at_least:g}; got {value:g}; leave such rows out"
        raise _wrong(path, line, message, name)
    return value
