"""How solve time grows with hardware types, request classes and fleet size."""

import argparse
import cProfile
import pstats
import statistics
import time

from pdplan.planner import solve
from pdplan.specs.scenario import Scenario, scenario_from

TWELVE = [
    *("h100-sxm", "a100-80gb-sxm", "l40s", "h200-sxm", "b200-sxm", "a100-40gb-sxm"),
    *("h100-pcie", "a10g", "l4", "mi300x", "h100-nvl", "a100-80gb-pcie"),
]
ROUNDS = 3
LENGTHS = {
    "isl": {"lognormal": {"mean": 1000, "cv": 1.0}},
    "osl": {"lognormal": {"mean": 200, "cv": 0.8}},
}


def scenario(*, hardware: int = 3, classes: int = 1, rate: float = 50.0) -> Scenario:
    """Chat on an 8-billion-parameter model, in one class or several."""
    kinds = [
        {
            "name": f"class-{i}",
            "share": 1 / classes,
            "isl": {"lognormal": {"mean": 400 + 300 * i, "cv": 0.8}},
            "osl": LENGTHS["osl"],
            "ttft": f"{500 + 200 * i} ms",
            "tpot": "40 ms",
        }
        for i in range(classes)
    ]
    one = {**LENGTHS, "ttft": "600 ms", "tpot": "40 ms"}
    return scenario_from(
        {
            "model": "llama-3.1-8b",
            "rate": f"{rate} req/s",
            "workload": {"classes": kinds} if classes > 1 else one,
            "hardware": TWELVE[:hardware],
            "objective": "gpus",
        }
    )


def measured(what: Scenario) -> tuple[float, int, int, str]:
    """Median seconds, columns, accelerators and status of a solve."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        plan = solve(what)
        times.append(time.perf_counter() - began)
    columns = plan.solver.columns if plan.solver else 0
    return statistics.median(times), columns, plan.gpus, plan.status


def series(title: str, cases: list[tuple[str, Scenario]]) -> None:
    """Print one series, with ratios to its first case."""
    print(f"\n{title}")
    print(
        f"{'case':>12} {'seconds':>8} {'ratio':>6} {'columns':>8} {'ratio':>6} {'GPUs':>7} status"
    )
    first: tuple[float, int] | None = None
    for name, what in cases:
        seconds, columns, gpus, status = measured(what)
        first = first or (seconds, max(columns, 1))
        print(
            f"{name:>12} {seconds:8.3f} {seconds / first[0]:6.2f} {columns:8,} "
            f"{columns / first[1]:6.2f} {gpus:7,} {status}",
            flush=True,
        )


def main() -> None:
    """Print three series, and on request where the time of the largest goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="show the hottest functions")
    wanted = parser.parse_args()
    solve(scenario())
    series(
        "hardware types (target: seconds grow no faster than columns)",
        [(str(n), scenario(hardware=n)) for n in (1, 2, 3, 4, 6, 8, 12)],
    )
    series("request classes", [(str(n), scenario(classes=n)) for n in (1, 2, 4, 8)])
    series(
        "fleet size (target: 10,000 GPUs no slower than 10)",
        [(f"{r:,} req/s", scenario(rate=r)) for r in (250, 2_500, 25_000, 250_000)],
    )
    if wanted.profile:
        for name, what in (
            ("12 hardware types", scenario(hardware=12)),
            ("8 classes", scenario(classes=8)),
            ("250,000 req/s", scenario(rate=250_000)),
        ):
            profile = cProfile.Profile()
            profile.runcall(solve, what)
            print(f"\n{name}")
            pstats.Stats(profile).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    main()
