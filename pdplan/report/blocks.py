"""What a report is made of, before anyone says how it looks."""

from dataclasses import dataclass

Cell = str | float | bool | None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table whose columns are named as in CSV and JSON; cells are raw values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    note: str = ""
    short: frozenset[str] = frozenset()
    """Columns that are cut to one line in table and Markdown; data formats hold them whole."""

    def records(self) -> list[dict[str, Cell]]:
        """Rows as mappings."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def right(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return any(isinstance(r[column], int | float) for r in self.rows) and not any(
            isinstance(row[column], bool) for row in self.rows
        )


@dataclass(frozen=True, slots=True)
class Lines:
    """A few sentences under a title; without a title they open the report."""

    lines: tuple[str, ...]
    title: str = ""


Block = Grid | Lines
