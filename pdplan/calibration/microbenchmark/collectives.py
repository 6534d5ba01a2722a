"""All-reduces of several devices of this machine through PyTorch and its library (NCCL, RCCL)."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from pdplan.calibration.microbenchmark.timing import Work, fixed_median_s

HALF_BYTES = 2
CALLS, READINGS = 20, 7
"""The same on every rank: one that called once less would leave the others waiting."""


def all_reduces_s(ranks: int, sizes: Sequence[int]) -> list[float]:
    """Median time of an all-reduce of each size [B], a process for each rank.

    Raises RuntimeError where the processes fail.
    """
    processes = import_module("torch.multiprocessing")
    failures = (processes.ProcessRaisedException, processes.ProcessExitedException)
    with TemporaryDirectory(prefix="pdplan-") as folder:
        try:
            processes.spawn(_worker, args=(ranks, tuple(sizes), folder), nprocs=ranks)
        except failures as error:
            said = str(error).strip().splitlines() or ["a rank ended early"]
            raise RuntimeError(said[-1]) from None
        found: list[float] = json.loads((Path(folder) / "seconds.json").read_text())
    return found


def _worker(rank: int, ranks: int, sizes: Sequence[int], folder: str) -> None:
    """One rank; the first one writes down what all took, which is the same."""
    torch, distributed = import_module("torch"), import_module("torch.distributed")
    torch.cuda.set_device(rank)
    meeting = (Path(folder) / "meeting").as_uri()
    distributed.init_process_group("nccl", init_method=meeting, world_size=ranks, rank=rank)
    try:
        found = [_all_reduce_s(torch, distributed, size) for size in sizes]
    finally:
        distributed.destroy_process_group()
    if rank == 0:
        (Path(folder) / "seconds.json").write_text(json.dumps(found))


def _all_reduce_s(torch: ModuleType, distributed: ModuleType, size: int) -> float:
    buffer = torch.zeros(size // HALF_BYTES, dtype=torch.bfloat16, device="cuda")
    work = Work(lambda _: distributed.all_reduce(buffer), captured=False)
    return fixed_median_s(torch, work, CALLS, READINGS)
