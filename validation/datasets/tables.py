"""The folder of public measurements, and rows of its tables."""

import csv
from collections.abc import Mapping
from pathlib import Path

from pdplan.calibration.formats.row import Measured

SHARED = Path(__file__).parents[2].parent / "shared"
DATA = SHARED / "data"

Row = dict[str, str]


def table(path: str) -> list[Row]:
    """Rows of a CSV file below the data folder."""
    with (DATA / path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measured(source: str, line: int, row: Mapping[str, object], **values: float) -> Measured:
    """One measurement, its inputs as text."""
    return Measured({name: str(value) for name, value in row.items()}, values, source, line)
