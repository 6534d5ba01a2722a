"""Simulated requests as CSV, written while they finish: any number of them in bounded memory."""

import contextlib
import csv
import os
import shutil
import stat
import tempfile
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pdplan.errors import Problem, SpecError
from pdplan.report.spreadsheet import cell
from pdplan.simulation.result import RequestRow

ROW_COLUMNS = (*(each.name for each in fields(RequestRow)), "complete")
"""`complete` tells rows of a run that ended from those of one that was interrupted."""


class RowFile:
    """A file of rows that appears, whole, when the run is over; call it with each row.

    `complete` is known at the end only: an interrupted run's rows are copied once, with `false`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.complete = True
        """Whether the run finished; to be set before the file is closed."""

    def __enter__(self) -> Self:
        """Open a file beside the one to be written."""
        target = self._path.resolve()
        found = target.stat().st_mode if target.exists() else None
        self._target, self._mode = target, found
        self._plain = found is None or stat.S_ISREG(found)
        folder = target.parent if self._plain else Path(tempfile.gettempdir())
        self._beside = folder / f".{target.name}.{os.getpid()}.tmp"
        try:
            self._file: IO[str] = self._beside.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise self._problem(error) from None
        self._writer = csv.writer(self._file, lineterminator="\r\n")
        self._values = attrgetter(*ROW_COLUMNS[:-1])
        self._writer.writerow(ROW_COLUMNS)
        return self

    def __call__(self, row: RequestRow) -> None:
        """Write one request."""
        try:
            self._writer.writerow([*map(cell, self._values(row)), "true"])
        except OSError as error:
            raise self._problem(error) from None

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Put the file in its place; after a failure there is none."""
        try:
            self._file.close()
            if kind is None:
                self._finish()
        except OSError as error:
            raise self._problem(error) from None
        finally:
            with contextlib.suppress(OSError):
                self._beside.unlink(missing_ok=True)

    def _finish(self) -> None:
        source = self._beside if self.complete else self._relabelled()
        try:
            if not self._plain:  # a pipe or a device: nothing to replace
                with source.open("rb") as rows, self._target.open("wb") as target:
                    shutil.copyfileobj(rows, target)
                return
            if self._mode is not None:
                source.chmod(stat.S_IMODE(self._mode))
            source.replace(self._target)
        finally:
            with contextlib.suppress(OSError):
                source.unlink(missing_ok=True)

    def _relabelled(self) -> Path:
        """Copy the rows, with `complete` turned to false."""
        copy = self._beside.with_suffix(".part")
        with (
            self._beside.open(encoding="utf-8", newline="") as rows,
            copy.open("w", encoding="utf-8", newline="") as out,
        ):
            reader, writer = csv.reader(rows), csv.writer(out, lineterminator="\r\n")
            writer.writerow(next(reader))
            writer.writerows([*row[:-1], "false"] for row in reader)
        return copy

    def _problem(self, error: OSError) -> SpecError:
        return SpecError(Problem(str(self._path), None, "", f"cannot be written: {error.strerror}"))
