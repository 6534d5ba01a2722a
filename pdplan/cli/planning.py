"""`solve` and `compare`: from a question to a fleet."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdplan.cli.inputs import Inputs, takes_inputs
from pdplan.cli.output import PANEL, Form, Format, say, say_blocks, say_grid, say_plan, tell
from pdplan.cli.pages import Page
from pdplan.errors import Problem, SpecError
from pdplan.report import render
from pdplan.report.files import check_writable, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdplan.plan import Plan
    from pdplan.planner.verifying import Kind, Round, Verified
    from pdplan.specs.scenario import Scenario
    from pdplan.specs.system import SystemSpec

CHECK = "Check by simulation"
LEAST_REQUESTS = 100
"""Requests of a simulation: fewer say nothing of a percentile."""
MOST = 10**9
INTERRUPTED = 130

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
  pdplan solve scenario.yaml --verify
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
    inputs: Inputs,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Simulate the fleet found; where it misses an objective, solve for more.",
            rich_help_panel=CHECK,
        ),
    ] = False,
    verify_requests: Annotated[
        str | None,
        typer.Option(metavar="N", help="Requests of each simulation.", rich_help_panel=CHECK),
    ] = None,
    form: Form = Format.table,
    csv: CsvFile = None,
    output: PlanFile = None,
) -> None:
    """Find the cheapest fleet that serves a model within its latency objectives."""
    requests = _verify_requests(verify, verify_requests)
    check_writable(csv, output)
    scenario = inputs.read()
    from pdplan import planner

    if verify:
        _solve_verified(scenario, requests, form, csv, output)
        return
    plan = planner.solve(scenario)
    say_plan(plan, form)
    if plan.status == "infeasible":
        _not_written("for there is no plan", csv, output)
        raise typer.Exit(1)
    _write(plan, csv, output)


def _verify_requests(verify: bool, text: str | None) -> int | None:
    if text is None:
        return None
    flag = "--verify-requests"
    if not verify:
        raise _wrong(flag, "needs --verify")
    return read_whole(flag, text, LEAST_REQUESTS)


def _solve_verified(
    scenario: "Scenario", requests: int | None, form: Format, csv: Path | None, output: Path | None
) -> None:
    from pdplan import planner
    from pdplan.cli.progress import Watch
    from pdplan.planner.verifying import verified

    watch = Watch()

    def told(done: "Round", limits: "Mapping[Kind, float]") -> None:
        for line in _round_lines(done, limits):
            watch.tell(line)

    with watch.shown():
        found = verified(scenario, planner.solve, requests=requests, progress=watch, told=told)
    say_plan(found.plan, form)
    if found.held and form in (Format.table, Format.md):
        _say_objectives(found, form)
    if found.plan.status == "infeasible":
        if found.rounds:
            tell("verify: no fleet tried keeps its objectives in simulation")
        _not_written("for there is no plan", csv, output)
        raise typer.Exit(1)
    if not found.held:
        tell(f"verify: interrupted after {watch.done:,} requests: the plan is not verified")
        _not_written("for the plan is not verified", csv, output)
        raise typer.Exit(INTERRUPTED)
    _write(found.plan, csv, output)


def _round_lines(done: "Round", limits: "Mapping[Kind, float]") -> "Iterator[str]":
    """Say how a fleet did in simulation, and what is asked of the next one."""
    from pdplan.planner.verifying import check_text, limit_text

    if not done.simulation.complete:
        return
    name = f"verify: {done.plan.placement} {done.plan.label}"
    if not done.checks:
        yield f"{name}: there is no objective to keep"
    for check in done.missed or done.checks:
        yield f"{name}: {check_text(check)}"
    if limits:
        asked = ", ".join(limit_text(kind, limit) for kind, limit in limits.items())
        yield f"verify: solving again with {asked}"


def _say_objectives(found: "Verified", form: Format) -> None:
    from pdplan.report.simulation import objectives

    assert found.simulation is not None
    if found.rounds[-1].checks:
        say("" if form is Format.md else "\n")
        say_blocks([objectives(found.plan, found.simulation)], form)


def _write(plan: "Plan", csv: Path | None, output: Path | None) -> None:
    if csv is not None:
        write_file(csv, render.plan_csv(plan))
    if output is not None:
        write_file(output, render.render_plan(plan, "yaml"))


def _not_written(why: str, *paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            tell(f"{path}: not written, {why}")


def compare(inputs: Inputs, form: Form = Format.table, csv: CsvFile = None) -> None:
    """Set every placement side by side: what it costs, what it gains, why it loses."""
    check_writable(csv)
    scenario = inputs.read()
    from pdplan import planner
    from pdplan.report.comparison import comparison

    found = planner.compare(scenario, _systems(inputs))
    grid = comparison(found)
    say_grid(grid, form)
    if all(other.objective is None for other in found):
        if csv is not None:
            tell(f"{csv}: not written, for there is no plan")
        raise typer.Exit(1)
    if csv is not None:
        write_file(csv, render.csv_grid(grid))


def _systems(inputs: Inputs) -> "dict[str, SystemSpec]":
    """Systems to compare with: all, or none where one is asked for."""
    if inputs.system is not None:
        return {}
    from pdplan.specs.catalog import names
    from pdplan.specs.system import load_system

    return {name: load_system(name, inputs.specs) for name in names("system", inputs.specs)}


def read_whole(flag: str, text: str, least: int) -> int:
    """Read a whole number; raises SpecError."""
    digits = text.strip()
    whole = digits.isascii() and digits.isdecimal()
    if not whole or (len(digits) < 20 and int(digits) < least):
        raise _wrong(flag, f"needs a whole number of at least {least}; got '{text[:40]}'")
    if len(digits) >= 20 or int(digits) > MOST:
        raise _wrong(flag, f"is at most {MOST:,}; got '{text[:40]}'")
    return int(digits)


def _wrong(flag: str, message: str) -> SpecError:
    return SpecError(Problem("command line", None, flag, message))
