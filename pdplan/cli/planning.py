"""`solve` and `compare`: from a question to a fleet."""

from pathlib import Path
from typing import Annotated

import typer

from pdplan.cli.inputs import Inputs, takes_inputs
from pdplan.cli.output import PANEL, Form, Format, say_grid, say_plan, tell
from pdplan.cli.pages import Page
from pdplan.report import render
from pdplan.report.files import check_writable, write_file

CsvFile = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Also write a CSV.", rich_help_panel=PANEL),
]
PlanFile = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PLAN.yaml",
        help="Also write the plan, for evaluate and explain.",
        rich_help_panel=PANEL,
    ),
]

_SOLVE = """\b
Examples:
  pdplan solve scenario.yaml -o plan.yaml
  pdplan solve --model llama-3.1-70b --hardware h100-sxm --rate 20 \\
      --isl 1500 --osl 250 --ttft 800 --tpot 40 --percentile 99
"""
_COMPARE = """\b
Example:
  pdplan compare scenario.yaml --hardware h100-sxm --hardware l40s --format md
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("solve", cls=Page, epilog=_SOLVE)(takes_inputs(solve))
    app.command("compare", cls=Page, epilog=_COMPARE)(takes_inputs(compare))


def solve(
    inputs: Inputs, form: Form = Format.table, csv: CsvFile = None, output: PlanFile = None
) -> None:
    """Find the cheapest fleet that serves a model within its latency objectives."""
    check_writable(csv, output)
    scenario = inputs.read()
    from pdplan import planner

    plan = planner.solve(scenario)
    say_plan(plan, form)
    if plan.status == "infeasible":
        for path in (csv, output):
            if path is not None:
                tell(f"{path}: not written, for there is no plan")
        raise typer.Exit(1)
    if csv is not None:
        write_file(csv, render.plan_csv(plan))
    if output is not None:
        write_file(output, render.render_plan(plan, "yaml"))


def compare(inputs: Inputs, form: Form = Format.table, csv: CsvFile = None) -> None:
    """Set every placement side by side: what it costs, what it gains, why it loses."""
    check_writable(csv)
    scenario = inputs.read()
    from pdplan import planner
    from pdplan.report.comparison import comparison

    found = planner.compare(scenario)
    grid = comparison(found)
    say_grid(grid, form)
    if all(other.objective is None for other in found):
        if csv is not None:
            tell(f"{csv}: not written, for there is no plan")
        raise typer.Exit(1)
    if csv is not None:
        write_file(csv, render.csv_grid(grid))
