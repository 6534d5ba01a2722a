"""Every format is read from its own file; what is wrong with a file is said at its place."""

import csv
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.calibration.formats import FORMATS, arrays, content, read_measurements
from pdplan.errors import PdplanError, SpecError
from pdplan.planner.points import Reader

FILES = Path(__file__).parent / "files"
HARDWARE = {"hardware": "h100-sxm"}
WHAT = HARDWARE | {"model": "llama-3.1-8b"}
LENGTHS = WHAT | {"isl": "1024", "osl": "128"}

READ = {  # file: flags, rows as 'column=value', values of the first row
    "predict.csv": (
        {},
        [
            "model=llama-3.1-8b hardware=h100-sxm phase=prefill tp=1 batch=1 isl=2048",
            "model=llama-3.1-8b hardware=h100-sxm phase=decode tp=1 batch=64 context=1500",
            "model=llama-3.1-8b hardware=h100-sxm phase=serve tp=1 isl=1024 osl=256"
            " concurrency=16 weight_dtype=fp8",
        ],
        "latency_s=0.0615",
    ),
    "vllm_serve.json": (
        {},
        [
            "phase=serve model=llama-3.1-8b hardware=h100-sxm tp=2 concurrency=32 requests=320"
            " isl=1024 osl=256"
        ],
        "throughput_rps=4 output_tokens_per_s_per_gpu=512 ttft_mean_s=0.1205 ttft_p50_s=0.095"
        " ttft_p99_s=0.41025 tpot_mean_s=0.0115 tpot_p50_s=0.01125 tpot_p99_s=0.013",
    ),
    "vllm_serve_detailed.json": (
        HARDWARE,
        [
            "phase=serve model=qwen3-32b weight_dtype=fp8 hardware=h100-sxm rate=2 requests=3"
            " isl=100 osl=4"
        ],
        "throughput_rps=1 output_tokens_per_s_per_gpu=4 latency_s=0.25 ttft_mean_s=0.2"
        " ttft_p50_s=0.2 ttft_p90_s=0.28 ttft_p99_s=0.298 tpot_mean_s=0.02 tpot_p50_s=0.02"
        " tpot_p90_s=0.028 tpot_p99_s=0.0298",
    ),
    "vllm_latency.json": (
        LENGTHS | {"batch": "8"},
        ["phase=static model=llama-3.1-8b hardware=h100-sxm isl=1024 osl=128 batch=8"],
        "latency_s=2.5",
    ),
    "vllm_throughput.json": (
        LENGTHS,
        [
            "phase=serve model=llama-3.1-8b hardware=h100-sxm isl=1024 osl=128"
            " concurrency=1000 requests=1000"
        ],
        "throughput_rps=20",
    ),
    "sglang_serve.jsonl": (
        HARDWARE | {"model": "qwen3-32b"},
        [
            "phase=serve model=qwen3-32b hardware=h100-sxm tp=4 pp=1 concurrency=16 requests=100"
            " isl=512 osl=64",
            "phase=serve model=qwen3-32b hardware=h100-sxm rate=4 requests=100 isl=300 osl=200",
        ],
        "latency_s=3.9 throughput_rps=4 output_tokens_per_s_per_gpu=64 kv_capacity_tokens=812345"
        " ttft_mean_s=0.15 ttft_p50_s=0.14 ttft_p90_s=0.18 ttft_p99_s=0.22 tpot_mean_s=0.029"
        " tpot_p50_s=0.028 tpot_p90_s=0.031 tpot_p99_s=0.035",
    ),
    "sglang_batch.jsonl": (
        WHAT,
        [
            "phase=static model=llama-3.1-8b hardware=h100-sxm batch=8 isl=1024 osl=64",
            "phase=static model=llama-3.1-8b hardware=h100-sxm batch=16 isl=1024 osl=64",
        ],
        "latency_s=1.03",
    ),
    "aiperf.json": (
        HARDWARE | {"tp": "2"},
        [
            "phase=serve model=gpt-oss-120b hardware=h100-sxm tp=2 concurrency=10 requests=160"
            " isl=1000 osl=128"
        ],
        "latency_s=2.4 throughput_rps=4 output_tokens_per_s_per_gpu=256 ttft_mean_s=0.19"
        " ttft_p50_s=0.175 ttft_p90_s=0.25 ttft_p99_s=0.3 tpot_mean_s=0.017 tpot_p50_s=0.0165"
        " tpot_p90_s=0.019 tpot_p99_s=0.022",
    ),
    "aiperf_0_2.json": (
        HARDWARE,
        ["phase=serve model=qwen3-8b hardware=h100-sxm rate=5 requests=50 isl=550 osl=128"],
        "latency_s=0.9 throughput_rps=4.9 output_tokens_per_s_per_gpu=627 ttft_mean_s=0.04"
        " ttft_p50_s=0.038 ttft_p90_s=0.05 ttft_p99_s=0.07 tpot_mean_s=0.0068"
        " tpot_p50_s=0.0067 tpot_p90_s=0.007 tpot_p99_s=0.0075",
    ),
    "genai_perf.json": (
        HARDWARE,
        [
            "phase=serve model=mistral-7b-v0.3 hardware=h100-sxm concurrency=4 requests=40"
            " isl=200 osl=128"
        ],
        "latency_s=1.9 throughput_rps=2 output_tokens_per_s_per_gpu=256 ttft_mean_s=0.06"
        " ttft_p50_s=0.058 ttft_p90_s=0.08 ttft_p99_s=0.09 tpot_mean_s=0.0145"
        " tpot_p50_s=0.0144 tpot_p90_s=0.0155 tpot_p99_s=0.016",
    ),
    "guidellm.json": (
        HARDWARE,
        [
            "phase=serve model=qwen3-8b hardware=h100-sxm concurrency=1 requests=20 isl=512"
            " osl=256",
            "phase=serve model=qwen3-8b hardware=h100-sxm rate=3.5 requests=200 isl=512 osl=256",
        ],
        "latency_s=2 throughput_rps=0.5 output_tokens_per_s_per_gpu=128 ttft_mean_s=0.03"
        " ttft_p50_s=0.029 ttft_p90_s=0.033 ttft_p99_s=0.036 tpot_mean_s=0.0075"
        " tpot_p50_s=0.0074 tpot_p90_s=0.0077 tpot_p99_s=0.008",
    ),
    "guidellm_0_2.json": (
        HARDWARE,
        [
            "phase=serve model=llama-3.1-8b weight_dtype=int4 hardware=h100-sxm concurrency=8"
            " requests=64 isl=256 osl=128"
        ],
        "latency_s=5 throughput_rps=1.6 output_tokens_per_s_per_gpu=204 ttft_mean_s=0.05"
        " ttft_p50_s=0.048 ttft_p90_s=0.06 ttft_p99_s=0.08 tpot_mean_s=0.038 tpot_p50_s=0.037"
        " tpot_p90_s=0.04 tpot_p99_s=0.044",
    ),
    "inference_perf_stage.json": (
        WHAT,
        ["phase=serve model=llama-3.1-8b hardware=h100-sxm rate=2 requests=120 isl=1000 osl=100"],
        "latency_s=3.2 throughput_rps=1.9 output_tokens_per_s_per_gpu=190 ttft_mean_s=0.2"
        " ttft_p50_s=0.18 ttft_p90_s=0.3 ttft_p99_s=0.45 tpot_mean_s=0.03 tpot_p50_s=0.029"
        " tpot_p90_s=0.033 tpot_p99_s=0.036",
    ),
    "inference_perf_concurrency.json": (
        WHAT,
        [
            "phase=serve model=llama-3.1-8b hardware=h100-sxm concurrency=24 requests=300"
            " isl=1000 osl=120"
        ],
        "latency_s=4 throughput_rps=5 output_tokens_per_s_per_gpu=600 ttft_mean_s=0.25"
        " ttft_p50_s=0.2 ttft_p90_s=0.4 ttft_p99_s=0.6 tpot_mean_s=0.03 tpot_p50_s=0.029"
        " tpot_p90_s=0.033 tpot_p99_s=0.036",
    ),
    "mlperf_grouped.csv": (
        {},
        [
            "phase=serve model=llama-2-70b hardware=h200-sxm weight_dtype=fp8 tp=1 pp=1"
            " rate=14.075 isl=222.33 osl=291.26"
        ],
        "ttft_mean_s=0.4 ttft_p50_s=0.41 ttft_p99_s=0.79 tpot_mean_s=0.15 tpot_p50_s=0.155"
        " tpot_p99_s=0.19",
    ),
    "mlperf_runs.csv": (
        {},
        [
            "phase=serve model=llama-2-70b hardware=mi300x weight_dtype=fp8 tp=1 pp=1 rate=9.2"
            " isl=222.33 osl=293.4"
        ],
        "latency_s=45 throughput_rps=9.15 ttft_mean_s=1 ttft_p50_s=0.99 ttft_p90_s=1.3"
        " ttft_p99_s=1.6 tpot_mean_s=0.143 tpot_p99_s=0.198",
    ),
    "mlperf_log_summary.txt": (
        {"model": "llama-2-70b", "hardware": "mi300x", "isl": "222"},
        ["phase=serve model=llama-2-70b hardware=mi300x rate=8.62 isl=222 osl=293.396"],
        "latency_s=45.213988589 throughput_rps=8.59 output_tokens_per_s_per_gpu=2520.27"
        " ttft_mean_s=0.401873796 ttft_p50_s=0.411053102 ttft_p90_s=0.61718401"
        " ttft_p99_s=0.785265884 tpot_mean_s=0.15337777 tpot_p50_s=0.156937729"
        " tpot_p90_s=0.177701743 tpot_p99_s=0.190298723",
    ),
}


