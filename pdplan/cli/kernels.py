"""Times of kernels for `calibrate`: measured here, kept in a file, or read from one."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdplan.cli.measurements import measure_here
from pdplan.cli.output import tell
from pdplan.errors import Problem, SpecError
from pdplan.report.files import check_writable, write_file

if TYPE_CHECKING:
    from pdplan.calibration.kernels import KernelMeasurement

PANEL = "With --measure"
SECONDS = 60.0
LEAST_SECONDS, MOST_SECONDS = 1.0, 3600.0
INTERRUPTED_EXIT = 130

Seconds = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        help=f"How long to measure; default {SECONDS:g}.",
        rich_help_panel=PANEL,
    ),
]
KernelsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv",
        help="Keep the measured times there, to be read again by calibrate.",
        rich_help_panel=PANEL,
    ),
]


def check_measuring(
    measure: bool, seconds: float | None, kept: Path | None, output: Path | None
) -> None:
    """Refuse flags that mean nothing together, before any time is spent."""
    given = {"--seconds": seconds, "--kernels": kept}
    problems = [
        Problem("command line", None, flag, "needs --measure")
        for flag, value in given.items()
        if value is not None and not measure
    ]
    if seconds is not None and not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        message = f"must be {LEAST_SECONDS:g} to {MOST_SECONDS:g}; got {seconds:g}"
        problems.append(Problem("command line", None, "--seconds", message))
    if kept is not None and kept.suffix != ".csv":
        problems.append(Problem(str(kept), None, "", "must end in .csv"))
    if problems:
        raise SpecError(*problems)
    check_writable(output, kept)


def measured_kernels(
    hints: Mapping[str, str], seconds: float | None, specs: Path | None, kept: Path | None
) -> "tuple[list[KernelMeasurement], str]":
    """Measure this machine and say with what; an interruption ends the command.

    What was measured until then is kept where it was asked for, labelled partial.
    """
    run = measure_here(hints.get("hardware", ""), seconds or SECONDS, specs)
    from pdplan.calibration.kernel_csv import kernels_text
    from pdplan.calibration.microbenchmark.run import INTERRUPTED

    if kept is not None:
        write_file(kept, kernels_text(run.measurements))
        tell(f"wrote {kept}")
    if run.stopped == INTERRUPTED:
        after = f"; pdplan calibrate {kept} fits what there is" if kept is not None else ""
        tell(f"no profile written{after}")
        raise typer.Exit(INTERRUPTED_EXIT)
    return run.measurements, f"{run.software} on {run.device}"


def check_alone(hints: Mapping[str, str], others: int, *, measure: bool) -> None:
    """Refuse what says nothing of kernels, and results of whole passes beside them."""
    meant = {"hardware"} if measure else set()
    problems = [
        Problem("command line", None, f"--{name.replace('_', '-')}", "says nothing of kernels")
        for name in hints
        if name not in meant
    ]
    if problems:
        raise SpecError(*problems)
    if others:
        message = (
            "kernels and whole passes are calibrated one after the other: first the kernels "
            "with -o mine.yaml, then the others with --engine mine.yaml"
        )
        raise SpecError(message)


def partial_note(kernels: "list[KernelMeasurement]") -> str:
    """Say which kernels are of a run that ended early; nothing where none are."""
    early = [one.run for one in kernels if one.run != "complete"]
    if not early:
        return ""
    return f"{len(early)} kernels are of a run that is {', '.join(sorted(set(early)))}."
