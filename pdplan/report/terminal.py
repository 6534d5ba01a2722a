"""Blocks as text of a fixed width, or as wide as their numbers need: numbers are never wrapped."""

import textwrap
from collections.abc import Sequence

from pdplan.report.blocks import Block, Grid, Lines
from pdplan.report.numbers import heading, shortened, show

WIDTH = 100
"""Columns of a report that goes to a file or a pipe."""

_WORDS_FROM = 26
"""Columns of words may be made as narrow as this, and no narrower."""
_GAP = "  "
_STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "end": "\x1b[0m"}


def terminal(blocks: Sequence[Block], *, width: int = WIDTH, color: bool = False) -> str:
    """Write blocks one under the other; the same blocks give the same text."""
    parts = []
    for block in blocks:
        lines = _lines(block, width) if isinstance(block, Lines) else _grid(block, width, color)
        if block.title:
            lines = [_styled(block.title, "bold", color), *(_GAP + line for line in lines)]
        parts.append("".join(line.rstrip() + "\n" for line in lines))
    return "\n".join(parts)


def _styled(text: str, style: str, color: bool) -> str:
    return f"{_STYLES[style]}{text}{_STYLES['end']}" if color and text else text


def _lines(block: Lines, width: int) -> list[str]:
    room = width - len(_GAP) if block.title else width
    return [part for line in block.lines for part in _wrapped(line, room)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _grid(grid: Grid, width: int, color: bool) -> list[str]:
    room = width - len(_GAP) if grid.title else width
    cells = [
        [show(name, value) for name, value in zip(grid.columns, row, strict=True)]
        for row in grid.rows
    ]
    widths = _widths(grid, cells, room)
    heads = [_wrapped(heading(n), w) for n, w in zip(grid.columns, widths, strict=True)]
    depth = max(len(head) for head in heads)
    low = [[""] * (depth - len(head)) + head for head in heads]
    lines = [_styled(line, "dim", color) for line in _laid(grid, low, widths)]
    for row in cells:
        parts = [
            [shortened(cell, w)] if name in grid.short else _wrapped(cell, w)
            for cell, w, name in zip(row, widths, grid.columns, strict=True)
        ]
        lines += _laid(grid, parts, widths)
    return lines + (_wrapped(grid.note, room) if grid.note else [])


def _laid(grid: Grid, parts: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Set the lines of a row's cells side by side."""
    depth = max(len(part) for part in parts)
    found = []
    for i in range(depth):
        texts = [part[i] if i < len(part) else "" for part in parts]
        aligned = [
            text.rjust(w) if grid.right(column) else text.ljust(w)
            for column, (text, w) in enumerate(zip(texts, widths, strict=True))
        ]
        found.append(_GAP.join(aligned).rstrip())
    return found


def _widths(grid: Grid, cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """Give numbers what they need, and share the rest among columns of words."""
    heads = [heading(name) for name in grid.columns]
    natural = [max((len(row[i]) for row in cells), default=0) for i in range(len(heads))]
    words = [
        not grid.right(i) and (wide > _WORDS_FROM or grid.columns[i] in grid.short)
        for i, wide in enumerate(natural)
    ]
    gaps = len(_GAP) * (len(heads) - 1)
    least = [min(n, _WORDS_FROM) if w else n for n, w in zip(natural, words, strict=True)]
    whole = [max(n, len(head)) for n, head in zip(least, heads, strict=True)]
    split = [max(n, *map(len, head.split())) for n, head in zip(least, heads, strict=True)]
    found = whole if sum(whole) + gaps <= room else split
    spare = room - gaps - sum(found)
    wide = [i for i, w in enumerate(words) if w]
    wide.sort(key=lambda i: (grid.columns[i] in grid.short, natural[i]))
    for at, i in enumerate(wide):
        left = sum(1 for j in wide[at:] if grid.columns[j] not in grid.short) or 1
        more = max(0, min(natural[i] - found[i], spare // left))
        found[i] += more
        spare -= more
    return found
