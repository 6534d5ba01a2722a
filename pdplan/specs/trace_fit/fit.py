"""One pass over a trace: all that its workload is made of, in bounded memory."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdplan.errors import Problem, SpecError
from pdplan.specs.points import Points, coarse
from pdplan.specs.trace_fit.arrivals import Arrivals, ArrivalTally
from pdplan.specs.trace_fit.daily import DAY_S
from pdplan.specs.trace_fit.lengths import COLUMNS, Moments, Reservoir, RunningMoments
from pdplan.specs.trace_fit.sample import representative
from pdplan.specs.trace_fit.sessions import Sessions, SessionTally
from pdplan.specs.trace_formats import Reading, Tally, Trace, TraceRequest

CHUNK = 8192
DATED_S = 946_684_800.0
"""Times from here on, the year 2000, are dates; smaller ones are counted from some start."""
IMAGE_POINTS = 32


@dataclass(frozen=True, slots=True, eq=False)
class TraceFit:
    """A trace, and the lengths that stand for it."""

    source: str
    format: str
    left_out: int
    first_s: float | None
    """Date of the first request, seconds since 1970; None where the trace has none."""
    moments: Moments
    rows: NDArray[np.float64]
    """`COLUMNS` of all requests, or of an even draw of a long trace."""
    sample: NDArray[np.float64]
    """`COLUMNS` of the requests that are written."""
    images: Points | None
    """Images of a request; None where no request has any."""
    hit: float | None
    """Share of prompt tokens found in a prefix cache; None where the trace says nothing of it."""
    sessions: Sessions | None
    arrivals: Arrivals | None
    """None for lengths alone."""


def fit_trace(
    trace: Trace, reading: Reading | None = None, *, from_s: float = 0.0, until_s: float = math.inf
) -> TraceFit:
    """Read a trace and fit it; only what arrives in [from_s, until_s) after its first request.

    Means, variations, correlation and all of the arrivals are exact; percentiles and written rows
    come from 200,000 requests drawn evenly where there are more. Raises SpecError.
    """
    tally = Tally()
    requests = _between(trace.requests(reading, tally), from_s, until_s)
    first = next(requests, None)
    if first is None:
        message = "has no request in that time"
        raise SpecError(Problem(str(trace.path), None, "", message))
    start = first.arrival_s
    first_s = tally.first_s + start if tally.first_s >= DATED_S else None
    pass_ = _Pass(first_s or 0.0)
    requests = itertools.chain([first], requests)
    while chunk := list(itertools.islice(requests, CHUNK)):
        pass_.add([replace(one, arrival_s=one.arrival_s - start) for one in chunk])
    moments = pass_.moments.moments()
    rows = pass_.rows.rows
    return TraceFit(
        *(trace.path.name, trace.format, tally.left_out, first_s, moments, rows),
        sample=representative(rows, moments),
        images=pass_.image_points(),
        hit=pass_.hit(),
        sessions=pass_.sessions.found() if trace.timed else None,
        arrivals=pass_.arrivals.found() if trace.timed else None,
    )


def _between(
    requests: Iterator[TraceRequest], from_s: float, until_s: float
) -> Iterator[TraceRequest]:
    for request in requests:
        if request.arrival_s >= until_s:
            return
        if not request.arrival_s < from_s:
            yield request


class _Pass:
    """Everything that is counted on the way."""

    def __init__(self, first_s: float) -> None:
        self.moments, self.rows = RunningMoments(), Reservoir(len(COLUMNS))
        self.arrivals, self.sessions = ArrivalTally(first_s % DAY_S), SessionTally()
        self._images: Counter[int] = Counter()
        self._cached = np.zeros(2)

    def add(self, chunk: list[TraceRequest]) -> None:
        isl, osl, images, cached = _columns(chunk)
        self.moments.add(isl, osl)
        self.rows.add(np.column_stack((isl, osl, images, cached)))
        self._images.update(one.images for one in chunk)
        known = np.isfinite(cached)
        self._cached += [cached[known].sum(), isl[known].sum()]
        times = np.array([one.arrival_s for one in chunk])
        if not np.isnan(times[0]):
            self.arrivals.add(times)
        self.sessions.add(chunk)

    def image_points(self) -> Points | None:
        if not any(self._images):
            return None
        values = np.array(sorted(self._images), dtype=float)
        weights = np.array([self._images[int(value)] for value in values], dtype=float)
        return coarse(Points(values, weights / weights.sum()), IMAGE_POINTS)

    def hit(self) -> float | None:
        cached, prompts = self._cached
        return float(cached / prompts) if prompts > 0 else None


def _columns(chunk: list[TraceRequest]) -> Any:  # noqa: ANN401  (four arrays)
    return np.array(
        [(one.prompt_tokens, one.output_tokens, one.images, one.cached_tokens) for one in chunk],
        dtype=float,
    ).T
