"""Time of `solve` with one class of requests and with two that want different latencies.

The second class brings objectives of its own and with them the question who shares with whom.
Target: at most twice the time.
"""

import copy
import time
from typing import Any

from pdplan import solve
from pdplan.specs.scenario import Scenario, scenario_from

TEXT = {
    "isl": {"lognormal": {"mean": 1500, "cv": 1.0}},
    "osl": {"lognormal": {"mean": 200, "cv": 0.8}},
}
IMAGES = TEXT | {"images": {"count": 1, "width": 1280, "height": 960}}
QUESTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "8B, one kind of accelerator": (
        {"model": "llama-3.1-8b", "hardware": ["h100-sxm"], "rate": "60 req/s"}, TEXT,
    ),
    "8B, three kinds": (
        {
            "model": "llama-3.1-8b",
            "hardware": ["h100-sxm", "a100-80gb-sxm", "l40s"],
            "rate": "60 req/s",
        },
        TEXT,
    ),
    "70B, 600 req/s": (
        {"model": "llama-3.1-70b", "hardware": ["h100-sxm", "h200-sxm"], "rate": "600 req/s"}, TEXT,
    ),
    "7B with images, two kinds": (
        {"model": "qwen2.5-vl-7b", "hardware": ["h100-sxm", "l40s"], "rate": "20 req/s"}, IMAGES,
    ),
    "8B, stock of 12": (
        {
            "model": "llama-3.1-8b",
            "hardware": [{"id": "h100-sxm", "stock": 12}, {"id": "l40s", "stock": 40}],
            "rate": "60 req/s",
        },
        TEXT,
    ),
    "70B, whole nodes": (
        {
            "model": "llama-3.1-70b",
            "hardware": ["h100-sxm", "h200-sxm"],
            "rate": "30 req/s",
            "whole_nodes": True,
        },
        TEXT,
    ),
}  # fmt: skip
TIGHT = {"ttft": "800 ms", "tpot": "40 ms"}
LOOSE = {"ttft": "8 s", "tpot": "100 ms"}
RUNS = 5


def question(keys: dict[str, Any], requests: dict[str, Any], *, classes: int) -> Scenario:
    """One class that wants to be quick, or half of it and as many that may wait."""
    workload: dict[str, Any] = requests | TIGHT
    if classes == 2:
        halves = (("quick", TIGHT), ("patient", LOOSE))
        workload = {"classes": [{"name": n, "share": 0.5} | requests | want for n, want in halves]}
    return scenario_from(copy.deepcopy(keys) | {"workload": workload})


def seconds(scenario: Scenario) -> tuple[float, str]:
    """Least processor time of several solves, and the answer."""
    best, answer = float("inf"), ""
    for _ in range(RUNS):
        began = time.process_time()
        plan = solve(scenario)
        best = min(best, time.process_time() - began)
        answer = f"{plan.placement} {plan.label} {plan.objective.value or 0:.2f} {plan.status}"
    return best, answer


def main() -> None:
    """Print times and their ratio."""
    print(f"{'question':28} {'one':>8} {'two':>8} {'ratio':>6}   answers (target: 2)")
    for name, (keys, requests) in QUESTIONS.items():
        one, first = seconds(question(keys, requests, classes=1))
        two, second = seconds(question(keys, requests, classes=2))
        print(
            f"{name:28} {one * 1e3:5.0f} ms {two * 1e3:5.0f} ms {two / one:6.2f}   "
            f"{first} / {second}",
            flush=True,
        )


if __name__ == "__main__":
    main()