def pairs(text):
    return dict(pair.split("=") for pair in text.split())


@pytest.mark.parametrize("name", READ)
def test_a_file_of_every_format_is_read(name):
    hints, rows, values = READ[name]
    found = read_measurements(FILES / name, hints)
    assert [one.row for one in found] == [pairs(row) for row in rows]
    expected = {key: float(value) for key, value in pairs(values).items()}
    assert found[0].values == pytest.approx(expected, rel=1e-9)  # rounding of unit factors
    assert {one.source for one in found} == {str(FILES / name)}


def test_every_file_is_tried():
    assert {path.name for path in FILES.iterdir()} == {*READ, "README.md"}


@pytest.mark.parametrize("name", READ)
def test_predict_takes_what_is_read(name):
    reader = Reader(None, {})
    for one in read_measurements(FILES / name, READ[name][0]):
        reader.point(one.row)


def test_a_line_is_remembered():
    lines = [one.line for one in read_measurements(FILES / "predict.csv", {})]
    assert lines == [2, 3, 4]


def saved(path, **columns):
    np.savez(path, **columns)
    return path


def test_dynamo_prefill(tmp_path):
    path = saved(
        tmp_path / "raw_data.npz",
        prefill_isl=np.array([100, 2000]),
        prefill_ttft=np.array([10.0, 80.0]),
        prefill_thpt_per_gpu=np.array([1e4, 2.5e4]),
    )
    found = read_measurements(path, WHAT | {"tp": "2"})
    rows = [f"phase=prefill model=llama-3.1-8b hardware=h100-sxm tp=2 batch=1 isl={n}" for n in
            (100, 2000)]  # fmt: skip
    assert [one.row for one in found] == [pairs(row) for row in rows]
    assert [one.values for one in found] == [{"latency_s": 0.01}, {"latency_s": 0.08}]


