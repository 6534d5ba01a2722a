"""Readers of benchmark results: what a run measured, beside the row of `predict` it was.

A file is recognised by its content. Adding a format is one file with a `Format` and its place in
`FORMATS`, where the first that fits a part reads it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pdplan.calibration.formats.aiperf import AIPERF
from pdplan.calibration.formats.complete import Completion
from pdplan.calibration.formats.content import parts
from pdplan.calibration.formats.dynamo import DYNAMO
from pdplan.calibration.formats.format import NAMES_OF, Format, Part
from pdplan.calibration.formats.guidellm import GUIDELLM
from pdplan.calibration.formats.inference_perf import INFERENCE_PERF
from pdplan.calibration.formats.mlperf_log import MLPERF_LOG
from pdplan.calibration.formats.mlperf_table import MLPERF_TABLE
from pdplan.calibration.formats.model_names import Models
from pdplan.calibration.formats.predict_csv import PREDICT_CSV, no_measured_column
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.sglang_offline import SGLANG_BATCH, SGLANG_THROUGHPUT
from pdplan.calibration.formats.sglang_serve import SGLANG_SERVE
from pdplan.calibration.formats.vllm_offline import VLLM_LATENCY, VLLM_THROUGHPUT
from pdplan.calibration.formats.vllm_serve import VLLM_SERVE
from pdplan.errors import Problem, SpecError

__all__ = ["FORMATS", "Format", "Measured", "parts", "read_measurements", "read_parts"]

FORMATS: tuple[Format, ...] = (
    PREDICT_CSV,
    SGLANG_SERVE,
    AIPERF,
    VLLM_SERVE,
    VLLM_LATENCY,
    VLLM_THROUGHPUT,
    SGLANG_BATCH,
    SGLANG_THROUGHPUT,
    GUIDELLM,
    INFERENCE_PERF,
    *DYNAMO,
    MLPERF_TABLE,
    MLPERF_LOG,
)
MOST_PROBLEMS = 20
"""Shown of one file; each kind once."""


def read_measurements(
    path: Path, hints: Mapping[str, str], specs_dir: Path | None = None
) -> list[Measured]:
    """Read a result file of any known format; `hints` are input columns it does not say.

    Raises SpecError with what is wrong with the file, what it lacks (and the flag that gives it)
    and which hint contradicts it.
    """
    return read_parts(parts(Path(path)), hints, specs_dir)


def read_parts(
    found_parts: Sequence[Part], hints: Mapping[str, str], specs_dir: Path | None = None
) -> list[Measured]:
    """Read the parts of a result file, as `read_measurements` does."""
    complete = Completion(hints, Models(specs_dir))
    found = []
    for part in found_parts:
        known = next((each for each in FORMATS if each.fits(part)), None)
        if known is None:
            raise SpecError(_unknown(part))
        found += [complete(one, known.needs) for one in known.read(part)]
    if complete.problems:
        distinct: dict[tuple[str, str], Problem] = {}
        for problem in complete.problems:
            distinct.setdefault((problem.key, problem.message), problem)
        raise SpecError(*list(distinct.values())[:MOST_PROBLEMS])
    return found


def _unknown(part: Part) -> Problem:
    names = tuple(_printable(name) for name in part.names[:12])
    more = ", ..." if len(part.names) > len(names) else ""
    if part.kind == "csv":
        return Problem(part.source, part.line, "", no_measured_column(names) + more)
    listed = ", ".join(names) + more or "nothing"
    known = "; ".join(dict.fromkeys(str(each) for each in FORMATS))
    message = f"is of no known format: found the {NAMES_OF[part.kind]} {listed}; known: {known}"
    return Problem(part.source, part.line, "", message)


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:40]
