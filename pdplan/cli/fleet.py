"""`evaluate` and `explain`: what a given fleet does."""

from pathlib import Path
from typing import Annotated

import typer

from pdplan.cli.inputs import SpecsDir, check_folder
from pdplan.cli.output import Form, Format, say, say_blocks, say_grid, say_plan
from pdplan.cli.pages import Page
from pdplan.cli.planning import CsvFile, read_whole
from pdplan.errors import Problem, SpecError
from pdplan.report import render
from pdplan.report.files import check_writable, write_file
from pdplan.units import parse_quantity

PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN.yaml", help="From `solve -o`, or written by hand.")
]

_EVALUATE = """\b
Examples:
  pdplan evaluate plan.yaml --rate 30
  pdplan evaluate plan.yaml --rates 10,20,30 --format csv
  pdplan evaluate plan.yaml --max-rate
  pdplan evaluate plan.yaml --concurrency 64
  pdplan evaluate plan.yaml --rate 90 --requests 1000
\b
A rate that a fleet cannot keep up with has no steady state: --requests N then
tells what the first N requests of an empty fleet see.
"""
_EXPLAIN = """\b
Example:
  pdplan explain plan.yaml --format md
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("evaluate", cls=Page, epilog=_EVALUATE)(evaluate)
    app.command("explain", cls=Page, epilog=_EXPLAIN)(explain)


def evaluate(
    plan: PlanArgument,
    rate: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Requests a second; default the plan's.")
    ] = None,
    rates: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Several rates, a row each.")
    ] = None,
    max_rate: Annotated[
        bool, typer.Option("--max-rate", help="The largest rate that keeps the objectives.")
    ] = False,
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="N", help="Closed loop: so many requests are always in the fleet."),
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option(metavar="N", help="Only the first N requests of a fleet that starts empty."),
    ] = None,
    specs: SpecsDir = None,
    form: Form = Format.table,
    csv: CsvFile = None,
) -> None:
    """Predict what a fleet delivers: percentiles, utilisation, attainment."""
    given = {
        "--rate": rate, "--rates": rates, "--max-rate": max_rate or None,
        "--concurrency": concurrency, "--requests": requests,
    }  # fmt: skip
    _check_combined([name for name, value in given.items() if value is not None])
    asked = [read_rate("--rates", part) for part in rates.split(",")] if rates is not None else []
    one = read_rate("--rate", rate) if rate is not None else None
    in_flight = None if concurrency is None else read_whole("--concurrency", concurrency, 1)
    first = None if requests is None else read_whole("--requests", requests, 1)
    check_writable(csv)
    check_folder(specs)
    from pdplan import planner
    from pdplan.specs.plan_file import load_plan

    fleet = load_plan(plan, specs)
    if asked:
        from pdplan.report.comparison import rates as rate_rows

        found = [planner.evaluate(fleet, rate_rps=each) for each in asked]
        grid = rate_rows(found)
        if form in (Format.json, Format.yaml):
            say(render.render_data([each.to_dict() for each in found], form.value))
        else:
            say_grid(grid, form)
        if csv is not None:
            write_file(csv, render.csv_grid(grid))
        return
    if in_flight is not None:
        answer = planner.evaluate_closed(fleet, in_flight)
    elif first is not None:
        answer = planner.evaluate_first(fleet, first, rate_rps=one)
    elif max_rate:
        answer = planner.max_rate(fleet)
    else:
        answer = planner.evaluate(fleet, rate_rps=one)
    say_plan(answer, form)
    if csv is not None:
        write_file(csv, render.plan_csv(answer))


def _check_combined(flags: list[str]) -> None:
    """Refuse questions that exclude each other; only a rate goes with first requests."""
    if len(flags) > 1 and flags != ["--rate", "--requests"]:
        raise _wrong(flags[1], f"cannot be combined with {flags[0]}")


def explain(
    plan: PlanArgument,
    specs: SpecsDir = None,
    form: Form = Format.table,
    csv: CsvFile = None,
) -> None:
    """Say where a fleet's time and money go, what binds it, and what would change that."""
    check_writable(csv)
    check_folder(specs)
    from pdplan import planner
    from pdplan.report.comparison import explanation, long_rows
    from pdplan.specs.plan_file import load_plan

    found = planner.explain(load_plan(plan, specs))
    if form in (Format.json, Format.yaml):
        sections = [
            {"title": s.title, "columns": s.columns, "rows": s.rows, "note": s.note}
            for s in found.sections
        ]
        say(render.render_data({"plan": found.plan.to_dict(), "sections": sections}, form.value))
    elif form is Format.csv:
        say(render.csv_grid(long_rows(found.sections)))
    else:
        say_blocks(explanation(found.plan, found.sections), form)
    if csv is not None:
        write_file(csv, render.csv_grid(long_rows(found.sections)))


def read_rate(flag: str, text: str) -> float:
    """Read requests a second, bare or with a unit; raises SpecError."""
    text = text.strip()
    try:
        float(text)
        text = f"{text} req/s"
    except ValueError:
        pass
    try:
        found = parse_quantity(text, "rps")
    except ValueError as error:
        raise _wrong(flag, str(error)) from None
    if found <= 0:
        raise _wrong(flag, f"must be above 0; got {text}")
    return found


def _wrong(flag: str, message: str) -> SpecError:
    return SpecError(Problem("command line", None, flag, message))