DECODE = {"x_kv_usage": [0.1, 0.5], "y_context_length": [1000, 2000], "z_itl": [5.0, 9.0]}


@pytest.mark.parametrize("capacity", [400000, [400000]])
@pytest.mark.parametrize("form", ["npz", "json"])
def test_dynamo_decode(tmp_path, capacity, form):
    data = DECODE | {"z_thpt_per_gpu": [1.0, 2.0], "max_kv_tokens": capacity}
    if form == "npz":
        path = saved(tmp_path / "d.npz", **{name: np.array(v) for name, v in data.items()})
    else:
        path = written(tmp_path, json.dumps(data))
    found = read_measurements(path, WHAT)
    assert [(one.row["batch"], one.row["context"]) for one in found] == [
        ("40", "1000"),
        ("100", "2000"),
    ]
    assert found[0].row["phase"] == "decode"
    assert found[0].values == {"latency_s": 0.005, "kv_capacity_tokens": 400000.0}


def written(tmp_path, text, name="result.json"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path, hints):
    with pytest.raises(SpecError) as caught:
        read_measurements(path, hints)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def changed(tmp_path, name, **changes):
    data = json.loads((FILES / name).read_text())
    return written(tmp_path, json.dumps(data | changes))


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"request_rate": "inf", "max_concurrency": 32}, {"concurrency": "32"}),
        ({"request_rate": float("inf"), "max_concurrency": 999}, {"concurrency": "320"}),
        ({"request_rate": "inf", "max_concurrency": None}, {"concurrency": "320"}),
        ({"request_rate": 5.5, "max_concurrency": None}, {"rate": "5.5"}),
        ({"request_rate": 5.5, "max_concurrency": 32}, {"rate": "5.5"}),
        ({"request_rate": None, "max_concurrency": 8}, {"concurrency": "8"}),
    ],
)
def test_closed_loop_open_loop_and_burst(tmp_path, changes, sent):
    (found,) = read_measurements(changed(tmp_path, "vllm_serve.json", **changes), {})
    assert {name: found.row.get(name) for name in ("rate", "concurrency")} == {
        "rate": None,
        "concurrency": None,
    } | sent


