"""Splitwise (Patel et al., ISCA 2024): Llama-2-70B on DGX-A100, vLLM of 2023, medians."""

from pdplan.calibration.formats.row import Measured
from validation.datasets.tables import measured, table


def rows(*, plausible: bool = False) -> list[Measured]:
    """Prefill of a batch, and a decode step at the middle of its output.

    One prefill is faster than the hardware allows: 64 x 512 tokens on TP 2 in 0.79 s, an eighth of
    half as many; it is left out of the plausible ones.
    """
    path = "splitwise/llama2_70b_a100.csv"
    found = []
    for i, r in enumerate(table(path), 2):
        shape = {
            "model": "llama-2-70b",
            "hardware": "a100-80gb-sxm",
            "engine": "vllm-2023",
            "tp": r["tensor_parallel"],
            "weight_dtype": "fp16",
            "kv_dtype": "fp16",
            "batch": r["batch_size"],
        }
        isl, osl = float(r["prompt_size"]), float(r["token_size"])
        impossible = (r["tensor_parallel"], r["batch_size"]) == ("2", "64")
        found += [
            measured(
                path,
                i,
                shape | {"phase": "prefill", "isl": isl},
                latency_s=float(r["prompt_ms_median"]) / 1e3,
            ),
        ][: 0 if plausible and impossible else 1]
        found += [
            measured(
                path,
                i,
                shape | {"phase": "decode", "context": isl + osl / 2},
                latency_s=float(r["token_ms_median"]) / 1e3,
            ),
        ]
    return found
