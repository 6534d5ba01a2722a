"""`predict`: latencies of many points, a CSV in and a CSV out."""

import csv
import io
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from pdplan.cli.inputs import SpecsDir, check_folder
from pdplan.cli.output import PANEL, Form, Format, say, say_grid
from pdplan.cli.pages import Page
from pdplan.errors import Problem, SpecError
from pdplan.report.blocks import Grid
from pdplan.report.files import check_writable, write_file
from pdplan.report.spreadsheet import csv_rows, csv_text

CHUNK = 20_000
"""Rows that are worked on at once: many enough to be fast, few enough to fit."""

_PREDICT = """\b
Examples:
  pdplan predict points.csv > latencies.csv
  generate-points | pdplan predict - --csv latencies.csv
\b
A point is a row with any of the columns model, hardware, engine, phase
(prefill, decode, encode, transfer, static, serve), tp, pp, ep, dp, batch, isl,
osl, context, ...; a row that cannot be predicted says why in `error`.
serve takes rate or concurrency; a run at a concurrency begins with all of them
at once and sends ten times as many, or `requests` (very many: steady state).
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", cls=Page, epilog=_PREDICT)(predict)


def predict(
    points: Annotated[str, typer.Argument(metavar="POINTS.csv", help="CSV file; - is stdin.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write there and not to stdout.", rich_help_panel=PANEL
        ),
    ] = None,
    specs: SpecsDir = None,
    form: Form = Format.csv,
) -> None:
    """Predict single passes, transfers and loaded instances in bulk."""
    check_writable(output)
    check_folder(specs)
    stream, name = _opened(points)
    with stream:
        _run(_Points(stream, name), output, specs, form)


def _run(points: "_Points", output: Path | None, specs: Path | None, form: Format) -> None:
    from pdplan import planner

    columns = tuple(dict.fromkeys((*points.columns, *planner.PREDICT_OUTPUTS)))
    streaming = form is Format.csv and output is None
    rows = iter(points)
    kept: list[dict[str, Any]] = []
    read = good = 0
    first = ""
    while chunk := list(itertools.islice(rows, CHUNK)):
        found = _predicted(chunk, planner.PREDICT_OUTPUTS, specs)
        first = first or str(found[0].get("error"))
        good += sum(not row.get("error") for row in found)
        if streaming:
            say(csv_rows(columns, found) if read else csv_text(columns, found))
        else:
            kept += found
        read += len(found)
    if not read:
        raise SpecError(Problem(points.name, None, "", "has no rows below its header"))
    if output is not None and good:
        write_file(output, csv_text(columns, kept))
    elif output is None and not streaming:
        cells = tuple(tuple(row.get(column) for column in columns) for row in kept)
        say_grid(Grid(columns, cells), form)
    if not good:
        message = f"no row could be predicted; the first: {first}"
        raise SpecError(Problem(points.name, None, "", message))


def _predicted(
    chunk: list[dict[str, str]], outputs: tuple[str, ...], specs: Path | None
) -> list[dict[str, Any]]:
    """Predict the rows that have as many cells as the header; the others say so."""
    from pdplan import planner

    whole = [row for row in chunk if _EXTRA not in row]
    answers = iter(planner.predict(whole, specs_dir=specs))
    return [
        row | {"error": "has more cells than the header"}
        if _EXTRA in row
        else row | {name: answer.get(name) for name in outputs}
        for row in chunk
        for answer in ([{}] if _EXTRA in row else [next(answers)])
    ]


_EXTRA = "\0extra"


def _opened(points: str) -> tuple[IO[str], str]:
    """Open a file or stdin as text that may begin with a byte order mark; raises SpecError."""
    if points == "-":
        data = sys.stdin.buffer
        return io.TextIOWrapper(data, encoding="utf-8-sig", newline=""), "stdin"
    path = Path(points)
    try:
        if path.is_dir():
            raise SpecError(Problem(points, None, "", "is a folder; expected a file"))
        return path.open(encoding="utf-8-sig", newline=""), points
    except FileNotFoundError:
        raise SpecError(Problem(points, None, "", "no such file")) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise SpecError(Problem(points, None, "", message)) from None


class _Points:
    """Rows of a CSV file; whatever is wrong with the file names it and the line."""

    def __init__(self, stream: IO[str], name: str) -> None:
        self.name = name
        self._reader = csv.DictReader(stream, restkey=_EXTRA, restval="")
        self.columns = tuple(self._guarded(lambda: self._reader.fieldnames) or ())
        twice = [c for i, c in enumerate(self.columns) if c in self.columns[:i]]
        if not self.columns:
            raise SpecError(Problem(name, None, "", "is empty; expected a header line"))
        if twice:
            raise SpecError(Problem(name, 1, "", f"column '{twice[0]}' is named twice"))

    def __iter__(self) -> Iterator[dict[str, str]]:
        while (row := self._guarded(lambda: next(self._reader, None))) is not None:
            yield row

    def _guarded(self, read: Any) -> Any:  # noqa: ANN401  (what the reader gives)
        try:
            return read()
        except UnicodeDecodeError:
            raise SpecError(Problem(self.name, None, "", "is not UTF-8 text")) from None
        except csv.Error as error:
            line = self._reader.line_num + 1  # it counts those read in full
            raise SpecError(Problem(self.name, line, "", f"is not valid CSV: {error}")) from None