def test_results_that_vllm_appends_are_all_read(tmp_path):
    text = (FILES / "vllm_serve.json").read_text().strip()
    found = read_measurements(written(tmp_path, f"{text}\n{text}\n"), {})
    assert [one.line for one in found] == [1, 2]


@pytest.mark.parametrize(
    ("name", "model", "dtype"),
    [
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b", None),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b", None),
        ("llama-3.1-8b", "llama-3.1-8b", None),
        ("/models/Llama-3.1-8B-Instruct/", "llama-3.1-8b", None),
        ("meta-llama/Llama-2-70b-chat-hf", "llama-2-70b", None),
        ("nvidia/Llama-3.3-70B-Instruct-FP4", "llama-3.3-70b", "nvfp4"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int8", "qwen2.5-72b", "int8"),
        ("RedHatAI/Qwen2.5-7B-Instruct-quantized.w8a8", "qwen2.5-7b", "int8"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1", None),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "qwen3-30b-a3b", "fp8"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3", None),
    ],
)
def test_models_go_by_their_hugging_face_names(tmp_path, name, model, dtype):
    (found,) = read_measurements(changed(tmp_path, "vllm_serve.json", model_id=name), {})
    assert (found.row["model"], found.row.get("weight_dtype")) == (model, dtype)


@pytest.mark.parametrize(
    ("changes", "hints", "message"),
    [
        (
            {"model_id": "acme/Llama-3.1-9B"},
            {},
            "result.json: model: 'acme/Llama-3.1-9B' is not known; did you mean 'llama-3.1-8b'?;"
            " give --model",
        ),
        (
            {"hardware": None},
            {},
            "result.json: hardware: the file does not say; give --hardware",
        ),
        (
            {"completed": 0},
            {},
            "result.json: completed: no request completed",
        ),
        (
            {"mean_ttft_ms": float("nan")},
            {},
            "result.json: mean_ttft_ms: must be a finite number of at least 0; got nan",
        ),
        (
            {"mean_ttft_ms": -3},
            {},
            "result.json: mean_ttft_ms: must be a finite number of at least 0; got -3",
        ),
        (
            {"mean_ttft_ms": [1]},
            {},
            "result.json: mean_ttft_ms: must be a finite number of at least 0; got a list",
        ),
        (
            {"hardware": "a\nb"},
            {},
            "result.json: hardware: must be text on one line; got 'a\\nb'",
        ),
        (
            {"request_rate": "fast"},
            {},
            "result.json: request_rate: must be a rate above 0 or inf; got 'fast'",
        ),
        (
            {"ramp_up_strategy": "linear"},
            {},
            "result.json: ramp_up_strategy: the rate changed during the run; needs a steady one",
        ),
        (
            {},
            {"isl": "2048"},
            "result.json: isl: the file says '1024', --isl '2048'; leave the flag out",
        ),
        (
            {},
            {"model": "qwen3-8b"},
            "result.json: model: the file says 'llama-3.1-8b', --model 'qwen3-8b'; leave the flag"
            " out",
        ),
        (
            {},
            {"rate": "4"},
            "result.json: concurrency: the file says '32'; leave --rate out",
        ),
    ],
)
def test_what_is_wrong_with_a_result_is_said(tmp_path, changes, hints, message):
    assert refused(changed(tmp_path, "vllm_serve.json", **changes), hints) == [message]


