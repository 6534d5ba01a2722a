"""The default engine's predictions against public end-to-end measurements.

Bounds are the in-sample errors stated in engines/vllm.yaml with a small margin.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from pdplan.planner import predict
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.stages.llm import decode_pass, prefill_pass
from pdplan.stages.machine import Shape, machines

DATA = Path(__file__).parents[2] / "shared" / "data"
ENGINE = load_engine("vllm")
LENGTH = 0.9
"""InferenceX draws lengths between 0.8 and 1.0 of the nominal ones."""

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no measurements in {DATA}")


def _rows(path):
    with (DATA / path).open(newline="") as file:
        return list(csv.DictReader(file))


def _column(rows, key):
    return np.array([float(row[key]) for row in rows])


def _mape(predicted, measured):
    return float(np.abs(predicted / measured - 1).mean())


def _dynamo():
    shape = Shape("h200-sxm", weight_dtype="fp8", moe_dtype="fp8", kv_dtype="bf16")
    hardware = {shape.hardware: load_hardware(shape.hardware)}
    return load_model("llama-3.1-8b"), machines([shape], hardware, ENGINE)


def test_decode_steps():
    rows = _rows("dynamo/decode_llama31_8b_fp8_h200.csv")
    model, m = _dynamo()
    step = decode_pass(
        model,
        m,
        sequences=_column(rows, "batch_from_kv")[None],
        context_tokens=_column(rows, "context_length")[None],
    )
    assert _mape(step.total_s[0] * 1e3, _column(rows, "itl_ms")) < 0.05


def test_prefill():
    """A pass, and the 18 ms that the server adds whatever the prompt (HTTP, tokens, delivery)."""
    rows = _rows("dynamo/prefill_llama31_8b_fp8_h200.csv")
    model, m = _dynamo()
    alone = prefill_pass(model, m, new_tokens=_column(rows, "isl")[None]).total_s[0] * 1e3
    measured = _column(rows, "ttft_ms")
    assert _mape(alone + 18, measured) < 0.05
    assert (alone < measured).all()


def _closed_loop(model, hardware):
    """Runs without a queue; gpt-oss ships its experts in mxfp4 and the rest in bf16."""
    rows = [
        row | ({"weight_dtype": "bf16", "moe_dtype": "mxfp4"} if "gpt-oss" in model else {})
        for row in _rows("inferencex/closed_loop.csv")
        if (row["engine"], row["model"], row["hardware"]) == ("vllm", model, hardware)
        and not (model == "qwen3-32b" and row["weight_dtype"] == "fp8")  # at or beyond the roofline
        and int(row["concurrency"]) <= 64
        and float(row["ttft_ms"]) < max(4000, 0.3 * float(row["osl"]) * float(row["tpot_ms"]))
    ]
    keys = ("tp", "dp", "ep", "isl", "osl", "concurrency", "ttft_ms")
    return list({tuple(row[key] for key in keys): row for row in rows}.values())


def _shape(row):
    return Shape(
        row["hardware"],
        **{key: int(row[key]) for key in ("tp", "pp", "ep", "dp", "moe_tp")},
        weight_dtype=row["weight_dtype"],
        moe_dtype=row["moe_dtype"] or row["weight_dtype"],
    )


@pytest.mark.parametrize(
    ("name", "hardware", "runs", "bound"),
    [
        ("qwen3-32b", "h100-sxm", 72, 0.07),
        ("gpt-oss-120b", "h100-sxm", 45, 0.19),
        ("gpt-oss-120b", "b200-sxm", 60, 0.13),
        ("minimax-m2.5", "h200-sxm", 45, 0.16),
    ],
)
def test_closed_loop_tpot(name, hardware, runs, bound):
    """TPOT = step + (C - 1) prefill / osl: in a request's life every other one prefills once."""
    rows = _closed_loop(name, hardware)
    assert len(rows) == runs
    model = load_model(name)
    m = machines([_shape(row) for row in rows], {hardware: load_hardware(hardware)}, ENGINE)
    running, prompt, output = (
        _column(rows, key)[:, None] * scale
        for key, scale in (("concurrency", 1), ("isl", LENGTH), ("osl", LENGTH))
    )
    step = decode_pass(model, m, sequences=running, context_tokens=prompt + output / 2).total_s
    prefill = prefill_pass(model, m, new_tokens=prompt, sequences=m.dp).total_s - m.step_s
    tpot = step + (running / m.dp - 1) * prefill / output
    assert _mape(tpot[:, 0] * 1e3, _column(rows, "tpot_ms")) < bound


def test_closed_loop_runs_through_predict():
    """Every row is predicted; TPOT in bounds, and TTFT no better than the documentation says.

    InferenceX's mean TTFT holds the opening burst of all requests at once, which a steady state
    does not have: README, "Known limits".
    """
    rows = [
        row | {"phase": "serve", "isl": str(float(row["isl"]) * LENGTH),
               "osl": str(float(row["osl"]) * LENGTH)}
        for row in _rows("inferencex/closed_loop.csv")
        if row["engine"] == "vllm" and int(row["concurrency"]) <= 64
        and not (row["model"] == "qwen3-32b" and row["precision"] == "fp8")  # beyond the roofline
    ]  # fmt: skip
    found = predict(rows)
    assert [row["error"] for row in found] == [None] * len(rows)
    tpot = np.array([row["tpot_mean_s"] for row in found]) * 1e3
    ttft = np.array([row["ttft_mean_s"] for row in found]) * 1e3
    assert _mape(tpot, _column(rows, "tpot_ms")) < 0.13
    assert _mape(ttft, _column(rows, "ttft_ms")) < 0.65
