"""The mean rate of a recorded trace, so that it can be replayed at another one."""

from pathlib import Path

from pdplan.errors import Problem, SpecError
from pdplan.specs.trace_formats import read_requests


def trace_rate_rps(trace: Path) -> float:
    """Mean rate of a trace: requests after the first over the time they take to come [1/s].

    Reads the whole file once. Raises SpecError for an unusable trace, and for one whose requests
    all come at once.
    """
    count, last_s = 0, 0.0
    for request in read_requests(trace):
        count += 1
        last_s = request.arrival_s
    if last_s <= 0:
        message = "all requests come at once; such a trace has no rate that could be changed"
        raise SpecError(Problem(str(trace), None, "", message))
    return (count - 1) / last_s