def test_a_flag_that_agrees_is_no_contradiction():
    hints = {"isl": "1020", "tp": "2", "model": "meta-llama/Llama-3.1-8B-Instruct"}
    (found,) = read_measurements(FILES / "vllm_serve.json", hints)
    assert found.row["isl"] == "1024"
    assert found.row["model"] == "llama-3.1-8b"


def test_a_flag_names_a_model_that_the_catalogue_does_not_know(tmp_path):
    path = changed(tmp_path, "vllm_serve.json", model_id="my-finetune")
    (found,) = read_measurements(path, {"model": "own.yaml"})
    assert found.row["model"] == "own.yaml"


def test_everything_that_is_missing_is_said_at_once():
    assert refused(FILES / "vllm_latency.json", {}) == [
        f"vllm_latency.json: {name}: the file does not say; give --{name}"
        for name in ("model", "hardware", "isl", "osl", "batch")
    ]


def test_a_summary_of_many_stages_needs_its_arrivals(tmp_path):
    path = changed(tmp_path, "inference_perf_stage.json", load_summary={"count": 120})
    assert refused(path, WHAT) == [
        "result.json: rate: the file does not say; give --rate or --concurrency"
    ]


def test_a_run_that_was_cut_short_is_refused(tmp_path):
    path = changed(tmp_path, "aiperf.json", is_complete=False)
    assert refused(path, HARDWARE) == [
        "result.json: is of a run that was cut short; expected a complete one"
    ]


def test_replicas_of_sglang_are_refused(tmp_path):
    line = json.loads((FILES / "sglang_serve.jsonl").read_text().splitlines()[0])
    line["server_info"]["dp_size"] = 2
    assert refused(written(tmp_path, json.dumps(line)), HARDWARE) == [
        "result.json: server_info.dp_size: 2 replicas behind one address; expected the result of"
        " one instance"
    ]
    line["server_info"]["enable_dp_attention"] = True
    (found,) = read_measurements(written(tmp_path, json.dumps(line)), HARDWARE)
    assert (found.row["tp"], found.row["dp"]) == ("2", "2")
    assert found.values["output_tokens_per_s_per_gpu"] == 64.0


