"""Percentiles from per-request lists, where a file has them (`--save-detailed`)."""

from collections.abc import Sequence

import numpy as np

from pdplan.calibration.formats.json_object import Node


def per_request(node: Node) -> dict[str, float]:
    """Statistics of `ttfts` and `itls` (seconds) over the requests without an error."""
    first = node.numbers("ttfts")
    errors = node.data.get("errors")
    kept = [i for i in range(len(first)) if not _failed(errors, i)]
    found = _statistics("ttft", [first[i] for i in kept])
    gaps, lengths = node.data.get("itls"), node.numbers("output_lens")
    if isinstance(gaps, list) and len(gaps) == len(lengths) == len(first):
        sums = {i: _sum(node, i, gaps[i]) for i in kept}
        found |= _statistics("tpot", [sums[i] / (lengths[i] - 1) for i in kept if lengths[i] > 1])
        if kept:
            found["latency_s"] = sum(first[i] + sums[i] for i in kept) / len(kept)
    return found


def _failed(errors: object, i: int) -> bool:
    return isinstance(errors, list) and i < len(errors) and bool(errors[i])


def _sum(node: Node, i: int, gaps: object) -> float:
    return sum(Node(node.source, node.line, {"itls": gaps}, f"[{i}]").numbers("itls"))


def _statistics(output: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dropped later
        found = {f"{output}_mean_s": float(np.mean(values))}
        for quantile in (50, 90, 99):
            found[f"{output}_p{quantile}_s"] = float(np.percentile(values, quantile))
    return found
