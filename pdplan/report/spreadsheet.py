"""CSV that a spreadsheet opens without surprises: RFC 4180, and no cell is ever a formula."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> str:
    """Write one cell; text that a spreadsheet would run is quoted with an apostrophe.

    >>> cell("=1+1"), cell("-3.5"), cell(-3.5), cell(None), cell(True)
    ("'=1+1", '-3.5', '-3.5', '', 'true')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value).replace("\0", "")
    return "'" + text if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and text == text.strip() and "_" not in text
    except ValueError:
        return False


def csv_rows(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Write rows without a header; absent keys are empty cells."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerows([cell(row.get(name)) for name in columns] for row in rows)
    return buffer.getvalue()


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Write a header and rows."""
    header = csv_rows(columns, [dict(zip(columns, columns, strict=True))])
    return header + csv_rows(columns, rows)
