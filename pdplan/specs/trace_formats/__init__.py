"""Readers of recorded requests: when they arrived, how long they were, what a cache had of them.

A file is recognised by its content. Adding a format is one file with a `TraceFormat` and its place
in `FORMATS`, where the first that fits reads it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pdplan.errors import Problem, SpecError
from pdplan.specs.trace_formats.aiperf import AIPERF
from pdplan.specs.trace_formats.azure import AZURE, AZURE_MULTIMODAL
from pdplan.specs.trace_formats.burstgpt import BURSTGPT
from pdplan.specs.trace_formats.content import Content, open_content
from pdplan.specs.trace_formats.mooncake import MOONCAKE
from pdplan.specs.trace_formats.order import Tally, in_order
from pdplan.specs.trace_formats.request import Reading, TraceFormat, TraceRequest
from pdplan.specs.trace_formats.servegen import SERVEGEN
from pdplan.specs.trace_formats.table import TABLE
from pdplan.specs.trace_formats.vllm_serve import VLLM_SERVE

__all__ = [
    "FORMATS",
    "Reading",
    "Tally",
    "Trace",
    "TraceFormat",
    "TraceRequest",
    "open_trace",
    "read_requests",
    "trace_format",
]

FORMATS: tuple[TraceFormat, ...] = (
    AZURE_MULTIMODAL,
    AZURE,
    BURSTGPT,
    MOONCAKE,
    SERVEGEN,
    VLLM_SERVE,
    AIPERF,
    TABLE,
)
MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace whose format is known; every call of `requests` reads the file anew."""

    path: Path
    format: str
    timed: bool
    """Whether it says when requests arrived; otherwise it is lengths alone."""
    note: str

    def requests(
        self, reading: Reading | None = None, tally: Tally | None = None
    ) -> Iterator[TraceRequest]:
        """Requests in the order of arrival, read line by line; raises SpecError."""
        counted = tally or Tally()
        with open_content(self.path) as content:
            known = _format(content)
            nothing = True
            for request in in_order(content, known.read(content, reading or Reading()), counted):
                nothing = False
                yield request
            if nothing:
                failed = f"; left out {counted.left_out} without tokens" if counted.left_out else ""
                message = f"has no requests{failed}"
                raise SpecError(Problem(content.source, None, "", message))


def open_trace(path: Path) -> Trace:
    """Look what a trace is; raises SpecError for one of no known format."""
    path = Path(path)
    with open_content(path) as content:
        known = _format(content)
        return Trace(path, known.name, known.timed(content), known.note)


def read_requests(path: Path, reading: Reading | None = None) -> Iterator[TraceRequest]:
    """Requests of a trace of any known format, by arrival; the first is at 0 s.

    Streams, so that the file may be larger than memory. Raises SpecError for unusable files and for
    traces without arrival times.
    """
    trace = open_trace(path)
    if not trace.timed:
        message = "has lengths only; needs arrival times too, for example a column arrival_s"
        raise SpecError(Problem(str(path), None, "", message))
    yield from trace.requests(reading)


def trace_format(path: Path) -> str:
    """Name of a trace's format; raises SpecError for one of no known format."""
    return open_trace(path).format


def _format(content: Content) -> TraceFormat:
    known = next((each for each in FORMATS if each.fits(content)), None)
    if known is None:
        shown = ["".join(c if c.isprintable() else "?" for c in n)[:40] for n in content.names]
        more = ", ..." if len(shown) > MOST_NAMES else ""
        formats = "; ".join(each.name for each in FORMATS)
        message = (
            f"is a trace of no known format: found {', '.join(shown[:MOST_NAMES])}{more}; "
            f"known: {formats}"
        )
        raise SpecError(Problem(content.source, None, "", message))
    return known
