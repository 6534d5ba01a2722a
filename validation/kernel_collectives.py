"""Collectives: measured times, constants fitted to them, and errors on ranks left out.

`python -m validation.kernel_collectives` prints the tables.
"""

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pdplan.physics.collectives import (
    across_nodes_s,
    engine_all_reduce_s,
    kernel_all_reduce_s,
    library_latency_s,
    pipelined_s,
    send_s,
    shared_bytes_per_s,
)
from pdplan.physics.roofline import Floats
from validation.kernel_fits import FAMILIES, Law, column, hardware, table

KERNEL_LIMIT_BYTES = 16 * 2**20
"""Beyond it every engine calls NCCL."""
PCIE = ("l40s", "rtx_pro_6000_server")
NODE_LATENCY_S = 30e-6


@dataclass(frozen=True, slots=True)
class Row:
    """One timed collective."""

    system: str
    framework: str
    """nccl, or the engine whose own kernel ran in a CUDA graph."""
    operation: str
    ranks: float
    size_bytes: float
    link_bytes_per_s: float
    measured_s: float

    @property
    def moved_bytes(self) -> float:
        """What each rank sends in the ring form of the operation."""
        if self.operation == "send":
            return self.size_bytes
        passes = 2 if self.operation == "all_reduce" else 1
        return passes * (self.ranks - 1) / self.ranks * self.size_bytes


def rows() -> list[Row]:
    """NCCL and the engines' graph-captured kernels on one node; A100 sends of vidur."""
    found = [
        _row(r, "nccl", r["op"], r["bytes"], r["ngpu"], float(r["latency_us"]) / 1e6)
        for r in table("facts/efficiency/comm_nccl_table.csv")
    ]
    found += [
        _row(r, r["framework"], "all_reduce", r["bytes"], r["ngpu"], float(r["latency_us"]) / 1e6)
        for r in table("facts/efficiency/comm_custom_allreduce.csv")
        if "eager" not in r["kernel"] and not _library_inside(r)
    ]
    found += [
        _row({"system": "a100_sxm"}, "nccl", "send", r["size"], "2", float(r[name]) / 1e3)
        for r in table("data/vidur/network/a100_dgx__send_recv.csv")
        if r["devices_per_node"] == "2" and float(r[name := "send_recv.median"]) > 0
    ]
    return found


def _library_inside(r: dict[str, str]) -> bool:
    """SGLang beyond the four GPUs of a GB300 node: NCCL under the name of its kernel."""
    return r["system"] == "gb300" and r["framework"] == "sglang" and float(r["ngpu"]) > 4


def _row(
    r: dict[str, str], framework: str, operation: str, size: str, ranks: str, seconds: float
) -> Row:
    fabric = hardware(r["system"]).scale_up
    link = fabric.bandwidth if fabric else np.nan
    return Row(r["system"], framework, operation, float(ranks), float(size), link, seconds)


def _library(chosen: Sequence[Row], constants: Floats) -> Floats:
    base_us, rank_us, share, contention = constants
    ranks, link = column(chosen, "ranks"), column(chosen, "link_bytes_per_s")
    bandwidth = np.minimum(shared_bytes_per_s(ranks, share * link, contention - OFFSET), link)
    latency = library_latency_s(ranks, base_us / 1e6, rank_us / 1e6)
    return pipelined_s(column(chosen, "moved_bytes"), latency, bandwidth)


def _kernel(chosen: Sequence[Row], constants: Floats) -> Floats:
    base_us, rank_us, share, *two_shot = constants
    ranks = column(chosen, "ranks")
    return kernel_all_reduce_s(
        column(chosen, "size_bytes"),
        ranks,
        (base_us + rank_us * ranks) / 1e6,
        share * column(chosen, "link_bytes_per_s"),
        *two_shot,
    )


def _send(chosen: Sequence[Row], constants: Floats) -> Floats:
    latency_us, share = constants
    link = column(chosen, "link_bytes_per_s")
    return send_s(column(chosen, "size_bytes"), latency_us / 1e6, share * link)


OFFSET = 1.0
"""Constants are fitted as logarithms; contention, which may be negative, is shifted by this."""
_KERNEL = {
    "base_us": (3.0, 0.1, 30.0),
    "rank_us": (0.2, 0.01, 5.0),
    "share": (0.6, 0.05, 1.0),
}
LIBRARY = Law[Row](
    {
        "base_us": (4.0, 0.05, 50.0),
        "rank_us": (1.6, 0.05, 20.0),
        "share": (0.7, 0.02, 1.0),
        "contention_plus_1": (1.0, 0.3, 4.0),
    },
    _library,
)
KERNEL = Law[Row](_KERNEL, _kernel)
KERNEL_SLOW_TWO_SHOT = Law[Row](_KERNEL | {"two_shot_latencies": (4.0, 1.0, 10.0)}, _kernel)
SEND = Law[Row]({"latency_us": (10.0, 1.0, 60.0), "share": (0.8, 0.1, 1.0)}, _send)


