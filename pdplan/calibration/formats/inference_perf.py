"""inference-perf: `stage_N_lifecycle_metrics.json` and `summary_lifecycle_metrics.json`.

Fields as of inference-perf 0.1 to 0.7. A stage says its rate or concurrency, the summary of all
stages does not; no file says the model, which flags give. Latencies are in seconds.
"""

from pdplan.calibration.formats.arrivals import arrivals
from pdplan.calibration.formats.format import TOTAL_OUTPUT, Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.statistics import present, spread

_LENGTHS = {"isl": ("prompt_len", "prompt_tokens"), "osl": ("output_len", "output_tokens")}


def _read(part: Part) -> list[Measured]:
    node: Node = part.value
    done, load = node.child("successes"), node.child("load_summary")
    requests = done.number("count")
    if requests == 0:
        done.refuse("count", "no request completed")
    row = {"phase": "serve"} | _sent(load)
    if requests:
        row["requests"] = number_text(requests)
    for column, keys in _LENGTHS.items():
        row[column] = next(filter(None, (done.child(key).text("mean") for key in keys)), "")
    latency, throughput = done.child("latency"), done.child("throughput")
    values = present(
        latency_s=latency.child("request_latency").number("mean"),
        throughput_rps=throughput.number("requests_per_sec"),
        **{TOTAL_OUTPUT: throughput.number("output_tokens_per_sec")},
    )
    values |= spread(latency.child("time_to_first_token"), "ttft", 1.0)
    values |= spread(latency.child("time_per_output_token"), "tpot", 1.0)
    return [Measured(row, values, node.source, node.line)]


def _sent(load: Node) -> dict[str, str]:
    """A stage with a concurrency is a closed loop, whatever its nominal rate."""
    limit = load.number("concurrency")
    if limit:
        return {"concurrency": number_text(limit)}
    return arrivals(load, "requested_rate", limit=None, requests=None)


INFERENCE_PERF = Format("inference-perf", "json", (("load_summary", "successes"),), _read)
