"""`vllm bench latency` and `vllm bench throughput` with `--output-json`.

Neither file says what ran: model, hardware, lengths and batch come from flags.
"""

from pdplan.calibration.formats.format import Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.statistics import present
from pdplan.calibration.formats.vllm_serve import metadata


def _read_latency(part: Part) -> list[Measured]:
    node: Node = part.value
    row = metadata(node) | {"phase": "static"}
    values = present(latency_s=node.number("avg_latency"))
    return [Measured(row, values, node.source, node.line)]


def _read_throughput(part: Part) -> list[Measured]:
    """All requests are there at once and are batched as memory allows: a burst."""
    node: Node = part.value
    row = metadata(node) | {"phase": "serve"}
    requests = node.number("num_requests")
    if requests:
        row |= {"concurrency": number_text(requests), "requests": number_text(requests)}
    values = present(throughput_rps=node.number("requests_per_second"))
    return [Measured(row, values, node.source, node.line)]


VLLM_LATENCY = Format(
    "vLLM bench latency",
    "json",
    (("avg_latency", "latencies"), ("avg_latency", "percentiles")),
    _read_latency,
    needs=("batch",),
)
VLLM_THROUGHPUT = Format(
    "vLLM bench throughput",
    "json",
    (("elapsed_time", "requests_per_second"),),
    _read_throughput,
)
