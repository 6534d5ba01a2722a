"""AIPerf's `profile_export.jsonl`: one record a request, with its metrics and their units.

Warm-up requests and failed ones are left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

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

_METRICS = ("input_sequence_length", "output_sequence_length")


def _read(content: Content, _: Reading) -> Iterator[Found]:
    for where, row in content.rows:
        about, metrics = row.get("metadata"), row.get("metrics")
        if row.get("error") or (
            isinstance(about, Mapping) and about.get("benchmark_phase") == "warmup"
        ):
            yield where, None
            continue
        if not isinstance(about, Mapping) or not isinstance(metrics, Mapping):
            raise wrong(content, where, "", "has no mappings 'metadata' and 'metrics'")
        key = "metadata.request_start_ns"
        arrival = 1e-9 * number(content, where, key, about.get("request_start_ns"))
        prompt, output = (
            count(content, where, f"metrics.{name}", _value(metrics.get(name))) for name in _METRICS
        )
        session = about.get("conversation_id")
        name = None if session is None else str(session)
        kept = TraceRequest(arrival, prompt, output, session=name) if prompt and output else None
        yield where, kept


def _value(metric: Any) -> Any:  # noqa: ANN401  (JSON holds anything)
    return metric.get("value") if isinstance(metric, Mapping) else metric


AIPERF = TraceFormat(
    "AIPerf records",
    lambda content: content.kind == "json" and has("metadata", "metrics")(content),
    _read,
)
