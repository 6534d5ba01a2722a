"""Requests in the order of their arrival, of files that are nearly sorted."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pdplan.specs.trace_formats.content import Content
from pdplan.specs.trace_formats.request import Found, TraceRequest, wrong

WINDOW = 20_000
"""Requests that are held back; one may stand that many places too late in its file."""


@dataclass(slots=True)
class Tally:
    """What a pass over a trace counts; filled while it is read."""

    left_out: int = 0
    """Requests that failed, had no prompt or no output, or warmed a benchmark up."""
    first_s: float = math.nan
    """Time of the first request as the file says it."""


def in_order(content: Content, found: Iterator[Found], tally: Tally) -> Iterator[TraceRequest]:
    """Sort within a window, count what is left out, and start the clock at the first request.

    Raises SpecError for a request that stands too late in the file.
    """
    heap: list[tuple[float, int, TraceRequest]] = []
    last = -math.inf
    for order, (where, request) in enumerate(found):
        if request is None:
            tally.left_out += 1
            continue
        if math.isnan(request.arrival_s):
            yield request
            continue
        if request.arrival_s < last:
            late = last - request.arrival_s
            message = (
                f"arrives {late:g} s before a request more than {WINDOW:,} rows above; "
                "sort the trace by time"
            )
            raise wrong(content, where, "", message)
        heapq.heappush(heap, (request.arrival_s, order, request))
        if len(heap) > WINDOW:
            last, _, first = heapq.heappop(heap)
            yield _since(first, tally)
    while heap:
        yield _since(heapq.heappop(heap)[2], tally)


def _since(request: TraceRequest, tally: Tally) -> TraceRequest:
    if math.isnan(tally.first_s):
        tally.first_s = request.arrival_s
    return replace(request, arrival_s=request.arrival_s - tally.first_s)
