"""`validate`: an engine profile scored on measurements."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdplan.cli.hints import takes_hints
from pdplan.cli.inputs import SpecsDir, check_folder
from pdplan.cli.measurements import (
    Files,
    check_columns,
    read_files,
    read_percent,
    some,
    tell_impossible,
)
from pdplan.cli.output import PANEL, Form, Format, say, say_blocks, say_grid, tell
from pdplan.cli.pages import Page
from pdplan.errors import SpecError
from pdplan.report import render
from pdplan.report.files import check_writable, write_file

if TYPE_CHECKING:
    from pdplan.calibration.validation import Validation

_VALIDATE = """\b
Examples:
  pdplan validate bench.json --model llama-3.1-8b --hardware h100-sxm
  pdplan validate points.csv --engine mine.yaml --by tp --max-mape 15 --plot fit.html
\b
Exit code 1 where an output's mean error over everything is above --max-mape.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("validate", cls=Page, epilog=_VALIDATE)(takes_hints(validate))


def validate(
    files: Files = None,
    hints: dict[str, str] = {},  # noqa: B006  (given by the flags)
    engine: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Profile; default what rows say, else vllm."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Group by a column of predict or generation; repeatable; "
            "default model, hardware, engine.",
        ),
    ] = None,
    max_mape: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="Exit 1 where the mean error is above, as 15."),
    ] = None,
    specs: SpecsDir = None,
    form: Form = Format.table,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Also write every point, measured and predicted.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.html",
            help="Also draw predicted against measured.",
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """Score an engine profile on measurements."""
    check_writable(csv, plot)
    check_folder(specs)
    most = read_percent("--max-mape", max_mape) if max_mape is not None else None
    columns = by or ["model", "hardware", "engine"]
    check_columns("--by", columns)
    if plot is not None:
        from pdplan.report.scatter import check_plotly

        check_plotly("--plot")
    measured = read_files(files or [], hints, specs)
    from pdplan.calibration.predictable import predictable
    from pdplan.calibration.validation import validation

    if engine is not None:
        from pdplan.specs.engine import load_engine

        load_engine(engine, specs)
    usable = predictable(measured, engine or "", specs)
    if not len(usable.data):
        message = "no measurement could be predicted:"
        raise SpecError(message, *some(usable.others))
    tell_impossible(usable.data)
    found = validation(usable, columns)
    _say_validation(found, form)
    if csv is not None:
        from pdplan.report.validation import points_grid

        write_file(csv, render.csv_grid(points_grid(found)))
    if plot is not None:
        from pdplan.report.scatter import scatter_html

        write_file(plot, scatter_html(found))
    worse = found.above(most) if most is not None else []
    for score in worse:
        tell(f"{score.output}: MAPE {100 * score.mape:.1f} % is above --max-mape {max_mape}")
    if worse:
        raise typer.Exit(1)


def _say_validation(found: "Validation", form: Format) -> None:
    from pdplan.report import validation as report

    if form in (Format.json, Format.yaml):
        say(render.render_data(report.validation_data(found), form.value))
    elif form is Format.csv:
        say_grid(report.scores_grid(found), form)
    else:
        say_blocks(report.validation_blocks(found), form)
