"""`vllm bench serve --save-result`: one JSON object a run.

Fields as of vLLM 0.6 (`benchmark_serving.py`) to 0.19 (`vllm/benchmarks/serve.py`); percentiles
are those of `--metric-percentiles`, E2E only with `e2el` among `--percentile-metrics`. Keys of
`--metadata` that are columns of `predict` (hardware=h100-sxm, tp=8) are taken.
"""

from pdplan.calibration.formats.arrivals import arrivals
from pdplan.calibration.formats.format import TOTAL_OUTPUT, Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.per_request import per_request
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.statistics import flat_milliseconds, present
from pdplan.planner.points import PREDICT_INPUTS

OTHER_NAMES = {
    "tp": ("tensor_parallel_size", "tp_size"),
    "pp": ("pipeline_parallel_size", "pp_size"),
    "dp": ("data_parallel_size", "dp_size"),
    "model": ("model_id",),
}


def _read(part: Part) -> list[Measured]:
    node: Node = part.value
    if node.text("ramp_up_strategy"):
        node.refuse("ramp_up_strategy", "the rate changed during the run; needs a steady one")
    row = metadata(node) | {"phase": "serve"} | served(node)
    values = present(
        latency_s=node.number("mean_e2el_ms", scale=1e-3),
        throughput_rps=node.number("request_throughput"),
        **{TOTAL_OUTPUT: node.number("output_throughput")},
    )
    values = per_request(node) | values
    values |= flat_milliseconds(node, "ttft", "ttft") | flat_milliseconds(node, "tpot", "tpot")
    return [Measured(row, values, node.source, node.line)]


def metadata(node: Node) -> dict[str, str]:
    """Columns of `predict` that are said by name or by an engine's flag name."""
    names = {
        name: (*OTHER_NAMES.get(name, ()), name)
        for name in PREDICT_INPUTS
        if name not in ("phase", "rate", "concurrency")  # the run says them
    }
    return {name: node.text(*keys) for name, keys in names.items() if node.text(*keys)}


def served(node: Node) -> dict[str, str]:
    """Arrivals, number and mean lengths of the requests; shared with SGLang."""
    completed = node.number("completed")
    if completed == 0:
        node.refuse("completed", "no request completed")
    sent = node.number("num_prompts") or completed
    row = arrivals(node, "request_rate", limit=node.number("max_concurrency"), requests=sent)
    if completed:
        row["requests"] = number_text(completed)
        for column, key in (("isl", "total_input_tokens"), ("osl", "total_output_tokens")):
            total = node.number(key)
            if total:
                row[column] = number_text(total / completed)
    return row


VLLM_SERVE = Format(
    "vLLM bench serve",
    "json",
    (("request_throughput", "mean_ttft_ms"), ("request_throughput", "model_id")),
    _read,
)
