"""Measurements as commands take them: files, this machine, and none that cannot be."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pdplan.cli.output import tell
from pdplan.errors import Problem, SpecError

if TYPE_CHECKING:
    from pdplan.calibration.formats import Measured
    from pdplan.calibration.kernels import KernelMeasurement
    from pdplan.calibration.limits import Impossible
    from pdplan.calibration.microbenchmark.run import Run
    from pdplan.calibration.numbers import Numbers

N = TypeVar("N", bound="Numbers")

Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MEASUREMENTS...",
        help="Results of benchmarks, or CSV of predict's columns with measured_latency_s, "
        "measured_ttft_ms, ...; - is stdin.",
        show_default=False,
    ),
]
MOST = 20
"""Problems that are shown."""


def read_files(
    files: Sequence[str],
    hints: Mapping[str, str],
    specs: Path | None,
    kernels: "list[KernelMeasurement] | None" = None,
) -> "list[Measured]":
    """Read all files; raises SpecError with what is wrong with any of them.

    Files of kernels add to `kernels`; without a list for them they are refused.
    """
    if not files:
        message = "name at least one file; - is stdin"
        raise SpecError(Problem("command line", None, "MEASUREMENTS", message))
    from pdplan.calibration.formats import parts, read_parts
    from pdplan.calibration.kernel_csv import holds_kernels, read_kernels

    found: list[Measured] = []
    problems: list[Problem | str] = []
    for name in files:
        try:
            path = Path("/dev/stdin") if name == "-" else Path(name)
            content = parts(path)
            if not holds_kernels(content[0]):
                found += read_parts(content, hints, specs)
            elif kernels is None:
                problems.append(Problem(str(path), None, "", "times of kernels; see calibrate"))
            else:
                kernels += read_kernels(content[0], specs)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(*some(problems))
    return found


def same_engine(measured: "Sequence[Measured]") -> None:
    """Refuse measurements of several engines: one profile is of one."""
    engines = {one.row["engine"]: one for one in measured if one.row.get("engine")}
    if len(engines) > 1:
        names = ", ".join(sorted(engines))
        message = f"measurements of several engines ({names}); calibrate them one by one"
        raise SpecError(message)


def refuse_impossible(data: "Numbers") -> None:
    """Raise SpecError where a measurement is faster than silicon allows."""
    problems = _impossible(data)
    if problems:
        hint = (
            "check model, number formats, parallelism and what was timed, or leave them out "
            "with --drop-impossible"
        )
        raise SpecError(*some([problem for _, problem in problems]), hint)


def tell_impossible(data: "Numbers") -> None:
    """Say how many measurements silicon does not allow, and one of them."""
    problems = _impossible(data)
    if problems:
        count = f"{len(problems)} of {len(data)} numbers"
        tell(f"{count}: faster than silicon allows; the first: {problems[0][1]}")


def drop_impossible(data: N) -> tuple[N, list[Problem]]:
    """Leave out the numbers that silicon does not allow, and say which."""
    import numpy as np

    problems = _impossible(data)
    kept = np.ones(len(data), bool)
    kept[[each.place for each, _ in problems]] = False
    return data.only(kept), [problem for _, problem in problems]


def _impossible(data: "Numbers") -> "list[tuple[Impossible, Problem]]":
    from pdplan.calibration.limits import RATES, impossible
    from pdplan.report.numbers import show

    found = []
    for each in impossible(data):
        one, name = data.measured[data.index[each.place]], data.names[each.place]
        hardware = one.row["hardware"]
        end = "most" if name in RATES else "least"
        message = (
            f"{show(name, float(data.values[each.place]))} is faster than silicon allows: "
            f"at {end} {show(name, each.limit)} on {hardware}"
        )
        found.append((each, Problem(one.source, one.line, data.labels[each.place], message)))
    return found


def check_columns(flag: str, columns: Sequence[str]) -> None:
    """Refuse what is no column to group by."""
    from pdplan.planner.points import PREDICT_INPUTS
    from pdplan.specs.base import suggestion

    known = (*PREDICT_INPUTS, "generation")
    for column in columns:
        if column not in known:
            hint = suggestion(column, known) or f"; known: {', '.join(known)}"
            raise _wrong(flag, f"no column '{column}'{hint}")
    twice = next((c for i, c in enumerate(columns) if c in columns[:i]), None)
    if twice is not None:
        raise _wrong(flag, f"'{twice}' is named twice")


def read_percent(flag: str, text: str) -> float:
    """Read a percentage as a share; raises SpecError."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise _wrong(flag, f"must be a percentage above 0, for example 15; got {text}")
    return value / 100


def measure_here(hardware: str, seconds: float, specs: Path | None) -> "Run":
    """Measure this machine's GPU; raises SpecError with what is missing for it."""
    missing = ""
    if find_spec("torch") is None:
        missing = "needs PyTorch, which is not installed; pip install 'pdplan[measure]'"
    elif not import_module("torch").cuda.is_available():
        missing = "needs a CUDA device; PyTorch finds none"
    if missing:
        raise SpecError(Problem("command line", None, "--measure", missing))
    from pdplan.calibration.microbenchmark.run import measure

    run = measure(seconds, hardware=hardware, specs_dir=specs, progress=tell)
    for case, reason in run.failed.items():
        tell(f"{case}: cannot be run here: {reason}")
    if run.stopped:
        total = len(run.measurements) + len(run.left)
        tell(f"{run.stopped} after {len(run.measurements)} of {total} kernels; labelled partial")
    if not run.measurements:
        why = run.stopped or "the device runs none of the kernels"
        raise SpecError(Problem("command line", None, "--measure", f"nothing measured: {why}"))
    return run


def some(problems: Sequence[Problem | str]) -> list[Problem | str]:
    """Keep the first problems, and say how many more there are."""
    more = len(problems) - MOST
    return [*problems[:MOST], *([f"and {more} more"] if more > 0 else [])]


def _wrong(flag: str, message: str) -> SpecError:
    return SpecError(Problem("command line", None, flag, message))
