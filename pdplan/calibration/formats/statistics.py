"""Mean and percentiles as result files write them."""

from collections.abc import Mapping

from pdplan.calibration.formats.json_object import Node

QUANTILES: Mapping[str, tuple[str, ...]] = {
    "mean": ("mean", "avg"),
    "p50": ("median", "p50"),
    "p90": ("p90",),
    "p99": ("p99",),
}


def spread(node: Node, output: str, scale: float) -> dict[str, float]:
    """Statistics of one object `{mean, p50, ...}` as outputs of `predict`."""
    found = {}
    for quantile, keys in QUANTILES.items():
        value = node.number(*keys, scale=scale)
        if value is not None:
            found[f"{output}_{quantile}_s"] = value
    return found


def flat_milliseconds(node: Node, key: str, output: str) -> dict[str, float]:
    """Statistics written as `mean_ttft_ms`, `median_ttft_ms`, `p99_ttft_ms`."""
    found = {}
    for quantile, names in QUANTILES.items():
        value = node.number(*(f"{name}_{key}_ms" for name in names), scale=1e-3)
        if value is not None:
            found[f"{output}_{quantile}_s"] = value
    return found


def present(**values: float | None) -> dict[str, float]:
    """Drop what is not known."""
    return {name: value for name, value in values.items() if value is not None}