def law(chosen: Sequence[Row]) -> Law[Row]:
    """What rows of one framework and operation follow."""
    if chosen[0].operation == "send":
        return SEND
    if chosen[0].framework == "nccl":
        return LIBRARY
    return KERNEL_SLOW_TWO_SHOT if chosen[0].framework == "trtllm" else KERNEL


def fit(chosen: Sequence[Row]) -> dict[str, float]:
    """Constants of rows of one framework and operation."""
    return law(chosen).fit(chosen)


def error(chosen: Sequence[Row], constants: dict[str, float]) -> float:
    """Mean relative error of constants on rows of one framework and operation."""
    return law(chosen).error(chosen, constants)


def held_out_error(chosen: Sequence[Row], by: Callable[[Row], Hashable]) -> float:
    """Mean error on each group of rows of one framework and operation, from the others."""
    return law(chosen).held_out_error(chosen, by)


def in_kernel(r: Row) -> bool:
    """Whether an engine runs its own kernel: peers with direct access, up to its limit."""
    direct = r.system not in PCIE or (r.ranks == 2 and r.system != "l40s")
    return r.framework != "nccl" and direct and r.size_bytes <= KERNEL_LIMIT_BYTES


def dispatched_error(everything: Sequence[Row], system: str, framework: str) -> float:
    """Error over all sizes of an engine's all-reduce: its kernel, then NCCL as fitted apart."""
    chosen = [r for r in everything if (r.system, r.framework) == (system, framework)]
    library = [
        r
        for r in everything
        if (r.system, r.framework, r.operation) == (system, "nccl", "all_reduce")
    ]
    mine = [r for r in chosen if in_kernel(r)]
    kernel_s = law(mine or chosen).predict(chosen, np.array(list(fit(mine or chosen).values())))
    library_s = _library(chosen, np.array(list(fit(library).values())))
    limit = [KERNEL_LIMIT_BYTES if in_kernel(r) else 0.0 for r in chosen]
    predicted = engine_all_reduce_s(column(chosen, "size_bytes"), kernel_s, library_s, limit)
    return float(np.mean(np.abs(predicted / column(chosen, "measured_s") - 1)))


def across_nodes_error() -> float:
    """Error of two nodes of eight H200 with 50 GB/s a rank, given the times of one node."""
    path = "data/network/nccl_allreduce_h200_nebius.csv"
    best: dict[tuple[str, float], float] = {}
    for r in table(path):
        key = r["mode"], float(r["bytes"])
        best[key] = min(best.get(key, np.inf), float(r["time_us"]) / 1e6)
    misses = [
        float(across_nodes_s(best["NVLink", size], size, 8, 2, NODE_LATENCY_S, 50e9)) / seconds - 1
        for (mode, size), seconds in best.items()
        if mode.startswith("2-node")
    ]
    return float(np.mean(np.abs(misses)))


def _line(name: str, chosen: Sequence[Row], by: Callable[[Row], Hashable], fewest: int) -> str:
    constants = fit(chosen)
    numbers = "  ".join(f"{k} {v:.3g}" for k, v in constants.items())
    groups = len({by(r) for r in chosen})
    held = held_out_error(chosen, by) if groups >= fewest else np.nan
    return f"{name:46} {len(chosen):5} {error(chosen, constants):6.1%} {held:6.1%}  {numbers}"


def report() -> Iterator[str]:
    """Constants and errors by system, framework and operation, then hardware left out."""
    everything = rows()
    groups: dict[str, list[Row]] = {}
    families: dict[str, list[Row]] = {}
    for r in everything:
        if r.framework == "nccl" or in_kernel(r):
            name = f"{r.operation} {r.framework}"
            groups.setdefault(f"{name} {r.system}", []).append(r)
            families.setdefault(f"{name} left out of {FAMILIES[r.system]}", []).append(r)
    for name, chosen in sorted(groups.items()):
        yield _line(name, chosen, lambda r: r.ranks, 3)
    for name, chosen in sorted(families.items()):
        yield _line(name, chosen, lambda r: r.system, 2)
    for system, framework in sorted({(r.system, r.framework) for r in everything}):
        if framework != "nccl":
            missed = dispatched_error(everything, system, framework)
            yield f"dispatched {system} {framework} {missed:.1%}"
    yield f"across nodes {across_nodes_error():.1%}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in report())