KNOWN = "; ".join(dict.fromkeys(str(each) for each in FORMATS))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "result.json: is empty; expected a benchmark result"),
        (" \n", "result.json: is empty; expected a benchmark result"),
        (b"\xff\xfe\x00", "result.json: is not UTF-8 text"),
        ('{"a": 1', "result.json:1: ends in the middle of its JSON"),
        ('{"a": "x', "result.json:1: ends in the middle of its JSON"),
        ('{"a" 1}', "result.json:1: is not valid JSON: Expecting ':' delimiter"),
        ('{"a": 1}\n{"a": \n', "result.json:2: ends in the middle of its JSON"),
        ("[]", "result.json: is an empty list; expected a benchmark result"),
        ("[1]", "result.json: expected a JSON object of a benchmark result"),
        ("[" * 100000, "result.json: is nested too deep"),
        ('{"b": ' + "1" * 5000 + "}", "result.json: is not valid JSON: a number is too long"),
        (
            '{"ttft": 1, "tpot": 2}',
            f"result.json: is of no known format: found the keys ttft, tpot; known: {KNOWN}",
        ),
        (
            "hello\nworld: 1",
            f"result.json: is of no known format: found the lines hello, world; known: {KNOWN}",
        ),
        (
            "model,isl,latency_s\nx,1,2\n",
            "result.json: has no measured column; found model, isl, latency_s; expected for"
            " example measured_latency_s, measured_ttft_ms or measured_tpot_p99_ms",
        ),
        ("isl,measured_s\n", "result.json: has no rows below its header"),
        ("isl,isl,measured_s\n1,1,1\n", "result.json:1: column 'isl' is named twice"),
        ("isl,measured_s\n1,1,1\n", "result.json:2: has more cells than the header"),
        (
            "isl,measured_s,measured_latency_ms\n1,1,1\n",
            "result.json:1: columns measured_s, measured_latency_ms are the same output",
        ),
        (
            "isl,measured_speed\n1,1\n",
            "result.json:1: measured_speed: is no output of predict; expected for example"
            " measured_latency_s, measured_ttft_ms or measured_tpot_p99_ms",
        ),
        (
            "isl,measured\n1,12.3\n",
            "result.json:2: measured: needs a number and a unit, for example '12.3 ms'; got '12.3'",
        ),
        (
            "isl,measured_ms\n1,nan\n",
            "result.json:2: measured_ms: must be a finite number above 0; got 'nan'",
        ),
        (
            "isl,measured_ms\n1,0\n",
            "result.json:2: measured_ms: must be a finite number above 0; got '0'",
        ),
        (
            "isl,measured_throughput_rps\n1,fast\n",
            "result.json:2: measured_throughput_rps: must be a number; got 'fast'",
        ),
        ("isl,measured_ms\n1,\n", "result.json:2: has no measured value"),
        (
            "bench,accelerator,rate_per_replica\ngptj,NVIDIA H100,3\n",
            "result.json: has no valid server run of a model and an accelerator that pdplan knows",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, message):
    assert refused(written(tmp_path, text), WHAT) == [message]


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(SpecError, match="is a folder; expected a file"):
        read_measurements(tmp_path, {})
    with pytest.raises(SpecError, match="no such file"):
        read_measurements(tmp_path / "x.json", {})


def test_the_same_defect_of_many_rows_is_said_once(tmp_path):
    path = written(tmp_path, "isl,measured_ms\n" + "128,1\n" * 50)
    assert refused(path, {}) == [
        "result.json:2: model: the file does not say; give --model",
        "result.json:2: hardware: the file does not say; give --hardware",
    ]


def test_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "MAX_BYTES", 10**6)
    path = written(tmp_path, b"x" * (10**6 + 1))
    assert refused(path, {}) == ["result.json: is larger than 1 MB; no more is read"]
    path = saved(tmp_path / "a.npz", a=np.zeros(10))
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 100)
    assert refused(path, {}) == ["a.npz: unpacks to more than 0 MB; no more is read"]


