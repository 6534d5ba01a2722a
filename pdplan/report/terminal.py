"""Blocks as text of a fixed width, or as wide as their numbers need."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pdplan.report.blocks import Block, Grid, Lines
from pdplan.report.numbers import heading, show

WIDTH = 100
"""Columns of a report that goes to a file or a pipe."""

_WRAP_FROM = 22
"""Words in columns wider than this may be wrapped; numbers never are."""
_ROOM = 4000


def terminal(blocks: Sequence[Block], *, width: int = WIDTH, color: bool = False) -> str:
    """Write blocks one under the other; the same blocks give the same text."""
    console = Console(
        file=io.StringIO(),
        width=_ROOM,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    for i, block in enumerate(blocks):
        if i:
            console.print()
        if block.title:
            console.print(Text(block.title, style="bold"))
        if isinstance(block, Lines):
            _lines(console, block, width)
        else:
            _grid(console, block, width)
    assert isinstance(console.file, io.StringIO)
    return "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())


def _lines(console: Console, block: Lines, width: int) -> None:
    hanging = Table.grid(padding=0)
    hanging.add_column(no_wrap=True)
    hanging.add_column(overflow="fold")
    for line in block.lines:
        hanging.add_row("  " if block.title else "", Text(line))
    console.print(hanging, width=width)


def _grid(console: Console, grid: Grid, width: int) -> None:
    table = Table(
        box=None, padding=(0, 1), pad_edge=False, collapse_padding=False, header_style="dim"
    )
    table.add_column("", width=0, no_wrap=True)
    cells = [
        [show(name, value) for name, value in zip(grid.columns, row, strict=True)]
        for row in grid.rows
    ]
    for i, name in enumerate(grid.columns):
        words = not grid.right(i) and max((len(row[i]) for row in cells), default=0) > _WRAP_FROM
        short = name in grid.short
        table.add_column(
            Text(heading(name)),
            justify="right" if grid.right(i) else "left",
            no_wrap=short or not words,
            overflow="ellipsis" if short else "fold",
            min_width=_WRAP_FROM if words else None,
        )
    for row in cells:
        table.add_row("", *(Text(cell) for cell in row))
    shortened = sum(
        max((len(row[i]) for row in cells), default=0) - _WRAP_FROM
        for i, name in enumerate(grid.columns)
        if name in grid.short
    )
    least = Measurement.get(console, console.options, table).minimum - max(0, shortened)
    console.print(table, width=max(width, least))
    if grid.note:
        _lines(console, Lines((grid.note,), "note"), width)
