"""A CSV file with a header, every row with its line."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pdplan.calibration.formats.format import Part
from pdplan.errors import Problem, SpecError
from pdplan.specs.source import shown


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of text."""

    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]


def header_part(name: str, text: str) -> Part:
    """Read the header of CSV text, by which its format is known; raises SpecError."""
    _, cells = next(_lines(name, text), (1, []))
    return Part("csv", tuple(cell.strip() for cell in cells), text, name)


def table(part: Part) -> Table:
    """Read the rows too; raises SpecError with the line that is broken."""
    columns, lines = part.names, _lines(part.source, part.value)
    first, _ = next(lines)
    twice = [column for i, column in enumerate(columns) if column in columns[:i] and column]
    if twice:
        raise SpecError(Problem(part.source, first, "", f"column {shown(twice[0])} is named twice"))
    rows: list[tuple[int, Mapping[str, str]]] = []
    for line, cells in lines:
        if len(cells) > len(columns):
            raise SpecError(Problem(part.source, line, "", "has more cells than the header"))
        rows.append((line, dict(zip(columns, cells, strict=False))))
    if not rows:
        raise SpecError(Problem(part.source, None, "", "has no rows below its header"))
    return Table(part.source, columns, tuple(rows))


def _lines(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Cells of every line that has any."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        line = reader.line_num + 1  # it counts those read in full
        raise SpecError(Problem(name, line, "", f"is not valid CSV: {error}")) from None
