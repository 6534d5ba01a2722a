"""What can be predicted, and what silicon allows."""

from dataclasses import replace

import numpy as np
import pytest

from pdplan.calibration.limits import impossible, limits
from pdplan.calibration.observations import Observations
from pdplan.calibration.predictable import predictable

GRID = {"batches": (1, 4, 16, 64, 128, 256), "contexts": (200, 2000, 8000)}


def test_rows_that_cannot_be_predicted_have_reasons(made):
    serve = {
        "model": "llama-3.1-8b",
        "hardware": "l40s",
        "phase": "serve",
        "isl": "1000",
        "osl": "100",
        "rate": "1000",
    }
    bad = [
        serve,
        serve | {"phase": "decode", "context": "100"},
        serve | {"phase": "encode", "image_width": "100", "image_height": "100"},
        serve | {"model": "llama-9"},
    ]
    rows = made.measured(made.decode(), made.base)
    some = [replace(rows[0], row=row, values={"ttft_mean_s": 1.0}, line=9) for row in bad]
    found = predictable(rows + some)
    assert len(found.data) == len(found.predicted) == 5
    assert sorted(str(problem).partition(";")[0] for problem in found.others) == [
        "made.csv:9: model 'Llama-3.1-8B' has no vision encoder",
        "made.csv:9: no finite prediction of ttft_mean_s: the instance is overloaded",
        "made.csv:9: phase decode has no ttft_mean_s",
        "made.csv:9: unknown model 'llama-9'",
    ]


def test_limits_are_below_every_prediction(made):
    serve = {"phase": "serve", "isl": "1000", "osl": "100", "concurrency": "16"}
    rows = [
        *made.decode(**GRID),
        *made.prefill(),
        *made.prefill((1000,), phase="static", osl="50"),
        *made.decode((1,), phase="transfer", isl="1000"),
        *(row | serve for row in made.decode((1,))),
        *(row | serve for row in made.decode((1,), model="qwen3-30b-a3b", tp="2")),
    ]
    measured = made.measured(rows, made.base)
    data = Observations(measured)
    bounds = limits(data.points)
    assert np.isfinite(bounds["latency_s"]).all()
    assert (bounds["latency_s"] < data.values).all()
    assert impossible(data) == []
    served = Observations([one for one in measured if one.row["phase"] == "serve"])
    for name in ("tpot_mean_s", "ttft_mean_s"):
        times = made.measured([one.row for one in served.measured], made.base, name=name)
        assert (limits(served.points)[name] < Observations(times).values).all()
    for name in ("throughput_rps", "output_tokens_per_s_per_gpu"):
        rates = made.measured([one.row for one in served.measured], made.base, name=name)
        assert (limits(served.points)[name] > Observations(rates).values).all()


def test_a_step_reads_the_weights_once(made):
    (point,) = Observations(made.measured(made.decode((1,), (1,)), made.base)).points
    weights = (point.model.parameters().total - point.model.hidden * point.model.vocab) * 2
    least = weights / point.hardware.memory.bandwidth
    assert float(limits([point])["latency_s"][0]) == pytest.approx(least, rel=0.01)
