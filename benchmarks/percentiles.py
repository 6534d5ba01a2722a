"""Milliseconds to work out the percentiles of one plan, placement by placement."""

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pdplan.placement import Chain
from pdplan.planner.combined import predict_fleets
from pdplan.planner.evaluation import at_rate, fleets_of
from pdplan.planner.fleet import Fleets
from pdplan.specs.plan_file import load_plan

TARGET_MS = 5.0
LENGTHS = {
    "isl": {"lognormal": {"mean": 1500, "cv": 1.0}},
    "osl": {"lognormal": {"mean": 250, "cv": 0.8}},
    "ttft": "800 ms",
    "tpot": "40 ms",
}
COUNT = {"histogram": {"values": [0, 1, 4], "weights": [5, 3, 2]}}
IMAGES = {"images": {"count": COUNT, "width": 640, "height": 480}}
FLEETS: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "P-D": ("llama-3.1-8b", {}, {"P": 2, "D": 2}),
    "PD": ("llama-3.1-8b", {}, {"PD": 4}),
    "E-P-D": ("qwen2.5-vl-7b", IMAGES, {"E": 1, "P": 3, "D": 2}),
}


def fleets(placement: str) -> Fleets:
    """Pools of one accelerator type, with their traffic."""
    model, media, pools = FLEETS[placement]
    plan = {
        "placement": placement,
        "model": model,
        "workload": {"rate": "1 req/s", **LENGTHS, **media},
        "pools": [
            {"name": stages, "stages": stages, "hardware": "h100-sxm", "instances": count}
            for stages, count in pools.items()
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.yaml"
        path.write_text(yaml.safe_dump(plan), encoding="utf-8")
        return fleets_of(load_plan(path))


def loaded(plan: Fleets, load: float, rounds: int) -> list[tuple[Fleets, list[Chain]]]:
    """The plan at many rates about a load, none alike: nothing is remembered from another."""
    capacity = min(float(table.capacity_rps[0]) for table in plan.first.chain().tables)
    rates = capacity * load * np.linspace(0.95, 1.05, rounds)
    each = [at_rate(plan, float(rate)) for rate in rates]
    return [(some, [group.chain() for group in some.groups]) for some in each]


def milliseconds(plan: Fleets, load: float, rounds: int) -> list[float]:
    """Time of each prediction in a warm process."""
    found = []
    for some, chains in loaded(plan, load, rounds):
        began = time.perf_counter()
        predict_fleets(some, chains)
        found.append((time.perf_counter() - began) * 1e3)
    return found


def main() -> None:
    """Print times and their ratio to the target, and on request where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="predictions per placement")
    parser.add_argument("--load", type=float, default=0.8, help="rate over capacity")
    parser.add_argument("--profile", action="store_true", help="show the hottest functions")
    wanted = parser.parse_args()
    plans = {name: fleets(name) for name in FLEETS}
    print(f"{'placement':10} {'points':>6} {'median ms':>9} {'best ms':>8} {'of 5 ms':>8}")
    for name, plan in plans.items():
        milliseconds(plan, wanted.load, 3)
        times = milliseconds(plan, wanted.load, wanted.rounds)
        median, points = statistics.median(times), len(plan.demand.prompt_tokens)
        print(
            f"{name:10} {points:6} {median:9.2f} {min(times):8.2f} {median / TARGET_MS:8.2f}",
            flush=True,
        )
    if wanted.profile:
        for name, plan in plans.items():
            profile = cProfile.Profile()
            for some, chains in loaded(plan, wanted.load, 20):
                profile.runcall(predict_fleets, some, chains)
            print(f"\n{name}, 20 plans")
            pstats.Stats(profile).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    main()
