"""`aiperf profile` and `genai-perf profile`: the aggregated JSON export of a run.

Fields as of genai-perf 0.0.8 to 0.0.16 and AIPerf 0.1 to 0.13 (schema 1.4): every metric is
`{unit, avg, p50, p90, p99}`; `input_config` has a different shape in each generation. Its
inter-token latency is a mean over the request, first token left out: our TPOT.
"""

from pdplan.calibration.formats.arrivals import arrivals
from pdplan.calibration.formats.format import TOTAL_OUTPUT, Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.statistics import present, spread
from pdplan.specs.source import shown

_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "sec": 1.0, "s": 1.0, "seconds": 1.0}


def _read(part: Part) -> list[Measured]:
    node: Node = part.value
    if node.data.get("is_complete") is False or node.data.get("was_cancelled") is True:
        node.refuse("", "is of a run that was cut short; expected a complete one")
    requests = node.child("request_count").number("avg")
    row = {"phase": "serve"} | _sent(node.child("input_config"), requests)
    for column, key in (("isl", "input_sequence_length"), ("osl", "output_sequence_length")):
        row[column] = node.child(key).text("avg")
    if requests:
        row["requests"] = number_text(requests)
    ends = node.child("request_latency")
    values = present(
        latency_s=ends.number("avg", scale=_scale(ends)),
        throughput_rps=node.child("request_throughput").number("avg"),
        **{TOTAL_OUTPUT: node.child("output_token_throughput").number("avg")},
    )
    for output, key in (("ttft", "time_to_first_token"), ("tpot", "inter_token_latency")):
        metric = node.child(key)
        values |= spread(metric, output, _scale(metric))
    return [Measured(row, values, node.source, node.line)]


def _scale(metric: Node) -> float:
    """Seconds of the unit of a metric."""
    unit = metric.text("unit")
    if metric.data and unit not in _SECONDS:
        known = ", ".join(_SECONDS)
        metric.refuse("unit", f"{shown(unit)} is no unit of time; known: {known}")
    return _SECONDS.get(unit, 1.0)


def _sent(config: Node, requests: float | None) -> dict[str, str]:
    """Model and arrivals of a run, from any generation of `input_config`."""
    row = {"model": _model(config)}
    phases = [p for p in config.items("phases") if "warmup" not in (p.text("kind"), p.text("name"))]
    stimulus = config.child("perf_analyzer", "stimulus")
    for place, rate in (
        *((phase, "rate") for phase in phases[-1:]),  # AIPerf 0.9 and later
        (config.child("loadgen"), "request_rate"),  # AIPerf before
        (stimulus, "request_rate"),  # genai-perf 0.0.12 and later
        (config, "request_rate"),  # genai-perf before
    ):
        if place.data.get(rate) is not None or place.data.get("concurrency") is not None:
            limit = place.number("concurrency")
            return row | arrivals(place, rate, limit=limit, requests=requests)
    return row


def _model(config: Node) -> str:
    for names in (
        config.child("endpoint").data.get("model_names"),
        [item.text("name") for item in config.child("models").items("items")],
        [item.text("name") for item in config.items("models")],
        *(
            config.data.get(key)
            for key in ("models", "model_names", "model", "formatted_model_name")
        ),
    ):
        first = names[0] if isinstance(names, list) and names else names
        if isinstance(first, str) and first:
            return first
    return ""


AIPERF = Format(
    "AIPerf or genai-perf",
    "json",
    (
        ("time_to_first_token", "request_throughput"),
        ("request_latency", "input_config"),
        ("request_latency", "request_throughput"),
    ),
    _read,
)
