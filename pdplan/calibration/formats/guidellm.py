"""`guidellm benchmark run`: a report of one or many benchmarks.

Fields as of GuideLLM 0.2 (`benchmarks[].args.strategy`) to 0.8 (`benchmarks[].config.strategy`).
Its inter-token latency leaves the first token out, as our TPOT does; its `time_per_output_token`
does not and is left alone.
"""

from pdplan.calibration.formats.arrivals import arrivals
from pdplan.calibration.formats.format import TOTAL_OUTPUT, Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.statistics import present, spread

_MODEL_AT = (
    ("config", "spec", "backend"),
    ("config", "backend"),
    ("args",),
    ("args", "backend_kwargs"),
)


def _read(part: Part) -> list[Measured]:
    report: Node = part.value
    model = _first_model(report)
    found = [_one(benchmark, model) for benchmark in report.items("benchmarks")]
    kept = [one for one in found if one is not None]
    if not kept:
        report.refuse("benchmarks", "hold no completed request")
    return kept


def _one(benchmark: Node, model: str) -> Measured | None:
    """Read one benchmark; None where nothing completed."""
    metrics = benchmark.child("metrics")
    requests = metrics.child("request_totals").number("successful")
    if requests == 0:
        return None
    row = {"phase": "serve", "model": _first_model(benchmark) or model}
    strategy = benchmark.child("config", "strategy")
    row |= _sent(strategy if strategy.data else benchmark.child("args", "strategy"), requests)
    for column, key in (("isl", "prompt_token_count"), ("osl", "output_token_count")):
        row[column] = metrics.child(key, "successful").text("mean")
    if requests:
        row["requests"] = number_text(requests)
    means = {
        "latency_s": "request_latency",
        "throughput_rps": "requests_per_second",
        TOTAL_OUTPUT: "output_tokens_per_second",
    }
    values = present(
        **{name: metrics.child(key, "successful").number("mean") for name, key in means.items()}
    )
    for output, key in (("ttft", "time_to_first_token_ms"), ("tpot", "inter_token_latency_ms")):
        each = metrics.child(key, "successful")
        values |= spread(each.child("percentiles"), output, 1e-3) | spread(each, output, 1e-3)
    return Measured(row, values, benchmark.source, benchmark.line)


def _sent(strategy: Node, requests: float | None) -> dict[str, str]:
    kind = strategy.text("type_")
    if kind in ("trace", "replay"):
        strategy.refuse("type_", "replays a trace; one row of predict has a constant rate")
    if kind == "synchronous":
        return {"concurrency": "1"}
    limit = strategy.number("streams", "max_concurrency")
    return arrivals(strategy, "rate", limit=limit, requests=requests) if kind else {}


def _first_model(node: Node) -> str:
    named = [node.child(*path).text("model") for path in _MODEL_AT]
    named.append(node.child("worker").text("backend_model"))
    return next((name for name in named if name), "")


GUIDELLM = Format("GuideLLM", "json", (("benchmarks",),), _read)
