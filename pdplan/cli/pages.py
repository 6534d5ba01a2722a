"""Help pages whose options stand in groups, and failures that end in a message."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pdplan.cli.output import silence_stdout
from pdplan.errors import PdplanError

BROKEN_PIPE = 141


class Page(TyperCommand):
    """A command whose help lists its options by group, in plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  (click or its copy)
        """Write one section a group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                group = getattr(param, "rich_help_panel", None)
                usual = "Arguments" if param.param_type_name == "argument" else "Options"
                groups.setdefault(group or usual, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Group(TyperGroup):
    """The whole program: expected failures become text on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  (click or its copy)
        """Run, and say what went wrong without a traceback."""
        try:
            return super().invoke(ctx)
        except PdplanError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            silence_stdout()
            raise typer.Exit(BROKEN_PIPE) from None
