"""SGLang's `bench_one_batch`, `bench_one_batch_server` and `bench_offline_throughput`.

One JSON object a line, as of SGLang 0.4 to 0.5.23 (`sglang/benchmark/one_batch.py`,
`one_batch_server.py`, `offline_throughput.py`).
"""

from pdplan.calibration.formats.format import TOTAL_OUTPUT, Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.statistics import present


def _read_batch(part: Part) -> list[Measured]:
    node: Node = part.value
    names = (("batch", "batch_size"), ("isl", "input_len"), ("osl", "output_len"))
    row = {"phase": "static"} | {column: node.text(key) for column, key in names}
    values = present(latency_s=node.number("total_latency", "latency"))
    return [Measured(row, values, node.source, node.line)]


def _read_throughput(part: Part) -> list[Measured]:
    """All requests are there at once: a burst."""
    node: Node = part.value
    requests = node.number("successful_requests")
    if not requests:
        node.refuse("successful_requests", "no request completed")
    row = {"phase": "serve"} | dict.fromkeys(("concurrency", "requests"), number_text(requests))
    for column, key in (("isl", "total_input_tokens"), ("osl", "total_output_tokens")):
        row[column] = number_text((node.number(key) or 0.0) / requests)
    values = present(
        throughput_rps=node.number("request_throughput"),
        **{TOTAL_OUTPUT: node.number("output_throughput")},
    )
    return [Measured(row, values, node.source, node.line)]


SGLANG_BATCH = Format(
    "SGLang bench_one_batch",
    "json",
    (
        ("batch_size", "input_len", "output_len", "total_latency"),
        ("batch_size", "input_len", "output_len", "latency"),
    ),
    _read_batch,
)
SGLANG_THROUGHPUT = Format(
    "SGLang bench_offline_throughput",
    "json",
    (("successful_requests", "total_latency"),),
    _read_throughput,
)
