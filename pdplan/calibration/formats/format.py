"""What a format is: the names that tell it, and the function that reads it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pdplan.calibration.formats.row import Measured

TOTAL_OUTPUT = "output_tokens_per_s"
"""Output tokens of the whole instance, which become those of one accelerator."""

NAMES_OF = {"json": "keys", "csv": "columns", "npz": "arrays", "text": "lines"}


@dataclass(frozen=True, slots=True)
class Part:
    """What one reader reads: an object, a table, a set of arrays or a text."""

    kind: str
    names: tuple[str, ...]
    value: Any
    """`Node`, `Table`, a mapping of arrays or text, by kind."""
    source: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of result file."""

    name: str
    kind: str
    signs: tuple[tuple[str, ...], ...]
    """Sets of names, one of which is there in full; `x*` is any name that begins with x."""
    read: Callable[[Part], list[Measured]]
    needs: tuple[str, ...] = ()
    """Input columns that a row must have although `predict` has a default for them."""

    def fits(self, part: Part) -> bool:
        """Whether a part is of this format."""
        return part.kind == self.kind and any(
            all(_there(name, part.names) for name in sign) for sign in self.signs
        )

    def __str__(self) -> str:
        names = ", ".join(self.signs[0])
        return f"{self.name} ({self.kind} with {names})"


def _there(name: str, names: Collection[str]) -> bool:
    if name.endswith("*"):
        return any(each.startswith(name[:-1]) for each in names)
    return name in names
