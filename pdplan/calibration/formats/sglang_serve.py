"""`python -m sglang.bench_serving --output-file`: one JSON object a line.

Fields as of SGLang 0.4 to 0.5.23 (`sglang/benchmark/serving.py`). `server_info` is the server's
own account of its arguments; releases without it need flags for the model and its parallelism.
"""

from pdplan.calibration.formats.format import TOTAL_OUTPUT, Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.per_request import per_request
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.statistics import flat_milliseconds, present
from pdplan.calibration.formats.vllm_serve import served

_KV_DTYPES = {"fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "bf16": "bf16", "bfloat16": "bf16"}


def _read(part: Part) -> list[Measured]:
    node: Node = part.value
    server, capacity = _server(node.child("server_info"))
    row = {"phase": "serve"} | server | served(node)
    for column, key in (("isl", "random_input_len"), ("osl", "random_output_len")):
        if column not in row and node.number(key):
            row[column] = node.text(key)  # nominal: the run does not say what it sent
    values = present(
        latency_s=node.number("mean_e2e_latency_ms", scale=1e-3),
        throughput_rps=node.number("request_throughput"),
        kv_capacity_tokens=capacity,
        **{TOTAL_OUTPUT: node.number("output_throughput")},
    )
    values = per_request(node) | values
    values |= flat_milliseconds(node, "ttft", "ttft") | flat_milliseconds(node, "tpot", "tpot")
    return [Measured(row, values, node.source, node.line)]


def _server(info: Node) -> tuple[dict[str, str], float | None]:
    """Model, parallelism and KV capacity of the server."""
    if not info.data:
        return {}, None
    if info.items("prefill") and info.items("decode"):
        info.refuse("", "is of a prefill and a decode server; predict has one instance a row")
    ranks, data = info.number("tp_size") or 1.0, info.number("dp_size") or 1.0
    if data > 1 and not info.data.get("enable_dp_attention"):
        message = f"{data:g} replicas behind one address; expected the result of one instance"
        info.refuse("dp_size", message)
    row = {
        "model": info.text("model_path"),
        "tp": number_text(max(ranks / data, 1.0)) if info.number("tp_size") else "",
        "dp": number_text(data) if data > 1 else "",
        "pp": info.text("pp_size"),
        "ep": info.text("ep_size") if (info.number("ep_size") or 1) > 1 else "",
        "kv_dtype": _KV_DTYPES.get(info.text("kv_cache_dtype"), ""),
        "weight_dtype": "fp8" if info.text("quantization") == "fp8" else "",
    }
    capacity = info.number("max_total_num_tokens") if data == 1 else None
    return {name: value for name, value in row.items() if value}, capacity


SGLANG_SERVE = Format(
    "SGLang bench_serving",
    "json",
    (("request_throughput", "mean_e2e_latency_ms"), ("request_throughput", "server_info")),
    _read,
)
