"""Where text goes: data to stdout, talk to stderr, files in one step."""

import os
import shutil
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pdplan.errors import Problem, SpecError
from pdplan.report import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdplan.plan import Plan
    from pdplan.report.blocks import Block, Grid

PANEL = "Output"


class Format(StrEnum):
    """How data is written."""

    table = "table"
    json = "json"
    csv = "csv"
    yaml = "yaml"
    md = "md"


Form = Annotated[
    Format, typer.Option("--format", "-f", help="How to print the answer.", rich_help_panel=PANEL)
]


def say(text: str) -> None:
    """Write data; raises SpecError where stdout takes no more, as on a full disk."""
    try:
        typer.echo(text, nl=False)
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_stdout()
        message = f"cannot be written: {error.strerror}"
        raise SpecError(Problem("stdout", None, "", message)) from None


def silence_stdout() -> None:
    """Keep the interpreter from failing once more, when it ends, on what stdout did not take."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return


def tell(text: str) -> None:
    """Write talk."""
    typer.echo(text, err=True)


def screen() -> tuple[int | None, bool]:
    """Width and colour of the terminal that stdout is; a file or a pipe has neither."""
    if not sys.stdout.isatty():
        return None, False
    color = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return max(80, shutil.get_terminal_size().columns), color


def say_plan(plan: "Plan", form: Format) -> None:
    """Write a plan."""
    width, color = screen()
    say(render.render_plan(plan, form.value, width=width, color=color))


def say_grid(grid: "Grid", form: Format) -> None:
    """Write a table."""
    width, color = screen()
    say(render.render_grid(grid, form.value, width=width, color=color))


def say_blocks(blocks: "Sequence[Block]", form: Format) -> None:
    """Write a report."""
    width, color = screen()
    say(render.render_blocks(blocks, form.value, width=width, color=color))
