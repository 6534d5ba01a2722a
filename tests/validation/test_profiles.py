"""The bundled profiles against the public measurements that they were fitted on."""

import csv

import numpy as np
import pytest

from pdplan.specs.engine import load_engine
from validation.datasets import distserve, dynamo, inferencex, mooncake, splitwise, trtllm
from validation.datasets.tables import DATA
from validation.fit import HELD_OUT, observed
from validation.recipes import RECIPES
from validation.report import scored

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no measurements in {DATA}")


def _errors(rows):
    return {score.output: score for score in scored(rows)}


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
def test_errors_that_a_profile_states(name):
    (recipe,) = (one for one in RECIPES if one.name == name)
    engine = load_engine(name)
    data = observed(recipe.data())
    generation = np.array([data.said(i, "generation") for i in data.index])
    for family in data.generations:
        part = data.only(generation == family)
        error = np.abs(part.predicted(engine) / part.values - 1)
        stated = engine.generations[family].in_sample
        assert set(stated) == set(part.labels)
        for label, mape in stated.items():
            mine = error[np.array(part.labels) == label]
            assert mine.mean() == pytest.approx(mape, abs=1e-3), (family, label)


SOURCES = {
    "ai-dynamo decode": (dynamo.rows, "decode_s", 0.06),
    "ai-dynamo prefill": (dynamo.rows, "prefill_s", 0.06),
    "DistServe decode": (lambda: distserve.rows("distserve"), "decode_s", 0.04),
    "DistServe prefill": (lambda: distserve.rows("distserve"), "prefill_s", 0.05),
    "Splitwise decode": (splitwise.rows, "decode_s", 0.08),
    "Splitwise prefill": (lambda: splitwise.rows(plausible=True), "prefill_s", 0.18),
    "KV transfer": (mooncake.rows, "transfer_s", 0.05),
    "TensorRT-LLM v0.14": (trtllm.throughput, "output_tokens_per_s_per_gpu", 0.20),
}


@pytest.mark.parametrize("name", SOURCES)
def test_single_sources(name):
    rows, output, most = SOURCES[name]
    assert _errors(rows())[output].mape < most


def test_throughputs_are_ranked_right():
    assert _errors(trtllm.throughput())["output_tokens_per_s_per_gpu"].rank > 0.95


def test_every_closed_loop_run_is_predicted():
    """Those that something speaks against too, of which the errors are in docs/VALIDATION.md."""
    rows = inferencex.rows()
    assert len(rows) == 1049
    data = observed(rows)
    assert np.isfinite(data.predicted(load_engine("vllm"))).all()


def test_closed_loop_runs():
    found = _errors(inferencex.rows(plausible=True))
    assert found["tpot_mean_s"].mape < 0.10
    assert found["ttft_mean_s"].mape < 0.32


def _held_out(output):
    with HELD_OUT.open(newline="", encoding="utf-8") as file:
        rows = [
            (float(r["mape"]), int(r["points"]))
            for r in csv.DictReader(file)
            if r["output"] == output and r["left_out"] == "model and hardware"
        ]
    return sum(mape * n for mape, n in rows) / sum(n for _, n in rows)


def test_closed_loop_runs_held_out():
    """A model on its hardware, predicted from all others."""
    assert _held_out("tpot_mean_s") < 0.15
    assert _held_out("ttft_mean_s") < 0.40
