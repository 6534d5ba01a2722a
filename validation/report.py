"""`python -m validation.report`: write docs/VALIDATION.md from profiles and measurements."""

import csv
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pdplan.calibration.formats.row import Measured
from pdplan.calibration.observations import Observations
from pdplan.calibration.score import Score, scores
from pdplan.report.files import write_file
from validation import datasets, kernel_attention, kernel_collectives, kernel_gemm
from validation.datasets import distserve, dynamo, inferencex, mooncake, splitwise, trtllm
from validation.fit import HELD_OUT, run_group
from validation.kernels import SCORES
from validation.recipes import BY_NAME, RECIPES

PAGE = Path(__file__).parents[1] / "docs" / "VALIDATION.md"
SHORT = {
    "tpot_mean_s": "mean TPOT",
    "ttft_mean_s": "mean TTFT",
    "output_tokens_per_s_per_gpu": "throughput",
    "decode_s": "decode step",
    "prefill_s": "prefill",
    "static_s": "static batch",
    "transfer_s": "KV transfer",
    "encode_s": "encode",
}
Row = dict[str, str]
Group = Callable[[Measured], str]


def _read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown, numbers to the right."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join(" --- " if i == 0 else " ---: " for i in range(len(head))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def percent(share: float) -> str:
    """A share as a percentage of two digits.

    >>> percent(0.0512), percent(-0.113)
    ('5.1 %', '-11 %')
    """
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"


def scored(rows: Sequence[Measured], engine: str = "") -> list[Score]:
    """In-sample errors over all of some rows."""
    named = [replace(m, row={**m.row, "engine": engine or m.row["engine"]}) for m in rows]
    data = Observations(named)
    return scores(data, data.predicted())


def by_group(rows: Sequence[Measured], key: Group) -> Iterator[tuple[str, Score]]:
    """Errors of each group of rows."""
    for name in sorted({key(m) for m in rows}):
        for score in scored([m for m in rows if key(m) == name]):
            yield name, score


def _cells(score: Score) -> list[str]:
    rank = "" if np.isnan(score.rank) else f"{score.rank:.3f}"
    numbers = [score.mape, score.median, score.bias, score.worst]
    return [SHORT.get(score.output, score.output), str(score.points), *map(percent, numbers), rank]


ERRORS = ("output", "points", "mean", "median", "bias", "worst", "rank corr.")


def kernels() -> Iterator[str]:
    """The laws of operators, each group predicted from the others."""
    yield "## Kernels"
    yield ""
    yield (
        "Constants of one operator law on one accelerator, fitted on all measurements but those of"
        " one group (a model, a TP degree, a shard's head count, a number of ranks; or a GPU"
        " of the same generation), against that group. Mean absolute error."
        " `python -m validation.kernels` recomputes it."
    )
    yield ""
    rows = [r for r in _read(SCORES) if r["held_out"] != "nan"]
    yield from table(
        ("operator", "data", "points", "in sample", "left out", "held out"),
        [
            [r["kernel"], r["data"].replace("_sxm", ""), r["points"],
             percent(float(r["in_sample"])), r["left_out"], percent(float(r["held_out"]))]
            for r in rows
        ],
    )  # fmt: skip


def weighted(rows: Sequence[Row]) -> float:
    """Mean over points."""
    points = np.array([float(r["points"]) for r in rows])
    return float(np.array([float(r["mape"]) for r in rows]) @ points / points.sum())


def held_out() -> Iterator[str]:
    """Every group of every profile's data, predicted from the rest of them."""
    yield "## Engine profiles, a group left out"
    yield ""
    yield (
        "The whole fit is repeated without one group of a profile's measurements, which is then"
        " predicted: a model, a TP degree or a GPU of single passes and batches; a model on its"
        " hardware of closed-loop runs. `python -m validation.fit` recomputes it."
    )
    yield ""
    found = _read(HELD_OUT)
    for recipe in RECIPES:
        mine = [r for r in found if r["engine"] == recipe.name]
        if mine:
            yield f"### {recipe.name}"
            yield ""
            kinds = sorted({(r["left_out"], r["output"]) for r in mine})
            lines = []
            for what, output in kinds:
                part = [r for r in mine if (r["left_out"], r["output"]) == (what, output)]
                worst = max(part, key=lambda r: float(r["mape"]))
                lines.append(
                    [what, SHORT.get(output, output), str(sum(int(r["points"]) for r in part)),
                     str(len(part)), percent(weighted(part)),
                     f"{worst['group']}: {percent(float(worst['mape']))}"]
                )  # fmt: skip
            yield from table(
                ("left out", "output", "points", "groups", "mean error", "worst group"), lines
            )


