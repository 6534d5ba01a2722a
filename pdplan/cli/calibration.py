"""`calibrate`: an engine profile fitted to measurements."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdplan.cli.hints import takes_hints
from pdplan.cli.inputs import SpecsDir, check_folder
from pdplan.cli.kernels import (
    KernelsFile,
    Seconds,
    check_alone,
    check_measuring,
    measured_kernels,
    partial_note,
)
from pdplan.cli.measurements import (
    Files,
    drop_impossible,
    read_files,
    refuse_impossible,
    same_engine,
    some,
)
from pdplan.cli.output import PANEL, Form, Format, say, say_blocks, say_grid, tell
from pdplan.cli.pages import Page
from pdplan.errors import Problem, SpecError
from pdplan.report import render
from pdplan.report.files import write_file

if TYPE_CHECKING:
    from pdplan.calibration.calibrate import Calibration
    from pdplan.calibration.formats import Measured
    from pdplan.calibration.held_out import HeldOut
    from pdplan.calibration.kernels import KernelMeasurement
    from pdplan.calibration.numbers import Numbers

ProfileFile = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="ENGINE.yaml",
        help="Write the new profile there.",
        rich_help_panel=PANEL,
    ),
]

_CALIBRATE = """\b
Examples:
  pdplan calibrate steps.csv -o engines/mine.yaml
  pdplan calibrate bench.json --model llama-3.1-8b --hardware h100-sxm -o mine.yaml
  pdplan calibrate steps.csv --only gemm.mbu --only overhead -o mine.yaml
  pdplan calibrate --measure --kernels kernels.csv -o mine.yaml
\b
Constants that the measurements do not identify stay as in the base profile.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate", cls=Page, epilog=_CALIBRATE)(takes_hints(calibrate))


def calibrate(
    files: Files = None,
    hints: dict[str, str] = {},  # noqa: B006  (given by the flags)
    engine: Annotated[
        str, typer.Option(metavar="BASE", help="Profile to start from: id or path.")
    ] = "vllm",
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the new profile; default the file's.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CONSTANT", help="Fit this one: gemm.mfu, overhead; repeatable."),
    ] = None,
    drop: Annotated[
        bool,
        typer.Option("--drop-impossible", help="Leave out what is faster than silicon allows."),
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine's GPU with PyTorch.")
    ] = False,
    seconds: Seconds = None,
    kernels: KernelsFile = None,
    specs: SpecsDir = None,
    form: Form = Format.table,
    output: ProfileFile = None,
) -> None:
    """Fit an engine profile to measurements."""
    check_measuring(measure, seconds, kernels, output)
    check_folder(specs)
    if output is not None and output.suffix not in (".yaml", ".yml"):
        raise SpecError(Problem(str(output), None, "", "must end in .yaml to be found again"))
    timed: list[KernelMeasurement] = []
    measured = read_files(files or [], hints, specs, timed) if files or not measure else []
    from pdplan.calibration.calibrate import calibrate as fitted
    from pdplan.calibration.fitted_profile import checked_text, fitted_profile
    from pdplan.calibration.held_out import held_out
    from pdplan.calibration.numbers import sources
    from pdplan.specs.engine import load_engine

    base = load_engine(engine, specs)
    if measure or timed:
        check_alone(hints, len(measured), measure=measure)
    here = ""
    if measure:
        new, here = measured_kernels(hints, seconds, specs, kernels)
        timed += new
    data, left_out = _observations(timed, measured, engine, specs)
    if drop:
        data, dropped = drop_impossible(data)
        left_out += dropped
    else:
        refuse_impossible(data)
    if not len(data):
        message = "no measurement is left to fit:"
        raise SpecError(message, *some(left_out))
    found = fitted(data, base, only=only or [], progress=tell)
    for constant, factor in found.implausible.items():
        tell(f"{constant}: {factor:.2g} times the base profile's; check what was run")
    apart = held_out(found, tell)
    if output is not None:
        origins = sorted({one.source or here for one in timed}) or sources(found.data)
        note = partial_note(timed)
        profile = fitted_profile(found, apart, name=name or output.stem, files=origins, note=note)
        write_file(output, checked_text(profile, str(output)))
    _say_calibration(found, apart, left_out, form)
    tell(f"wrote {output}" if output is not None else "nothing written; -o FILE writes the profile")


def _observations(
    timed: "list[KernelMeasurement]", measured: "list[Measured]", engine: str, specs: Path | None
) -> "tuple[Numbers, list[Problem]]":
    """Kernels, or whole passes and those of them that cannot be predicted."""
    if timed:
        from pdplan.calibration.kernels import KernelObservations

        return KernelObservations(timed, specs), []
    from pdplan.calibration.predictable import predictable

    same_engine(measured)
    usable = predictable(measured, engine, specs)
    return usable.data, list(usable.others)


def _say_calibration(
    found: "Calibration", apart: "list[HeldOut]", left_out: list[Problem], form: Format
) -> None:
    from pdplan.report import calibration as report

    if form in (Format.json, Format.yaml):
        data = report.calibration_data(found, apart, left_out)
        say(render.render_data(data, form.value))
    elif form is Format.csv:
        say_grid(report.constants_grid(found), form)
    else:
        say_blocks(report.calibration_blocks(found, apart, left_out), form)
