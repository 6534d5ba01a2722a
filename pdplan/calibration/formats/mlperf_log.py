"""`mlperf_log_summary.txt` of MLPerf LoadGen 4.0 and later (token latencies from 4.0 on).

The log does not say what ran: model, hardware, parallelism and input length come from flags. The
whole system is taken as one instance. Server runs are open loops at the scheduled rate, offline
runs are bursts.
"""

from pdplan.calibration.formats.format import TOTAL_OUTPUT, Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.row import Measured
from pdplan.specs.source import shown

_PERCENT = {"p50": "50.00", "p90": "90.00", "p99": "99.00"}
_TOKEN_TIMES = {
    "ttft": ("first token latency (ns)",),
    "tpot": ("time to output token (ns)", "time per output token (ns)"),
}


def _read(part: Part) -> list[Measured]:
    """Keys are compared in lower case: LoadGen's own spelling wavers."""
    pairs = (line.partition(":") for line in str(part.value).splitlines() if ":" in line)
    found: dict[str, str] = {}
    for name, _, value in pairs:
        found.setdefault(" ".join(name.lower().split()), value.strip())
    log = Node(part.source, None, found)
    scenario = found.get("scenario", "")
    if scenario not in ("Server", "Offline"):
        log.refuse("Scenario", f"expected Server or Offline; got {shown(scenario)}")
    row = {"phase": "serve"}
    samples = log.number("completed samples per second", "samples per second")
    tokens = log.number("completed tokens per second", "tokens per second")
    if scenario == "Server":
        row["rate"] = log.text("scheduled samples per second", "target_qps")
    else:
        row["concurrency"] = row["requests"] = log.text("samples_per_query")
    if samples and tokens:
        row["osl"] = number_text(tokens / samples)
    values = {"throughput_rps": samples, TOTAL_OUTPUT: tokens}
    if scenario == "Server":  # offline, every sample waits for all before it
        values |= _times(log)
    kept = {name: value for name, value in values.items() if value is not None}
    return [Measured(row, kept, part.source, None)]


def _times(log: Node) -> dict[str, float | None]:
    found = {"latency_s": log.number("mean latency (ns)", scale=1e-9)}
    for output, names in _TOKEN_TIMES.items():
        means = (f"mean {name}" for name in names)
        found[f"{output}_mean_s"] = log.number(*means, scale=1e-9)
        for quantile, percent in _PERCENT.items():
            keys = (f"{percent} percentile {name}" for name in names)
            found[f"{output}_{quantile}_s"] = log.number(*keys, scale=1e-9)
    return found


MLPERF_LOG = Format("MLPerf LoadGen summary", "text", (("MLPerf Results Summary",),), _read)
