"""Blocks as GitHub Markdown."""

from collections.abc import Sequence

from pdplan.report.blocks import Block, Grid, Lines
from pdplan.report.numbers import heading, shortened, show

SHORT = 120
"""Letters of a cell in a column that is kept short."""


def markdown(blocks: Sequence[Block]) -> str:
    """Write blocks as headings, lists and tables."""
    return "\n".join(part for i, block in enumerate(blocks) for part in _block(block, first=i == 0))


def _block(block: Block, *, first: bool) -> list[str]:
    title = [f"**{_escaped(block.title)}**", ""] if block.title else []
    if isinstance(block, Lines):
        mark = "- " if block.title else ""
        lines = [mark + _escaped(line) for line in block.lines]
        if first and lines and not block.title:
            title, lines = [f"### {lines[0]}", ""], lines[1:]
        return [*title, *(line if block.title else f"{line}  " for line in lines), ""]
    note = [_escaped(block.note), ""] if block.note else []
    return [*title, *_table(block), "", *note]


def _table(grid: Grid) -> list[str]:
    rule = ["---:" if grid.right(i) else "---" for i in range(len(grid.columns))]
    rows = [
        [
            shortened(show(n, v), SHORT) if n in grid.short else show(n, v)
            for n, v in zip(grid.columns, row, strict=True)
        ]
        for row in grid.rows
    ]
    head = [heading(name) for name in grid.columns]
    return [_row(head), "|" + "|".join(rule) + "|", *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    for mark in "\\|<*`":
        text = text.replace(mark, "\\" + mark)
    return text