def test_npz_of_python_objects_is_not_unpickled(tmp_path):
    path = saved(tmp_path / "a.npz", prefill_isl=np.array([{}], dtype=object), prefill_ttft=[1])
    assert refused(path, {}) == ["a.npz: holds Python objects, which are not read"]


def test_broken_npz(tmp_path):
    whole = saved(tmp_path / "a.npz", prefill_isl=[1.0], prefill_ttft=[2.0]).read_bytes()
    assert refused(written(tmp_path, whole[:200], "b.npz"), {}) == ["b.npz: is not a valid .npz"]
    path = saved(tmp_path / "c.npz", prefill_isl=[1.0, 2.0], prefill_ttft=[2.0])
    assert refused(path, {}) == [
        "c.npz: prefill_isl: the arrays must be of one length above 0; prefill_isl has 2,"
        " prefill_ttft has 1"
    ]
    path = saved(tmp_path / "d.npz", **DECODE)
    assert refused(path, {}) == ["d.npz: max_kv_tokens: missing; the batch follows from it"]


def test_a_pickle_is_no_result(tmp_path):
    path = written(tmp_path, pickle.dumps({"a": 1}))
    assert refused(path, {}) == ["result.json: is not UTF-8 text"]


@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 10**6), st.floats(1e-6, 1e6), st.sampled_from(["_s", "_ms", "_us", ""])
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_csv_comes_back_as_it_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    scale = {"_s": 1.0, "_ms": 1e-3, "_us": 1e-6, "": 1.0}
    for suffix in scale:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["isl", "model", "hardware", f"measured_ttft_p90{suffix}"])
        for isl, value, _ in rows:
            writer.writerow([isl, "qwen3-8b", "h20", value if suffix else f"{value} s"])
        path.write_text(text.getvalue(), newline="")
        found = read_measurements(path, {})
        assert [one.row["isl"] for one in found] == [str(isl) for isl, _, _ in rows]
        for one, (_, value, _) in zip(found, rows, strict=True):
            assert one.values == pytest.approx({"ttft_p90_s": value * scale[suffix]}, rel=1e-9)


NAMES = sorted({name for each in FORMATS for sign in each.signs for name in sign})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["inf", "Server", "llama-3.1-8b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["avg", "mean", "unit", "strategy"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def tried(path):
    try:
        found = read_measurements(path, LENGTHS | {"batch": "1"})
    except PdplanError:
        return
    assert all(0 < value < float("inf") for one in found for value in one.values.values())


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: b"PK\x03\x04" + b))
def test_random_bytes_end_in_a_message(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "x"
    path.write_bytes(data)
    tried(path)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), VALUES, max_size=8))
def test_random_json_ends_in_a_message(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(data))
    tried(path)


@given(st.data())
def test_a_result_with_a_random_value_ends_in_a_message(tmp_path_factory, data):
    name = data.draw(st.sampled_from([name for name in READ if name.endswith("json")]))
    result = json.loads((FILES / name).read_text())
    spots = []

    def walk(value):
        for key in value if isinstance(value, dict) else range(len(value)):
            spots.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    walk(result)
    holder, key = data.draw(st.sampled_from(spots))
    holder[key] = data.draw(VALUES)
    path = tmp_path_factory.mktemp("changed") / "x.json"
    path.write_text(json.dumps(result))
    tried(path)


@given(st.lists(st.lists(st.sampled_from(["1", "x", "", "nan", '"', "1 ms", "-1"]), max_size=4)))
def test_random_tables_end_in_a_message(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "x.csv"
    for header in ("isl,measured_ms,measured_ttft", "bench,accelerator,rate_per_replica,tp"):
        path.write_text("\n".join([header, *(",".join(row) for row in rows)]))
        tried(path)
