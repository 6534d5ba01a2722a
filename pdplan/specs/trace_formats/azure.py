"""Azure LLM inference traces of 2023 and 2024, and the multimodal one of 2025.

`TIMESTAMP,ContextTokens,GeneratedTokens`, the multimodal one with `NumImages`; its ContextTokens
count text and image tokens together. *Source*: Azure/AzurePublicDataset.
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

_NAMES = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def _read(content: Content, reading: Reading) -> Iterator[Found]:
    time, prompt, output = (content.need(name) for name in _NAMES)
    media = content.pick("NumImages")
    for where, row in content.rows:
        images = count(content, where, "NumImages", media(row)) if media else 0
        context = count(content, where, "ContextTokens", prompt(row))
        text = max(1, context - images * reading.image_tokens) if images else context
        made = count(content, where, "GeneratedTokens", output(row))
        arrival = seconds(content, where, "TIMESTAMP", time(row))
        yield where, TraceRequest(arrival, text, made, images) if text and made else None


AZURE_MULTIMODAL = TraceFormat(
    "Azure LMM inference trace",
    has(*_NAMES, "NumImages"),
    _read,
    note="its prompt tokens count those of images too; --image-tokens takes them off",
)
AZURE = TraceFormat("Azure LLM inference trace", has(*_NAMES), _read)
