"""Tables of MLPerf inference server runs: one row a submission, or one a configuration.

Rows that pdplan cannot predict are left out: other scenarios, invalid results, accelerators and
models it does not know, unstated parallelism. A system of several replicas is divided by them.
"""

from collections.abc import Mapping

from pdplan.calibration.formats.format import Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.mlperf_names import DTYPES, INPUT_TOKENS, hardware_id, model_id
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.formats.table import table
from pdplan.errors import Problem, SpecError


def _read(part: Part) -> list[Measured]:
    data = table(part)
    found = [_one(Node(data.source, line, _filled(row))) for line, row in data.rows]
    kept = [one for one in found if one is not None]
    if not kept:
        message = "has no valid server run of a model and an accelerator that pdplan knows"
        raise SpecError(Problem(data.source, None, "", message))
    return kept


def _filled(row: Mapping[str, str]) -> dict[str, str]:
    return {name: cell.strip() for name, cell in row.items() if cell.strip()}


def _one(node: Node) -> Measured | None:
    model = model_id(node.text("bench", "model"))
    hardware = hardware_id(node.text("accelerator"))
    dtype = DTYPES.get(node.text("precision").lower(), "")
    tp, pp = node.number("tp") or 0.0, node.number("pp") or 1.0
    usable = node.text("scenario") == "Server" and node.text("result") in ("", "VALID")
    if not (usable and model and hardware and dtype and tp >= 1 and pp >= 1):
        return None
    replicas = max((node.number("n_accel") or tp * pp) / (tp * pp), 1.0)
    rate = node.number("rate_per_replica")
    if rate is None:
        rate = _per(node.number("scheduled_samples_per_s", "target_qps", "rate"), replicas)
    if not rate:
        return None
    row = {
        "phase": "serve",
        "model": model,
        "hardware": hardware,
        "weight_dtype": dtype,
        "tp": number_text(tp),
        "pp": number_text(pp),
        "rate": number_text(rate),
        "isl": number_text(INPUT_TOKENS[model]) if model in INPUT_TOKENS else "",
        "osl": node.text("osl", "osl_mean"),
    }
    return Measured(row, _values(node, replicas), node.source, node.line)


def _values(node: Node, replicas: float) -> dict[str, float]:
    found = {
        f"{output}_{quantile}_s": node.number(f"{name}_ms", name, scale=1e-3)
        for output in ("ttft", "tpot")
        for quantile in ("mean", "p50", "p90", "p99")
        for name in (f"{output}_{quantile}",)
    }
    found["latency_s"] = node.number("e2e_mean_ms", scale=1e-3)
    found["throughput_rps"] = _per(node.number("completed_samples_per_s"), replicas)
    return {name: value for name, value in found.items() if value is not None}


def _per(total: float | None, replicas: float) -> float | None:
    return None if total is None else total / replicas


MLPERF_TABLE = Format(
    "MLPerf table",
    "csv",
    (("accelerator", "rate_per_replica", "bench"), ("accelerator", "scenario", "ttft_mean_ms")),
    _read,
)
