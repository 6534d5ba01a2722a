"""DistServe (Zhong et al., OSDI 2024): linear fits of measured latencies, A100-80GB, fp16.

The fits are evaluated where its profiler can have measured: prompts up to OPT's context of 2,048
tokens, batches on both sides of the threshold between its two decode branches whose KV fits.
"""

from functools import cache

from pdplan.calibration.formats.row import Measured
from validation.datasets.tables import Row, measured, table

PROMPTS = (64, 128, 256, 512, 1024, 2048)
BATCHES = (1, 8, 32, 64, 128, 192)
CONTEXTS = (128, 512, 1024)
_PATH = "distserve/fit_coefficients.csv"


def rows(system: str) -> list[Measured]:
    """Fits of `distserve` or of `vllm` (2023), as points."""
    found = []
    for i, r in enumerate(table(_PATH), 2):
        if r["engine"] == system:
            engine = "distserve" if system == "distserve" else "vllm-2023"
            shape = {
                "model": r["model"].removeprefix("facebook/"),
                "hardware": "a100-80gb-sxm",
                "engine": engine,
                "tp": r["tp"],
                "weight_dtype": "fp16",
                "kv_dtype": "fp16",
            }
            found += _prefill(i, shape, r) + _decode(i, shape, r)
    return found


def _prefill(line: int, shape: Row, r: Row) -> list[Measured]:
    a, b, c = (
        float(r[f"prefill_{name}"]) for name in ("a_ms", "b_ms_per_token", "c_ms_per_token2")
    )
    return [
        measured(
            _PATH,
            line,
            shape | {"phase": "prefill", "isl": isl, "batch": 1},
            latency_s=(a + b * isl + c * isl**2) / 1e3,
        )
        for isl in PROMPTS
    ]


@cache
def _capacity_tokens() -> dict[tuple[str, str], float]:
    """KV capacity by model and TP, without pipeline."""
    path = "distserve/max_num_tokens.csv"
    return {
        (r["model"], r["tp"]): float(r["max_num_tokens"]) for r in table(path) if r["pp"] == "1"
    }


def _decode(line: int, shape: Row, r: Row) -> list[Measured]:
    found = []
    most = _capacity_tokens()[r["model"], r["tp"]]
    for batch in BATCHES:
        size = "smallbs" if batch < float(r["threshold_bs"]) else "largebs"
        a, b, c = (
            float(r[f"decode_{size}_{name}"])
            for name in ("a_ms", "b_ms_per_ctx_token", "c_ms_per_req")
        )
        found += [
            measured(
                _PATH,
                line,
                shape | {"phase": "decode", "batch": batch, "context": context},
                latency_s=(a + b * batch * context + c * batch) / 1e3,
            )
            for context in CONTEXTS
            if batch * context <= most
        ]
    return found
