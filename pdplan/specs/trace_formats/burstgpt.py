"""BurstGPT: `Timestamp` [s], `Request tokens`, `Response tokens`, in later parts `Session ID`.

A response of 0 tokens is a failed request. *Source*: HPMLL/BurstGPT (CC-BY-4.0).
"""

from collections.abc import Iterator

from pdplan.specs.trace_formats.cells import count, seconds
from pdplan.specs.trace_formats.content import Content
from pdplan.specs.trace_formats.request import (
    Found,
    Reading,
    TraceFormat,
    TraceRequest,
    has,
)

_NAMES = ("Timestamp", "Request tokens", "Response tokens")


def _read(content: Content, _: Reading) -> Iterator[Found]:
    time, prompt, output = (content.need(name) for name in _NAMES)
    session = content.pick("Session ID")
    for where, row in content.rows:
        text = count(content, where, "Request tokens", prompt(row))
        made = count(content, where, "Response tokens", output(row))
        arrival = seconds(content, where, "Timestamp", time(row))
        turn_of = (session(row) or None) if session else None
        kept = TraceRequest(arrival, text, made, session=turn_of) if text and made else None
        yield where, kept


BURSTGPT = TraceFormat("BurstGPT", has(*_NAMES), _read)