def in_sample() -> Iterator[str]:
    """Profiles on the data they were fitted on."""
    yield "## Engine profiles, in sample"
    yield ""
    yield "Errors are predicted over measured, less one; constants are shared by all rows."
    yield ""
    for recipe in RECIPES:
        yield f"### {recipe.name}"
        yield ""
        yield f"{recipe.description} Fitted on: {recipe.sources}."
        yield ""
        rows = recipe.data()
        lines = [[name, *_cells(score)] for name, score in by_group(rows, lambda m: run_group(m))]
        lines += [["all", *_cells(score)] for score in scored(rows)]
        yield from table(("model and hardware", *ERRORS), lines)


def closed_loop() -> Iterator[str]:
    """Every run of the closed-loop file, those set aside included."""
    yield "## Closed-loop runs, every row"
    yield ""
    kept = inferencex.rows(plausible=True)
    lines = {m.line for m in kept}
    aside = [m for m in inferencex.rows() if m.line not in lines]
    reasons: dict[str, int] = {}
    for r in inferencex.set_aside():
        reasons[r] = reasons.get(r, 0) + 1
    yield (
        f"{len(kept)} distinct runs are fitted, each group also predicted from the others;"
        f" {len(aside)} were set aside before any fit, as something in the data speaks against"
        " their columns, and are predicted all the same:"
    )
    yield ""
    yield from (f"- {count} runs: {reason}" for reason, count in sorted(reasons.items()))
    yield ""
    found = [r for r in _read(HELD_OUT) if r["left_out"] == "model and hardware"]
    rows = []
    for output in ("tpot_mean_s", "ttft_mean_s"):
        mine = [r for r in found if r["output"] == output]
        (rest,) = [s for s in scored(aside) if s.output == output]
        both = [*mine, {"mape": str(rest.mape), "points": str(rest.points)}]
        within = [s for s in scored(kept) if s.output == output]
        rows.append(
            [SHORT[output], percent(within[0].mape), percent(weighted(mine)), percent(rest.mape),
             percent(weighted(both))]
        )  # fmt: skip
    yield from table(
        ("output", "fitted runs, in sample", "fitted runs, held out", "runs set aside", "all runs"),
        rows,
    )


def published() -> Iterator[str]:
    """Figures with a target of their own."""
    yield "## Single sources"
    yield ""
    sets: list[tuple[str, list[Measured]]] = [
        ("ai-dynamo profile, H200, vLLM", dynamo.rows()),
        ("Splitwise, DGX-A100, vLLM of 2023", splitwise.rows()),
        ("the same without the impossible prefill", splitwise.rows(plausible=True)),
        ("DistServe, A100", distserve.rows("distserve")),
        ("Mooncake, 1,024 tokens and more", [
            m for m in mooncake.rows() if float(m.row["isl"]) >= 1024
        ]),
        ("TensorRT-LLM v0.5-v0.10, static batches", trtllm.static()),
        ("TensorRT-LLM v0.5-v0.10, lone prompts", trtllm.prompts()),
        ("TensorRT-LLM v0.14, maximum throughput", trtllm.throughput()),
    ]  # fmt: skip
    lines = [[name, *_cells(score)] for name, rows in sets for score in scored(rows)]
    yield from table(("source", *ERRORS), lines)


def sources() -> Iterator[str]:
    """What the measurements are."""
    yield "## Sources"
    yield ""
    for module in pkgutil.iter_modules(datasets.__path__, f"{datasets.__name__}."):
        if module.name.rpartition(".")[2] not in ("tables", "scored"):
            text = str(importlib.import_module(module.name).__doc__)
            yield "- " + " ".join(text.split())
    for kernel in (kernel_gemm, kernel_attention, kernel_collectives):
        yield "- " + " ".join(str(kernel.__doc__).split())
    yield ""


INTRODUCTION = """# Validation

How far pdplan's predictions are from public measurements. This page is written by
`python -m validation.report` from the measurements (not part of the project; folder and licences
in `validation/datasets/` and at the end), the profiles in `engines/`, `validation/held_out.csv`,
`validation/kernels.csv`, `validation/agreement.csv` and `validation/largest_rates.csv`. Score a
profile on your own measurements with `pdplan validate`, fit one with `pdplan calibrate`.

All errors are absolute percentage errors of the prediction against the measurement unless they
carry a sign. "In sample" means on the data of the fit; "held out" means that the group was
predicted by a fit that had not seen it.
"""


def page() -> str:
    """The whole page."""
    from validation.agreement_page import agreement
    from validation.extras import sections
    from validation.summary import summary

    lines = [INTRODUCTION, *summary(), *kernels(), *held_out(), *closed_loop(), *in_sample()]
    lines += [*published(), *sections(), *agreement(), *sources()]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    assert BY_NAME
    write_file(PAGE, page())
