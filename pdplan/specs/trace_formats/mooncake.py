"""Traces with hashed prompt blocks: Mooncake's, and the Qwen-Bailian ones with the same keys.

`{"timestamp": ms, "input_length", "output_length", "hash_ids": [...]}`; Qwen-Bailian's times are
seconds and it has `chat_id` and `parent_chat_id`. A hash stands for all of the prompt up to the end
of its block, 512 tokens in Mooncake and 16 in Qwen-Bailian; the size is told by the rows.
*Sources*: kvcache-ai/Mooncake, alibaba-edu/qwen-bailian-usagetraces-anon.
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from pdplan.specs.trace_formats.cells import count, number
from pdplan.specs.trace_formats.content import Content, Where
from pdplan.specs.trace_formats.prefix_cache import PrefixCache
from pdplan.specs.trace_formats.request import (
    Found,
    Reading,
    TraceFormat,
    TraceRequest,
    has,
    wrong,
)

_NAMES = ("timestamp", "input_length", "output_length")
BLOCK_TOKENS = 512
"""Of Mooncake, where no row tells."""
ENOUGH_BLOCKS = 8
"""Of a prompt, for its length to tell the size of a block to the next power of two."""
LOOKED_AT = 1000
REMEMBERED = 200_000
"""Chats whose first one is known."""


def _read(content: Content, reading: Reading) -> Iterator[Found]:
    chats = "chat_id" in content.names
    scale = 1.0 if chats else 1e-3
    rows, block_tokens = _block_tokens(content.rows)
    cache, sessions = PrefixCache(reading.cache_blocks), _Sessions()
    for where, row in rows:
        prompt = count(content, where, "input_length", row.get("input_length"))
        output = count(content, where, "output_length", row.get("output_length"))
        arrival = scale * number(content, where, "timestamp", row.get("timestamp"))
        hashes = _hashes(content, where, row.get("hash_ids"))
        cached = None
        if hashes is not None:
            cached = float(max(0, min(cache.replay(hashes) * block_tokens, prompt - 1)))
        session = sessions.of(row) if chats else row.get("session_id")
        name = None if session is None else str(session)
        kept = TraceRequest(arrival, prompt, output, cached_tokens=cached, session=name)
        yield where, kept if prompt and output else None


def _hashes(content: Content, where: Where, cell: object) -> Sequence[Hashable] | None:
    if cell is None:
        return None
    if not isinstance(cell, list) or not all(isinstance(key, int | str) for key in cell):
        raise wrong(content, where, "hash_ids", "expected a list of numbers or texts")
    return cell


def _block_tokens(rows: Iterator[tuple[Where, Any]]) -> tuple[Iterator[tuple[Where, Any]], int]:
    """Power of two nearest to tokens a hash of the first long prompt."""
    seen: list[tuple[Where, Any]] = []
    for pair in itertools.islice(rows, LOOKED_AT):
        seen.append(pair)
        hashes, tokens = pair[1].get("hash_ids"), pair[1].get("input_length")
        known = isinstance(hashes, list) and isinstance(tokens, int | float) and tokens > 0
        if known and len(hashes) >= ENOUGH_BLOCKS and math.isfinite(tokens):
            size = 2 ** max(0, round(math.log2(tokens / len(hashes))))
            return itertools.chain(seen, rows), size
    return itertools.chain(seen, rows), BLOCK_TOKENS


class _Sessions:
    """First chat of each chain of chats, of those seen last."""

    def __init__(self) -> None:
        self._first: OrderedDict[Hashable, object] = OrderedDict()

    def of(self, row: dict[str, Any]) -> object:
        chat, parent = row.get("chat_id"), row.get("parent_chat_id")
        first = self._first.get(str(parent), chat)
        self._first[str(chat)] = first
        if len(self._first) > REMEMBERED:
            self._first.popitem(last=False)
        return first


MOONCAKE = TraceFormat(
    "Mooncake or Qwen-Bailian trace",
    lambda content: content.kind == "json" and has(*_NAMES)(content),
    _read,
)
