"""Cells as numbers and times, with errors that name their place."""

import math
from datetime import UTC, datetime

from pdplan.specs.trace_formats.content import Content, Where
from pdplan.specs.trace_formats.request import wrong

MOST = 10**9
"""Of any count."""
_EPOCH_UNITS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Times since 1970 from these values on are in nano-, micro- and milliseconds."""


def number(content: Content, where: Where, name: str, cell: object) -> float:
    """Read a finite number of at least 0; raises SpecError."""
    try:
        value = math.nan if isinstance(cell, bool) else float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        shown = "nothing" if cell is None or cell == "" else repr(cell)[:40]
        raise wrong(content, where, name, f"must be a finite number; got {shown}")
    if value < 0:
        raise wrong(content, where, name, f"must be at least 0; got {value:g}")
    return value


def count(content: Content, where: Where, name: str, cell: object) -> int:
    """Read a whole number from 0 to 10^9; raises SpecError."""
    value = number(content, where, name, cell)
    if value != int(value) or value > MOST:
        message = f"must be a whole number of at most {MOST:,}; got {value:g}"
        raise wrong(content, where, name, message)
    return int(value)


def seconds(content: Content, where: Where, name: str, cell: object) -> float:
    """Read a time: seconds, a number since 1970 in any unit, or an ISO 8601 date; UTC if unsaid.

    A number is in seconds below 10^11; larger ones are times since 1970 in ms, us or ns.
    """
    if isinstance(cell, str) and not cell.replace(".", "", 1).strip().isdigit():
        try:
            return date_s(cell)
        except ValueError:
            pass
    value = number(content, where, name, cell)
    return value * next((unit for least, unit in _EPOCH_UNITS if value >= least), 1.0)


def date_s(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 date, UTC where it names no zone; ValueError if it is none.

    >>> date_s("2023-11-16 18:17:03.9799600"), date_s("2024-05-10 00:00:00.5+00:00")
    (1700158623.97996, 1715299200.5)
    """
    found = datetime.fromisoformat(text.strip())
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
