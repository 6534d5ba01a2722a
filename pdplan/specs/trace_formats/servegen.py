"""Requests made by ServeGen: `request_id`, `timestamp` [s] and the fields of `data`.

Fields stand beside `timestamp` (CSV, JSON) or under `data` (its Request written as it is):
`output_tokens`, and `input_tokens`, or `text_tokens` with lists of the tokens of each image, audio
and video (`image_tokens`, ...). Audio and video tokens are counted in the prompt.
*Source*: alibaba/ServeGen (NSDI 2026), `servegen.construct.Request` and its examples.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pdplan.specs.trace_formats.cells import count, seconds
from pdplan.specs.trace_formats.content import Content, Where
from pdplan.specs.trace_formats.request import (
    Found,
    Reading,
    TraceFormat,
    TraceRequest,
    has,
    wrong,
)


def _read(content: Content, _: Reading) -> Iterator[Found]:
    for where, row in content.rows:
        cells = row if isinstance(row, Mapping) else dict(zip(content.names, row, strict=False))
        nested = cells.get("data")
        data: Mapping[str, Any] = nested if isinstance(nested, Mapping) else cells
        kind = "input_tokens" if "input_tokens" in data else "text_tokens"
        prompt = count(content, where, kind, data.get(kind))
        images = 0
        if kind == "text_tokens":
            images = len(_tokens(content, where, "image_tokens", data))
            for name in ("audio_tokens", "video_tokens"):
                prompt += sum(_tokens(content, where, name, data))
        output = count(content, where, "output_tokens", data.get("output_tokens"))
        arrival = seconds(content, where, "timestamp", cells.get("timestamp"))
        text = max(1, prompt) if images else prompt
        yield where, TraceRequest(arrival, text, output, images) if text and output else None


def _tokens(content: Content, where: Where, name: str, data: Mapping[str, Any]) -> list[int]:
    """Tokens of each medium of a kind; CSV holds the list as text."""
    cell = data.get(name)
    if isinstance(cell, str):
        try:
            cell = json.loads(cell or "[]")
        except ValueError:
            cell = None
    if cell is None and name not in data:
        return []
    if not isinstance(cell, list):
        raise wrong(content, where, name, "expected a list of the tokens of each")
    return [count(content, where, name, item) for item in cell]


def _fits(content: Content) -> bool:
    flat = has("request_id", "timestamp", "output_tokens")(content)
    prompt = bool({"input_tokens", "text_tokens"} & set(content.names))
    return (flat and prompt) or has("request_id", "timestamp", "data")(content)


SERVEGEN = TraceFormat("ServeGen", _fits, _read)
