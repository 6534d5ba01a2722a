"""How long repeated work takes on a device, by its own events."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from statistics import median
from types import ModuleType

WARM_UP = 5
WINDOW_S = 2e-3
"""Length of one reading, beside which an event's resolution and a graph's launch are small."""
READINGS = (3, 30)
MOST_CALLS = 1000
ROTATED_BYTES = 1e9
"""Operands that a call finds in no cache: copies of them add up to this, 4 times the largest."""
MOST_COPIES = 64


@dataclass(frozen=True, slots=True)
class Work:
    """Something to time again and again."""

    call: Callable[[int], object]
    """Runs it once, on copy number i of its operands."""
    copies: int = 1
    captured: bool = True
    """Launched as one graph, without the host between calls, as engines do."""


def copies(operand_bytes: float) -> int:
    """How many copies of an operand are rotated so that caches do not hold the next one.

    >>> copies(1e6), copies(3e8), copies(2e9)
    (64, 4, 2)
    """
    return min(max(ceil(ROTATED_BYTES / operand_bytes), 2), MOST_COPIES)


def median_s(torch: ModuleType, work: Work, seconds: float) -> float:
    """Median time of one call over several readings that together last about `seconds`."""
    _loop(work, WARM_UP)
    once = max(elapsed_s(torch, lambda: _loop(work, WARM_UP)) / WARM_UP, 1e-7)
    calls = min(max(ceil(WINDOW_S / once), work.copies), MOST_CALLS)
    run = _graph(torch, work, calls) if work.captured else lambda: _loop(work, calls)
    run()
    least, most = READINGS
    readings = min(max(int(seconds / (once * calls)), least), most)
    return _median_s(torch, run, readings) / calls


def fixed_median_s(torch: ModuleType, work: Work, calls: int, readings: int) -> float:
    """The same with so many calls and readings, for processes that have to do alike."""
    _loop(work, WARM_UP)
    return _median_s(torch, lambda: _loop(work, calls), readings) / calls


def _median_s(torch: ModuleType, run: Callable[[], object], readings: int) -> float:
    return median(elapsed_s(torch, run) for _ in range(readings))


def elapsed_s(torch: ModuleType, run: Callable[[], object]) -> float:
    """Time between the first and the last thing that a call puts on the device."""
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    run()
    last.record()
    torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / 1e3


def _loop(work: Work, calls: int) -> None:
    for i in range(calls):
        work.call(i)


def _graph(torch: ModuleType, work: Work, calls: int) -> Callable[[], object]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        _loop(work, calls)
    replay: Callable[[], object] = graph.replay
    return replay
