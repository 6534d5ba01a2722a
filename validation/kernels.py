"""`python -m validation.kernels`: score the kernel laws held out; writes validation/kernels.csv."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np

from pdplan.report.files import write_file
from validation import kernel_attention, kernel_collectives, kernel_gemm
from validation.kernel_fits import FAMILIES

SCORES = Path(__file__).parent / "kernels.csv"
COLUMNS = ("kernel", "data", "points", "in_sample", "left_out", "held_out")
T = TypeVar("T")


def _split(rows: Sequence[T], key: Callable[[T], str]) -> Iterator[tuple[str, list[T]]]:
    for name, group in groupby(sorted(rows, key=key), key):
        yield name, list(group)


def _line(*cells: object) -> str:
    return ",".join(f"{c:.4f}" if isinstance(c, float) else str(c) for c in cells)


def gemm() -> Iterator[str]:
    """Per-layer products of the profiled models, a model, a TP degree or a GPU left out."""
    profiled = [r for r in kernel_gemm.rows() if r.source in ("vidur", "vllm-0.19")]
    for name, rows in _split(profiled, lambda r: f"{r.hardware} {r.source}"):
        scored = float(kernel_gemm.errors(rows, kernel_gemm.fit(rows)).mean())
        for what in ("model", "tp"):
            if len({getattr(r, what) for r in rows}) > 1:
                held = kernel_gemm.held_out_error(rows, what)
                yield _line("GEMM", name, len(rows), scored, what, held)
    vidur = [r for r in profiled if r.source == "vidur"]
    scored = float(kernel_gemm.errors(vidur, kernel_gemm.fit(vidur)).mean())
    held = kernel_gemm.held_out_error(vidur, "hardware")
    yield _line("GEMM", "vidur", len(vidur), scored, "GPU", held)


def attention() -> Iterator[str]:
    """Prefill, decode, latent and encoder attention, shards or GPUs left out."""
    names = {"prefill": "prefill attention", "decode": "decode attention",
             "latent": "latent decode attention", "encode": "encoder attention"}  # fmt: skip
    kept = [r for r in kernel_attention.rows() if r.dtype != "fp8"]
    for phase, rows in _split(kept, lambda r: r.phase):
        label = names.get(phase, phase)
        for system, own in _split(rows, lambda r: f"{r.system} {_source(r.framework)}"):
            if len(own) >= kernel_attention.FEWEST:
                yield _attended(label, system, own, "shard", kernel_attention.shard)
        tables = [r for r in rows if r.framework not in kernel_attention.PROFILES]
        for family, own in _split(tables, lambda r: FAMILIES[r.system]):
            if len({r.system for r in own}) > 1:
                yield _attended(label, family, own, "GPU", lambda r: r.system)


def _source(framework: str) -> str:
    return framework if framework in kernel_attention.PROFILES else "operator tables"


def _attended(
    label: str,
    name: str,
    rows: list[kernel_attention.Row],
    what: str,
    by: Callable[[kernel_attention.Row], Hashable],
) -> str:
    scored = kernel_attention.error(rows, kernel_attention.fit(rows))
    held = kernel_attention.held_out_error(rows, by)
    return _line(label, name, len(rows), scored, what, held)


def collectives() -> Iterator[str]:
    """All-reduce of the library and of the engines' kernels, a number of ranks left out."""
    rows = [r for r in kernel_collectives.rows() if r.operation == "all_reduce"]
    for name, own in _split(rows, lambda r: f"{r.system} {r.framework}"):
        chosen = [r for r in own if r.framework == "nccl" or kernel_collectives.in_kernel(r)]
        if len({r.ranks for r in chosen}) > 2:
            scored = kernel_collectives.error(chosen, kernel_collectives.fit(chosen))
            held = kernel_collectives.held_out_error(chosen, lambda r: r.ranks)
            yield _line("all-reduce", name, len(chosen), scored, "ranks", held)


def main() -> None:
    """Score all laws."""
    np.seterr(all="ignore")
    lines = [",".join(COLUMNS), *gemm(), *attention(), *collectives()]
    write_file(SCORES, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
