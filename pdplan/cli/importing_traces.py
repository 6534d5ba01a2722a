"""`workloads import`: a workload from a recorded trace."""

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdplan.cli.output import PANEL, Form, Format, say, say_blocks, say_grid, tell
from pdplan.errors import Problem, SpecError
from pdplan.report import render
from pdplan.report.files import check_writable, write_file

if TYPE_CHECKING:
    from pdplan.specs.trace_fit import TraceFit

Text = str | None


def import_trace(
    trace: Annotated[
        str, typer.Argument(metavar="TRACE", help="Recorded requests; the format is found out.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.yaml", help="Write the workload there."),
    ] = None,
    name: Annotated[Text, typer.Option(metavar="NAME", help="Name; default the file's.")] = None,
    cache_blocks: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Blocks of the prefix cache that hashed prompts meet; default endless.",
        ),
    ] = None,
    image_size: Annotated[
        Text, typer.Option(metavar="WxH", help="Pixels of the images; traces do not say.")
    ] = None,
    image_tokens: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Tokens of an image to take off prompts that count them."
        ),
    ] = 0,
    from_: Annotated[
        Text, typer.Option("--from", metavar="TIME", help="Leave out what comes before: '10 min'.")
    ] = None,
    until: Annotated[
        Text, typer.Option(metavar="TIME", help="Leave out what comes from then on: '2 h'.")
    ] = None,
    form: Form = Format.table,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE.html",
            help="Also draw trace and workload.",
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """Fit a workload to a recorded trace: arrivals, bursts, joint lengths, images, prefix hits."""
    _check_yaml(output)
    lengths = output.with_name(f"{output.stem}.lengths.csv") if output is not None else None
    check_writable(output, lengths, plot)
    if plot is not None:
        from pdplan.report.scatter import check_plotly

        check_plotly("--plot")
    size = _size(image_size)
    span = _time("--from", from_, 0.0), _time("--until", until, math.inf)
    from pdplan.specs.trace_fit import fit_trace, lengths_csv, workload_of, workload_yaml
    from pdplan.specs.trace_formats import Reading, open_trace

    opened = open_trace(Path(trace))
    if not opened.timed and (from_, until) != (None, None):
        message = "the trace has lengths only, no arrival times"
        raise SpecError(Problem("command line", None, "--from, --until", message))
    fit = fit_trace(opened, Reading(cache_blocks, image_tokens), from_s=span[0], until_s=span[1])
    if opened.note and not image_tokens:
        tell(f"note: {opened.note}")
    if output is not None and lengths is not None:
        if fit.images is not None and size is None:
            message = "the trace has images and does not say how large; for example 1280x960"
            raise SpecError(Problem("command line", None, "--image-size", message))
        workload = workload_of(fit, name or output.stem, lengths.name, size)
        texts = {lengths: lengths_csv(fit), output: workload_yaml(workload)}
        _check({path.name: text for path, text in texts.items()}, output.name)
        for path, text in texts.items():
            write_file(path, text)
            tell(f"wrote {path}")
    if plot is not None:
        from pdplan.report.trace_fit import trace_html

        write_file(plot, trace_html(fit))
        tell(f"wrote {plot}")
    _say(fit, form)


def _check_yaml(output: Path | None) -> None:
    if output is not None and output.suffix not in (".yaml", ".yml"):
        message = "is no workload file; its name must end in .yaml"
        raise SpecError(Problem(str(output), None, "", message))


def _check(texts: dict[str, str], workload: str) -> None:
    """Load what is about to be written as every command will; raises SpecError."""
    from pdplan.specs.base import validate
    from pdplan.specs.source import load_yaml
    from pdplan.specs.traffic import traffic
    from pdplan.specs.workload import WorkloadSpec

    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        found = validate(load_yaml(Path(folder) / workload), WorkloadSpec)
        traffic(found, found.rate or 1.0, Path(folder))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.strip().isdecimal() and height.strip().isdecimal()):
        message = f"needs WIDTHxHEIGHT, for example '1280x960'; got '{text}'"
        raise SpecError(Problem("command line", None, "--image-size", message))
    return int(width), int(height)


def _time(flag: str, text: str | None, usual: float) -> float:
    from pdplan.units import parse_quantity

    try:
        return usual if text is None else parse_quantity(text, "s")
    except ValueError as error:
        raise SpecError(Problem("command line", None, flag, str(error))) from None


def _say(fit: "TraceFit", form: Format) -> None:
    from pdplan.report import trace_fit as report

    if form in (Format.json, Format.yaml):
        say(render.render_data(report.trace_data(fit), form.value))
    elif form is Format.csv:
        say_grid(report.trace_grid(fit), form)
    else:
        say_blocks(report.trace_blocks(fit), form)
