"""`simulate`: a fleet's requests one by one, beside what the closed form says of them."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdplan.cli.fleet import PlanArgument, read_rate
from pdplan.cli.inputs import SpecsDir, check_folder
from pdplan.cli.output import PANEL, Form, Format, say, say_blocks, say_grid, tell
from pdplan.cli.pages import Page
from pdplan.cli.planning import CsvFile, read_whole
from pdplan.cli.progress import Watch
from pdplan.errors import Problem, SpecError
from pdplan.report import render
from pdplan.report.files import check_writable, write_file

if TYPE_CHECKING:
    from pdplan.report.parts import Parts
    from pdplan.report.row_file import RowFile
    from pdplan.report.simulation import Check
    from pdplan.simulation.result import RequestRow
    from pdplan.specs.plan_file import PlanSpec

LEAST_REQUESTS = 100
INTERRUPTED = 130

_SIMULATE = """\b
Examples:
  pdplan simulate plan.yaml
  pdplan simulate plan.yaml --requests 200000 --seed 7 --rows requests.csv
  pdplan simulate plan.yaml --trace monday.csv --rate 30
  pdplan simulate plan.yaml --concurrency 64
\b
Ctrl-C ends the run early: what ran is printed and written, labelled as a part,
and the exit code is 130.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate", cls=Page, epilog=_SIMULATE)(simulate)


def simulate(
    plan: PlanArgument,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Replay a recorded trace: arrivals and lengths."),
    ] = None,
    requests: Annotated[
        str | None, typer.Option(metavar="N", help="Random requests, 100 or more.")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="S", help="Of the random requests; default 1.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Requests a second; default the plan's, or the trace's."),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="N", help="Closed loop: so many requests are always in the fleet."),
    ] = None,
    specs: SpecsDir = None,
    form: Form = Format.table,
    csv: CsvFile = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows",
            metavar="FILE.csv",
            help="Also write every request: lengths, waits, latencies.",
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """Simulate a fleet request by request, and name the gap to the closed form."""
    if trace is not None:
        for flag, value in (("--requests", requests), ("--seed", seed)):
            if value is not None:
                raise _wrong(flag, "cannot be combined with --trace")
    if concurrency is not None:
        for flag, other in (("--trace", trace), ("--rate", rate)):
            if other is not None:
                raise _wrong(flag, "cannot be combined with --concurrency")
    in_flight = None if concurrency is None else read_whole("--concurrency", concurrency, 1)
    count = None if requests is None else read_whole("--requests", requests, LEAST_REQUESTS)
    start = 1 if seed is None else read_whole("--seed", seed, 0)
    rps = read_rate("--rate", rate) if rate is not None else None
    check_writable(csv, rows)
    check_folder(specs)
    from pdplan.specs.plan_file import load_plan

    fleet = load_plan(plan, specs)
    check = _run(fleet, trace, count, start, rps, rows, in_flight)
    _say(check, form)
    if csv is not None:
        from pdplan.report.simulation import gap_grid

        write_file(csv, render.csv_grid(gap_grid(check)))
    if not check.run.complete:
        from pdplan.report.simulation import interrupted

        tell(interrupted(check))
        raise typer.Exit(INTERRUPTED)


def _run(
    fleet: "PlanSpec",
    trace: Path | None,
    requests: int | None,
    seed: int,
    rate: float | None,
    rows: Path | None,
    concurrency: int | None,
) -> "Check":
    from pdplan import planner
    from pdplan.report.parts import Parts
    from pdplan.report.row_file import RowFile
    from pdplan.report.simulation import Check

    asked = fleet if rate is None else _at_rate(fleet, rate)
    closed, loop = planner.evaluate(asked), {}
    if concurrency is not None:
        closed, loop = planner.evaluate_closed(asked, concurrency), {"concurrency": concurrency}
    speed = 1.0
    if trace is not None and rate is not None:
        from pdplan.planner.trace_rate import trace_rate_rps

        speed = rate / trace_rate_rps(trace)
    watch, parts = Watch(), Parts()
    with RowFile(rows) if rows is not None else nullcontext() as file:
        with watch.shown():
            run = planner.simulate(
                asked,
                requests=requests,
                trace=trace,
                trace_speed=speed,
                seed=seed,
                progress=watch,
                rows=_both(parts, file),
                **loop,
            )
        if file is not None:
            file.complete = run.complete
    if trace is not None and run.rate_rps > 0:
        closed = planner.evaluate(asked, rate_rps=run.rate_rps)
    return Check(
        plan=closed,
        run=run,
        wanted=watch.total or requests,
        trace=None if trace is None else trace.name,
        parts_s=parts.means_s(),
        planned_tokens=_mean_tokens(asked),
        seen_tokens=parts.mean_tokens(),
    )


def _both(parts: "Parts", file: "RowFile | None") -> "Callable[[RequestRow], None]":
    if file is None:
        return parts

    def each(row: "RequestRow") -> None:
        parts(row)
        file(row)

    return each


def _mean_tokens(fleet: "PlanSpec") -> tuple[float, float] | None:
    """Mean prompt and answer of a plan's workload; None where media add tokens to the text."""
    traffic = fleet.traffic
    if traffic.has_media:
        return None
    return float(traffic.weight @ traffic.text_tokens), traffic.output_mean


def _at_rate(fleet: "PlanSpec", rate: float) -> "PlanSpec":
    """Give a plan file another rate: that of the busiest time of day."""
    traffic = replace(fleet.traffic, rate_rps=rate)
    workload = fleet.workload.model_copy(update={"rate": traffic.mean_rate_rps})
    return replace(fleet, traffic=traffic, workload=workload)


def _say(check: "Check", form: Format) -> None:
    from pdplan.report import simulation as report

    if form in (Format.json, Format.yaml):
        say(render.render_data(report.simulation_data(check), form.value))
    elif form is Format.csv:
        say_grid(report.gap_grid(check), form)
    else:
        say_blocks(report.simulation_blocks(check), form)


def _wrong(flag: str, message: str) -> SpecError:
    return SpecError(Problem("command line", None, flag, message))
