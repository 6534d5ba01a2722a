"""InferenceX by SemiAnalysis and NVIDIA's accuracy references: closed-loop runs.

InferenceX sends 10 x concurrency requests, the first `concurrency` at once, and draws lengths
between 0.8 and 1.0 of the nominal ones; NVIDIA's own references (no date) keep them.
"""

from pdplan.calibration.formats.row import Measured
from validation.datasets.tables import Row, measured, table

_KEYS = (
    "engine", "model", "hardware", "tp", "pp", "dp", "moe_tp", "ep", "weight_dtype", "moe_dtype",
    "concurrency",
)  # fmt: skip
MEAN_LENGTH = 0.9


def suspect(r: Row) -> str:
    """Why a run cannot be what its columns say; empty where nothing is wrong."""
    if r["model"] == "deepseek-r1" and r["engine_version"].endswith("rc6.post3"):
        return "speculative decoding: up to twice as fast as the same run a patch release before"
    if r["engine_version"] == "1.3.0rc1":
        return "TPOT of 85-92 ms at any concurrency, six times that of its neighbours"
    if "gpt-oss" in r["model"] and int(r["concurrency"]) == 512:
        return "TTFT of 20-118 s: the engine admitted few of the 512"
    if (r["engine"], r["model"], r["precision"]) == ("vllm", "qwen3-32b", "fp8"):
        return "at or beyond the roofline of its hardware"
    return ""


def rows(*, plausible: bool = False) -> list[Measured]:
    """Every distinct run, or those that nothing speaks against."""
    path = "inferencex/closed_loop.csv"
    found: dict[tuple[str, ...], Measured] = {}
    for i, r in enumerate(table(path), 2):
        if plausible and suspect(r):
            continue
        row = {key: r[key] for key in _KEYS} | {"phase": "serve"}
        if "gpt-oss" in r["model"]:  # ships mxfp4 experts in 16-bit layers, whatever it was called
            row |= {"weight_dtype": "bf16", "moe_dtype": "mxfp4"}
        elif r["engine"] == "trtllm" and r["weight_dtype"] != "bf16":
            row["kv_dtype"] = "fp8"  # as its quantised checkpoints say
        row["requests"] = str(10 * int(r["concurrency"]))
        for length in ("isl", "osl"):
            row[length] = str(float(r[length]) * MEAN_LENGTH)
        one = measured(
            path,
            i,
            row,
            ttft_mean_s=float(r["ttft_ms"]) / 1e3,
            tpot_mean_s=float(r["tpot_ms"]) / 1e3,
        )
        found[(*row.values(), r["ttft_ms"], r["tpot_ms"])] = one
    return list(found.values())


def set_aside() -> list[str]:
    """Why, for each run that is not plausible."""
    kept = {one.line for one in rows(plausible=True)}
    lines = [one.line for one in rows() if one.line not in kept]
    table_rows = table("inferencex/closed_loop.csv")
    return [suspect(table_rows[line - 2]) for line in lines if line is not None]
