"""One measurement: what was run, as a row of `predict`, and what came out."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """A row of `predict` with measured outputs beside it."""

    row: Mapping[str, str]
    """Input columns of `predict`, as text."""
    values: Mapping[str, float]
    """Measured output columns of `predict`, SI units."""
    source: str
    line: int | None
