"""End-to-end time of `pdplan solve` as whole processes, against the imports it cannot avoid."""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 11
THREE = ["h100-sxm", "a100-80gb-sxm", "l40s"]
COMMON = [item for name in THREE for item in ("--hardware", name)]
TEXT = ["--model", "llama-3.1-70b", "--rate", "20", "--isl", "2000", "--osl", "300"]
TEXT += ["--ttft", "800", "--tpot", "40"]
VISION = ["--model", "qwen2.5-vl-7b", "--rate", "10", "--isl", "500", "--osl", "200"]
VISION += ["--images", "4", "--image-size", "1280x960", "--ttft", "1500", "--tpot", "40"]


def seconds(command: list[str]) -> float:
    """Wall-clock time of one process."""
    began = time.perf_counter()
    subprocess.run(command, check=False, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Interleave the runs, so that a slow moment hits all of them, and compare medians."""
    program = shutil.which("pdplan", path=str(Path(sys.executable).parent)) or "pdplan"
    commands = {
        "import numpy, pulp": [sys.executable, "-c", "import numpy, pulp"],
        "solve, text": [program, "solve", *TEXT, *COMMON],
        "solve, vision": [program, "solve", *VISION, *COMMON],
        "--help": [program, "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(seconds(command))
    base = statistics.median(times["import numpy, pulp"])
    print(f"{'process':20} {'median s':>9} {'ratio':>6}   (target: at most 3)")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:20} {median:9.3f} {median / base:6.2f}")


if __name__ == "__main__":
    main()
