"""Any CSV or JSON lines with columns of usual names; case and punctuation do not matter.

Times are seconds or dates under `arrival_s`, `arrival`, `timestamp`, ..., or carry their unit
(`timestamp_ms`). Without a column of times the lengths alone are read.
"""

import math
import re
from collections.abc import Iterator

from pdplan.specs.trace_formats.cells import count, number, seconds
from pdplan.specs.trace_formats.content import Content, Pick
from pdplan.specs.trace_formats.request import Found, Reading, TraceFormat, TraceRequest

NAMES = {
    "time": (
        *("arrival_s", "arrival", "arrival_time", "arrived_at", "timestamp", "timestamp_s"),
        *("time", "time_s", "start_time", "request_start_time", "scheduled_offset_s"),
    ),
    "time_ms": ("arrival_ms", "timestamp_ms", "time_ms", "arrival_time_ms"),
    "time_ns": ("arrival_ns", "timestamp_ns", "time_ns", "request_start_ns"),
    "prompt": (
        *("isl", "prompt_tokens", "input_tokens", "input_length", "prompt_len", "prompt_length"),
        *("input_len", "num_prefill_tokens", "context_tokens", "contexttokens", "request_tokens"),
    ),
    "output": (
        *("osl", "output_tokens", "completion_tokens", "output_length", "output_len"),
        *("generated_tokens", "generatedtokens", "num_decode_tokens", "response_tokens"),
    ),
    "images": ("images", "num_images", "numimages", "image_count"),
    "cached": ("cached_tokens", "cached", "cache_read_tokens", "prefix_hit_tokens"),
    "session": ("session", "session_id", "conversation", "conversation_id", "chat_id"),
}
"""Names of each column, best first, in lower case with `_` for whatever is no letter or digit."""
_SCALES = {"time": 1.0, "time_ms": 1e-3, "time_ns": 1e-9}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _names(content: Content, what: str) -> list[str]:
    """Columns of the file that go by one of the names, best first."""
    order = NAMES[what]
    found = [name for name in content.names if _plain(name) in order]
    return sorted(found, key=lambda name: order.index(_plain(name)))


def _pick(content: Content, what: str) -> Pick | None:
    found = _names(content, what)
    return content.pick(*found, *NAMES[what]) if found else None


def _read(content: Content, reading: Reading) -> Iterator[Found]:
    prompt, output = (content.need(*_names(content, what)) for what in ("prompt", "output"))
    kind = next((kind for kind in _SCALES if _names(content, kind)), "")
    time = _pick(content, kind) if kind else None
    media, cache, session = (_pick(content, what) for what in ("images", "cached", "session"))
    for where, row in content.rows:
        images = count(content, where, "images", media(row) or 0) if media else 0
        text = count(content, where, "prompt tokens", prompt(row))
        text = max(1, text - images * reading.image_tokens) if images else text
        made = count(content, where, "output tokens", output(row))
        arrival = math.nan
        if time is not None and kind == "time":
            arrival = seconds(content, where, "arrival", time(row))
        elif time is not None:
            arrival = _SCALES[kind] * number(content, where, "arrival", time(row))
        cached = cache(row) if cache else None
        known = None if cached in (None, "") else number(content, where, "cached tokens", cached)
        turn_of = session(row) if session else None
        yield (
            where,
            TraceRequest(
                *(arrival, text, made, images),
                cached_tokens=None if known is None else min(known, max(0.0, text - 1.0)),
                session=None if turn_of in (None, "") else str(turn_of),
            )
            if text and made
            else None,
        )


TABLE = TraceFormat(
    "table with columns of lengths",
    lambda content: bool(_names(content, "prompt")) and bool(_names(content, "output")),
    _read,
    timed=lambda content: any(_names(content, kind) for kind in _SCALES),
)
