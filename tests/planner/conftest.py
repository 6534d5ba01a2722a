"""Random small questions that the planner's tests share."""

import random

import pytest
import yaml

from pdplan.specs.plan_file import load_plan


def _random_question(seed, *, limits=True):
    """Keys of a scenario: text or images, tight or slack, with and without limits."""
    rng = random.Random(seed)
    vision = rng.random() < 0.5
    extra = 300 if vision else 0
    workload = {
        "name": f"random-{seed}",
        "rate": f"{rng.choice([0.5, 3, 10, 30])} req/s",
        "isl": rng.choice([200, 1500, {"lognormal": {"mean": 1500, "cv": 1.0}}]),
        "osl": rng.choice([20, 150, {"lognormal": {"mean": 200, "cv": 0.8}}]),
        "ttft": f"{rng.choice([80, 150, 300, 800, 3000]) + extra} ms",
        "tpot": f"{rng.choice([10, 20, 40, 100])} ms",
        "percentile": rng.choice([50, 90, 99, [50, 99]]),
        "arrival_scv": rng.choice([0.5, 1, 3]),
    }
    if vision:
        count = rng.choice([1, {"histogram": {"values": [0, 1, 4], "weights": [5, 3, 2]}}])
        workload["images"] = {"count": count, "width": 640, "height": 480}
    hardware = rng.sample(["h100-sxm", "a100-80gb-sxm", "l40s", "l4"], rng.choice([1, 2]))
    question = {
        "model": "qwen2.5-vl-7b" if vision else "llama-3.1-8b",
        "workload": workload,
        "hardware": [{"id": name} for name in hardware],
        "objective": rng.choice(["cost", "cost", "gpus", "power"]),
        "search": {
            "tp": rng.choice([[1], [1, 2], [1, 2, 4]]),
            "kv_dtypes": rng.choice([["bf16"], ["bf16", "fp8"]]),
            "schedulers": rng.choice(
                [["chunked"], ["chunked", "prefill_first"], ["prefill_first"]]
            ),
        },
        "routing": rng.choice(["least_loaded", "random", "round_robin"]),
        "first_token_from": rng.choice(["decode", "prefill"]),
    }
    if limits and rng.random() < 0.3:
        question["limits"] = {"max_gpus": rng.choice([2, 4, 8])}
    elif limits and rng.random() < 0.3:
        question["limits"] = {"budget": f"{rng.choice([4, 15, 40])} USD/h"}
    elif limits and rng.random() < 0.3:
        question["whole_nodes"] = True
    if limits and rng.random() < 0.2:
        question["hardware"] = [
            {"id": name, "stock": rng.choice([1, 3, 8, 16])} for name in hardware
        ]
    return question


@pytest.fixture(scope="session")
def random_question():
    return _random_question


@pytest.fixture
def written(tmp_path):
    """Write a plan down and read it back."""

    def write(plan):
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(plan.to_dict(), sort_keys=False), encoding="utf-8")
        return load_plan(path)

    return write
