"""The head of docs/VALIDATION.md: what was aimed at, and what is reached."""

import csv
from collections.abc import Iterator, Sequence

from pdplan.calibration.formats.row import Measured
from validation.agreement_page import against_simulation
from validation.datasets import distserve, dynamo, inferencex, mooncake, splitwise, trtllm
from validation.extras import aims
from validation.fit import HELD_OUT
from validation.kernels import SCORES

Row = dict[str, str]
Line = tuple[str, float, float, str]
"""What, reached, aimed at, remark."""


def _worst(kernel: str, least_points: int = 0) -> tuple[float, str]:
    """Largest held-out error of an operator, and of which data."""
    with SCORES.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if kernel in r["kernel"] and r["held_out"] != "nan"]
    rows = [r for r in rows if int(r["points"]) >= least_points]
    worst = max(rows, key=lambda r: float(r["held_out"]))
    return float(worst["held_out"]), f"{worst['data']}, {worst['left_out']} left out"


def _mean(kernel: str) -> float:
    with SCORES.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if kernel in r["kernel"] and r["held_out"] != "nan"]
    points = sum(int(r["points"]) for r in rows)
    return sum(float(r["held_out"]) * int(r["points"]) for r in rows) / points


def _out(outputs: Sequence[str]) -> float:
    """Held-out error over all points of some outputs, each way of leaving out, the worst way."""
    with HELD_OUT.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["output"] in outputs]
    ways = {r["left_out"] for r in rows}
    found = []
    for way in ways:
        part = [r for r in rows if r["left_out"] == way]
        points = sum(int(r["points"]) for r in part)
        found.append(sum(float(r["mape"]) * int(r["points"]) for r in part) / points)
    return max(found)


def _ways(output: str) -> dict[str, tuple[float, str]]:
    """Held-out error of an output by what was left out, over all points, and the worst group."""
    with HELD_OUT.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["output"] == output]
    found = {}
    for way in {r["left_out"] for r in rows}:
        part = [r for r in rows if r["left_out"] == way]
        points = sum(int(r["points"]) for r in part)
        error = sum(float(r["mape"]) * int(r["points"]) for r in part) / points
        worst = max(part, key=lambda r: float(r["mape"]))
        where = f"{worst['engine']}, {worst['group']}: {float(worst['mape']):.0%}"
        found[way] = (error, where)
    return found


def _in(rows: Sequence[Measured], output: str = "") -> float:
    """In-sample error of the rows' own profiles."""
    from validation.report import scored

    found = [s for s in scored(rows) if not output or s.output == output]
    points = sum(s.points for s in found)
    return sum(s.mape * s.points for s in found) / points


def _every_run(output: str) -> float:
    """Closed-loop error over every row: held out where fitted, else by the whole profile."""
    with HELD_OUT.open(newline="", encoding="utf-8") as file:
        rows = [
            r
            for r in csv.DictReader(file)
            if r["output"] == output and r["left_out"] == "model and hardware"
        ]
    lines = {m.line for m in inferencex.rows(plausible=True)}
    aside = [m for m in inferencex.rows() if m.line not in lines]
    count = sum(output in m.values for m in aside)
    total = sum(float(r["mape"]) * int(r["points"]) for r in rows) + _in(aside, output) * count
    return total / (sum(int(r["points"]) for r in rows) + count)


def lines() -> Iterator[Line]:
    """Every aim."""
    from validation.report import scored

    for kernel, aim in (("GEMM", 0.15), ("attention", 0.15), ("all-reduce", 0.20)):
        worst, where = _worst(kernel)
        yield f"{kernel} per layer, held out", _mean(kernel), aim, f"worst {worst:.0%}: {where}"
    for output, name, aim in (
        ("decode_s", "decode step", 0.12),
        ("prefill_s", "prefill", 0.12),
        ("static_s", "static batches", 0.15),
    ):
        for way, (error, where) in sorted(_ways(output).items()):
            yield f"{name}, {way} left out", error, aim, f"worst {where}"
    yield "ai-dynamo decode, in sample", _in(dynamo.rows(), "decode_s"), 0.06, ""
    yield "ai-dynamo prefill, in sample", _in(dynamo.rows(), "prefill_s"), 0.06, ""
    plausible = splitwise.rows(plausible=True)
    yield "Splitwise, in sample", _in(plausible), 0.12, "without one impossible prefill"
    yield "DistServe, in sample", _in(distserve.rows("distserve")), 0.03, ""
    held = "groups left out; runs that nothing speaks against"
    every = "every row, those set aside included"
    for output, name, aim in (("tpot_mean_s", "TPOT", 0.15), ("ttft_mean_s", "TTFT", 0.30)):
        yield f"closed-loop mean {name}", _out([output]), aim, held
        yield f"closed-loop mean {name}", _every_run(output), aim, every
    far = [m for m in mooncake.rows() if float(m.row["isl"]) >= 1024]
    yield "KV transfer, 1,024 tokens and more", _in(far), 0.10, "in sample"
    yield "TensorRT-LLM v0.14 throughput", _in(trtllm.throughput()), 0.20, "in sample"
    (score,) = scored(trtllm.throughput())
    yield "the same, 1 - rank correlation", 1 - score.rank, 0.03, ""
    yield from aims()
    yield from against_simulation()


def summary() -> Iterator[str]:
    """The table of aims."""
    from validation.report import percent, table

    yield "## What was aimed at"
    yield ""
    rows = [
        [name, percent(reached), percent(aim), "yes" if reached <= aim else "**no**", remark]
        for name, reached, aim, remark in lines()
    ]
    yield from table(("mean absolute error", "reached", "aim", "met", "remark"), rows)
