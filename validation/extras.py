"""Sections of docs/VALIDATION.md that are no single passes: MLPerf, encoders, KV capacity."""

from collections.abc import Iterator
from functools import cache

from validation.datasets import capacity, mlperf, vision
from validation.datasets.scored import GroupScore, Pair, grouped


@cache
def _mlperf() -> tuple[Pair, ...]:
    return (*mlperf.pairs(), *mlperf.loop_pairs())


def _table(scores: list[GroupScore]) -> Iterator[str]:
    from validation.report import percent, table

    yield from table(
        ("quantity", "group", "points", "mean", "bias", "worst"),
        [
            [s.label, s.group, str(s.points), percent(s.mape), percent(s.bias), percent(s.worst)]
            for s in scores
        ],
    )


def sections() -> Iterator[str]:
    """Tables of each source."""
    yield "## MLPerf Inference v4.1, server"
    yield ""
    yield (
        "One instance, Poisson arrivals at the published rate, requests as long as the data set's"
        " and answers as long as the run's. So near saturation TPOT follows the rate so steeply"
        " that a few per cent of speed decide it; the same runs are therefore scored as closed"
        " loops of the requests that were in service (Little's law with the measured TPOT), too."
    )
    yield ""
    yield from _table([*grouped(_mlperf()), *grouped(_mlperf(), "all")])
    yield "## Encoders"
    yield ""
    yield (
        "Towers on an RTX 3090 (device time alone), one 1080p image in vLLM with its preparation on"
        " the host, four of them with 1,024 text tokens in SGLang (time to first token)."
    )
    yield ""
    yield from _table(vision.scored())
    yield "## KV capacity"
    yield ""
    yield from _table(capacity.scored())


def aims() -> Iterator[tuple[str, float, float, str]]:
    """What was aimed at here: reached, aim, remark."""
    found = {s.label: s for s in grouped(_mlperf(), "all")}
    near = "at 0.9 and more of capacity, where it follows the rate steeply"
    for label, score in found.items():
        if label.startswith("tpot") and "in service" not in label:
            yield "MLPerf server, mean TPOT at the published rate", score.mape, 0.20, near
        elif "in service" in label:
            remark = "closed loop of the measured number in service"
            yield "MLPerf server, mean TPOT in service", score.mape, 0.20, remark
        elif label.startswith("rate") or "largest" in label:
            yield "MLPerf server, largest rate", score.mape, 0.25, "profile fitted on offline runs"
    for score in vision.scored():
        yield f"encode, {score.group}", score.mape, 0.35, ""
    for score in capacity.scored():
        worst = f"worst of {score.points}"
        yield f"KV capacity, {score.group}", abs(score.worst), 0.05, worst
