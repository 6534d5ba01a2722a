"""What every trace is read into, and what a format is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pdplan.errors import Problem, SpecError
from pdplan.specs.trace_formats.content import Content, Where


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One recorded request."""

    arrival_s: float
    """Since the first request [s]; NaN in a trace that has lengths only."""
    prompt_tokens: int
    """Text tokens; of media too where the trace does not tell them apart, see `Trace.note`."""
    output_tokens: int
    images: int = 0
    cached_tokens: float | None = None
    """Prompt tokens found in a prefix cache; None where the trace says nothing of it."""
    session: str | None = None
    """Conversation the request is a turn of."""


Found = tuple[Where, TraceRequest | None]
"""Where a request stands, and the request with its absolute time; None for one left out."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user says about a trace."""

    cache_blocks: int | None = None
    """Blocks of the prefix cache that hashes are replayed through; None is without end."""
    image_tokens: int = 0
    """Prompt tokens of one image, taken off where a trace counts them in the prompt."""


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A format of recorded requests."""

    name: str
    fits: Callable[[Content], bool]
    read: Callable[[Content, Reading], Iterator[Found]]
    timed: Callable[[Content], bool] = lambda _: True
    """Whether it says when requests arrived."""
    note: str = ""
    """What a reader has to know of its numbers."""


def has(*names: str) -> Callable[[Content], bool]:
    """Tell a format by names that must all be there."""
    return lambda content: set(names) <= set(content.names)


def wrong(content: Content, where: Where, key: str, message: str) -> SpecError:
    """Describe a defect of one request."""
    if isinstance(where, int):
        return SpecError(Problem(content.source, where, key, message))
    return SpecError(Problem(content.source, None, f"{where}.{key}" if key else where, message))
