"""Columns fully evaluated per second on one core, and `predict` rows per second."""

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable

import numpy as np

from pdplan.planner import predict
from pdplan.planner.context import Context, Variant
from pdplan.pools.load import pool_table
from pdplan.pools.table import Columns
from pdplan.specs.scenario import scenario_from

THREE = ["h100-sxm", "a100-80gb-sxm", "l40s"]
TEXT = {"model": "llama-3.1-8b", "workload": "chat", "rate": 200, "hardware": THREE}
VISION = {"model": "qwen2.5-vl-7b", "workload": "image-chat", "rate": 200, "hardware": THREE}
COLUMNS = 20_000
SECONDS = 2.0
Work = Callable[[], int]


def columns_of(keys: dict[str, object], stages: str) -> Work:
    """One pool whose every candidate comes in many counts and batch limits."""
    context = Context.of(scenario_from({}, keys))
    variant = Variant("chunked", context.scenario.engine.defaults.chunk_tokens)
    times = context.candidates((stages,), variant).times
    fits = np.flatnonzero(times.fits())
    decodes = "D" in stages
    caps = np.array([8, 16, 32, 64, 128, 256]) if decodes else np.array([1])
    counts = np.arange(1, COLUMNS // (len(fits) * len(caps)) + 2)
    grid = np.meshgrid(fits, counts, caps, indexing="ij")
    config, instances, batch = (axis.ravel() for axis in grid)
    columns = Columns.of(config, instances, batch)
    discipline = context.discipline(variant)

    def work() -> int:
        pool_table(times, columns, context.demand, discipline)
        return len(columns)

    return work


def rows_of(phase: str) -> Work:
    """Many rows of one phase, none alike."""
    rows = [
        {
            "model": "llama-3.1-8b",
            "hardware": THREE[i % 3],
            "phase": phase,
            "tp": str(2 ** (i % 3)),
            "batch": str(1 + i % 64),
            "isl": str(100 + i % 5000),
            "osl": str(10 + i % 300),
            "context": str(100 + i % 7000),
            "concurrency": str(1 + i % 128) if phase == "serve" else "",
        }
        for i in range(2_000 if phase == "serve" else 20_000)
    ]

    def work() -> int:
        return len(predict(rows))

    return work


def rate(work: Work) -> float:
    """Items per second of processor time, all threads added: the best of several runs."""
    work()
    best, spent = 0.0, 0.0
    while spent < SECONDS:
        began = time.process_time()
        count = work()
        took = time.process_time() - began
        best, spent = max(best, count / took), spent + took
    return best


def main() -> None:
    """Print rates, and on request where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="show the hottest functions")
    wanted = parser.parse_args()
    tasks = {
        **{f"columns {s}, text": columns_of(TEXT, s) for s in ("P", "D", "PD")},
        **{f"columns {s}, vision": columns_of(VISION, s) for s in ("E", "EP", "EPD")},
        **{f"predict {p}": rows_of(p) for p in ("prefill", "decode", "static", "serve")},
    }
    print(f"{'task':22} {'per second':>11}   (target: 100,000 columns)")
    for name, work in tasks.items():
        print(f"{name:22} {rate(work):11,.0f}", flush=True)
    if wanted.profile:
        for name, work in tasks.items():
            profile = cProfile.Profile()
            profile.runcall(work)
            print(f"\n{name}")
            pstats.Stats(profile).sort_stats("tottime").print_stats(6)


if __name__ == "__main__":
    main()
