"""`vllm bench serve --save-result --save-detailed`: the requests of one run, column by column.

`input_lens`, `output_lens` and `start_times` [s]; releases before 0.11 wrote no start times, their
lengths alone are read. An output of 0 tokens is a failed request.
"""

import math
from collections.abc import Iterator

from pdplan.specs.trace_formats.cells import count, number
from pdplan.specs.trace_formats.content import Content
from pdplan.specs.trace_formats.request import (
    Found,
    Reading,
    TraceFormat,
    TraceRequest,
    has,
    wrong,
)

_NAMES = ("input_lens", "output_lens")


def _read(content: Content, _: Reading) -> Iterator[Found]:
    for order, (where, run) in enumerate(content.rows):
        if order > 0:
            raise wrong(content, where, "", "is a second run; expected the requests of one")
        lists = {name: run.get(name) for name in (*_NAMES, "start_times") if name in run}
        for name, cells in lists.items():
            if not isinstance(cells, list) or len(cells) != len(lists["input_lens"]):
                raise wrong(content, where, name, "expected a list as long as input_lens")
        starts = lists.get("start_times") or [math.nan] * len(lists["input_lens"])
        pairs = zip(lists["input_lens"], lists["output_lens"], starts, strict=True)
        for i, (prompt, output, start) in enumerate(pairs):
            tokens = count(content, where, f"input_lens[{i}]", prompt)
            made = count(content, where, f"output_lens[{i}]", output)
            at = start
            if "start_times" in lists:
                at = number(content, where, f"start_times[{i}]", start)
            yield where, TraceRequest(at, tokens, made) if tokens and made else None


VLLM_SERVE = TraceFormat(
    "vLLM bench serve, detailed",
    lambda content: content.kind == "json" and has(*_NAMES)(content),
    _read,
    timed=has("start_times"),
)
