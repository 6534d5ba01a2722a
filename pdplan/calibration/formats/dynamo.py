"""NVIDIA Dynamo's SLA profiler: `raw_data.npz` (or the same names in JSON) of its two sweeps.

Names as of ai-dynamo 0.4 to 0.9. TTFT and ITL are in milliseconds. `x_kv_usage` is the share of
`max_kv_tokens` held by the batch at the mean context `y_context_length`, which gives the batch.
The files do not say the model, the hardware or the parallelism: flags give them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pdplan.calibration.formats.format import Format, Part
from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.calibration.formats.row import Measured


def _read_prefill(part: Part) -> list[Measured]:
    columns = _columns(part, ("prefill_isl", "prefill_ttft"))
    return [
        Measured(
            {"phase": "prefill", "batch": "1", "isl": number_text(isl)},
            {"latency_s": ttft * 1e-3},
            part.source,
            None,
        )
        for isl, ttft in zip(*columns, strict=True)
    ]


def _read_decode(part: Part) -> list[Measured]:
    usage, context, gap = _columns(part, ("x_kv_usage", "y_context_length", "z_itl"))
    capacity = _numbers(part, "max_kv_tokens")
    if not capacity or capacity[0] <= 0:
        _table(part).refuse("max_kv_tokens", "missing; the batch follows from it")
    return [
        Measured(
            {
                "phase": "decode",
                "batch": number_text(max(1.0, round(share * capacity[0] / max(tokens, 1.0), 2))),
                "context": number_text(tokens),
            },
            {"latency_s": itl * 1e-3, "kv_capacity_tokens": capacity[0]},
            part.source,
            None,
        )
        for share, tokens, itl in zip(usage, context, gap, strict=True)
    ]


def _columns(part: Part, names: tuple[str, ...]) -> list[list[float]]:
    """Lists of equal length."""
    found = [_numbers(part, name) for name in names]
    if len({len(values) for values in found}) > 1 or not found[0]:
        sizes = ", ".join(f"{n} has {len(v)}" for n, v in zip(names, found, strict=True))
        _table(part).refuse(names[0], f"the arrays must be of one length above 0; {sizes}")
    return found


def _numbers(part: Part, name: str) -> list[float]:
    node = _table(part)
    if not isinstance(node.data.get(name), list):
        node = Node(node.source, node.line, {name: [node.data.get(name)]})
    return node.numbers(name) if node.data[name] != [None] else []


def _table(part: Part) -> Node:
    """Arrays of either kind of file as lists."""
    if part.kind == "json":
        node: Node = part.value
        return node
    arrays: Mapping[str, Any] = part.value
    return Node(part.source, None, {name: np.ravel(a).tolist() for name, a in arrays.items()})


_PREFILL = ("prefill_isl", "prefill_ttft")
_DECODE = ("x_kv_usage", "y_context_length", "z_itl")
DYNAMO = (
    Format("Dynamo prefill profile", "npz", (_PREFILL,), _read_prefill),
    Format("Dynamo decode profile", "npz", (_DECODE,), _read_decode),
    Format("Dynamo prefill profile", "json", (_PREFILL,), _read_prefill),
    Format("Dynamo decode profile", "json", (_DECODE,), _read_decode),
)
