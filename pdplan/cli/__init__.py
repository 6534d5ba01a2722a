"""The command line: flags in, text out; everything in between lives elsewhere."""

import gc
import os
import sys

gc.disable()  # a short-lived process: collecting while importing costs a tenth of the answer's time
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for them reads every package

import typer  # noqa: E402

from pdplan.cli import calibration, fleet, planning, points, simulation, specs, validation  # noqa: E402
from pdplan.cli.pages import Group  # noqa: E402

app = typer.Typer(
    cls=Group,
    help="How many accelerators, of what kind and in which roles, an LLM service needs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 an answer, 1 no feasible plan or too large an error, 2 bad input.",
)
planning.register(app)
fleet.register(app)
simulation.register(app)
points.register(app)
calibration.register(app)
validation.register(app)
specs.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from pdplan import __version__

        typer.echo(f"pdplan {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", newline="")
    app(prog_name="pdplan")
