"""Rows of `predict`: bad ones are told apart, good ones agree with each other."""

import itertools
import math
import time

import pytest
import yaml

from pdplan import predict
from pdplan.planner import PREDICT_INPUTS, PREDICT_OUTPUTS
from pdplan.specs.catalog import bundled_root

BASE = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
VISION = BASE | {"model": "qwen2.5-vl-7b", "image_width": "1280", "image_height": "720"}
GOOD = {
    "prefill": BASE | {"isl": "1000", "batch": "2", "prefix": "300"},
    "decode": BASE | {"phase": "decode", "context": "1000", "batch": "32"},
    "encode": VISION | {"phase": "encode", "images": "2"},
    "transfer": BASE | {"phase": "transfer", "isl": "1000"},
    "bytes": BASE | {"phase": "transfer", "bytes": "1e9"},
    "static": BASE | {"phase": "static", "isl": "1000", "osl": "100", "batch": "8"},
    "open": BASE | {"phase": "serve", "isl": "1000", "osl": "100", "rate": "2"},
    "closed": BASE | {"phase": "serve", "isl": "1000", "osl": "100", "concurrency": "16"},
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_row_is_filled(name):
    (row,) = predict([GOOD[name]])
    assert row["error"] is None
    assert list(row) == [*PREDICT_INPUTS, *PREDICT_OUTPUTS]
    assert 0 < row["latency_s"] < 100
    assert row["fits"] is True
    assert row["memory_bytes_per_gpu"] > 1e9
    assert {k: row[k] for k in GOOD[name]} == GOOD[name]


@pytest.mark.parametrize("name", ["prefill", "decode", "encode", "static"])
def test_parts_are_no_longer_than_the_whole(name):
    (row,) = predict([GOOD[name]])
    for part in ("compute_s", "memory_s"):
        assert row[part] + row["network_s"] + row["overhead_s"] <= row["latency_s"] * (1 + 1e-9)


def test_together_is_one_by_one():
    rows = [
        good | {"tp": tp, "batch": batch}
        for good in GOOD.values()
        for tp in ("1", "2")
        for batch in ("1", "3")
    ]
    alone = [predict([row])[0] for row in rows]
    for one, row in zip(alone, predict(rows), strict=True):
        for key, value in one.items():
            if isinstance(value, float):
                # Numpy rounds powers of arrays and of scalars apart.
                assert row[key] == pytest.approx(value, rel=1e-12), key
            else:
                assert row[key] == value, key


BAD = {
    "nan": (BASE | {"isl": "nan"}, "isl: must be a positive number; got nan"),
    "inf": (BASE | {"isl": "inf"}, "isl: must be a positive number; got inf"),
    "negative": (BASE | {"isl": "-5"}, "isl: must be a positive number; got -5"),
    "zero": (BASE | {"isl": "0"}, "isl: must be a positive number; got 0"),
    "huge": (BASE | {"isl": "1e13"}, "isl: must be a positive number of at most 1e+09; got 1e13"),
    "text": (BASE | {"isl": "x"}, "isl: 'x' is not a number"),
    "missing": (BASE, "isl: missing; prefill needs it"),
    "phase": (
        BASE | {"phase": "prefil", "isl": "1"},
        "phase: 'prefil' is not one of prefill, decode, encode, transfer, static, serve; "
        "did you mean 'prefill'?",
    ),
    "empty": ({}, "model: missing; hardware: missing; isl: missing; prefill needs it"),
    "split": (
        BASE | {"isl": "1", "tp": "3"},
        "tp=3 does not divide the model's 32 attention heads",
    ),
    "half": (
        BASE | {"isl": "1", "tp": "1.5"},
        "tp: must be a whole number of at least 1; got 1.5",
    ),
    "dtype": (
        BASE | {"isl": "1", "weight_dtype": "fp7"},
        "weight_dtype: 'fp7' is not one of bf16, fp16, fp8, int8, int4, mxfp4, nvfp4; "
        "did you mean 'fp8'?",
    ),
    "blind": (VISION | {"model": "llama-3.1-8b", "phase": "encode"},
              "model 'Llama-3.1-8B' has no vision encoder"),
    "both": (GOOD["open"] | {"concurrency": "3"}, "serve needs either rate or concurrency"),
    "neither": (BASE | {"phase": "serve", "isl": "1", "osl": "1"},
                "serve needs either rate or concurrency"),
    "nothing sent": (BASE | {"phase": "transfer"}, "transfer needs isl or bytes"),
    "no network": (BASE | {"phase": "transfer", "isl": "9", "hardware": "rtx-4090"},
                   "rtx-4090: no network bandwidth is known"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_says_what_is_wrong(name):
    row, text = BAD[name]
    (found,) = predict([row])
    assert found["error"] == text
    assert found["latency_s"] is None


def test_bad_rows_do_not_stop_good_ones():
    rows = [row for row, _ in BAD.values()] + list(GOOD.values())
    found = predict(rows)
    assert [row["error"] is None for row in found] == [False] * len(BAD) + [True] * len(GOOD)
    assert [row["latency_s"] for row in found[len(BAD) :]] == pytest.approx(
        [predict([row])[0]["latency_s"] for row in GOOD.values()], rel=1e-12
    )


def test_static_is_prefill_and_steps():
    rows = [
        GOOD["static"] | {"osl": "1"},
        BASE | {"isl": "1000", "batch": "8"},
        GOOD["static"] | {"osl": "2"},
        BASE | {"phase": "decode", "context": "1001", "batch": "8"},
    ]
    one, prefill, two, step = (row["latency_s"] for row in predict(rows))
    assert one == pytest.approx(prefill)
    assert two - one == pytest.approx(step, rel=1e-3)


def test_longer_is_slower():
    for name, key in (
        ("prefill", "isl"),
        ("decode", "batch"),
        ("static", "osl"),
        ("bytes", "bytes"),
    ):
        found = predict([GOOD[name] | {key: str(10**k)} for k in range(5)])
        latencies = [row["latency_s"] for row in found]
        assert latencies == sorted(latencies)


def closed_loops():
    return [
        BASE | {"phase": "serve", "isl": str(isl), "osl": str(osl), "concurrency": str(n)}
        for isl in (16, 500, 20_000)
        for osl in (1, 2, 50, 500)
        for n in (1, 2, 7, 15, 64, 256)
    ]


def test_a_closed_loop_obeys_littles_law():
    for row in predict(closed_loops()):
        in_flight = row["throughput_rps"] * row["latency_s"]
        assert in_flight == pytest.approx(float(row["concurrency"]), rel=1e-9)
        own = row["ttft_mean_s"] + (float(row["osl"]) - 1) * row["tpot_mean_s"]
        assert own == pytest.approx(row["latency_s"], rel=1e-6)
        assert row["ttft_p50_s"] <= row["ttft_p90_s"] <= row["ttft_p99_s"]
        assert row["tpot_p50_s"] <= row["tpot_p90_s"] <= row["tpot_p99_s"]


def test_more_requests_in_flight_never_lower_throughput():
    found = predict([GOOD["closed"] | {"concurrency": str(n)} for n in range(1, 200)])
    rates = [row["throughput_rps"] for row in found]
    # 0.5 %: the batch is a whole number, so the fixed point moves in steps.
    assert all(b >= a * 0.995 for a, b in itertools.pairwise(rates))


def test_one_request_at_a_time_is_a_static_batch_of_one():
    loop, static = predict([GOOD["closed"] | {"concurrency": "1"}, GOOD["static"] | {"batch": "1"}])
    # 5 %: a prompt first waits for half of a running step, and joins at a step's end.
    assert loop["latency_s"] == pytest.approx(static["latency_s"], rel=0.05)


def test_an_open_loop_slows_with_its_rate():
    found = predict([GOOD["open"] | {"rate": str(rate)} for rate in (0.01, 1, 5, 10)])
    for key in ("latency_s", "ttft_p99_s", "tpot_p90_s"):
        values = [row[key] for row in found]
        assert values == sorted(values)
    assert all(math.isfinite(row["latency_s"]) for row in found)


def test_an_overloaded_row_never_ends():
    (row,) = predict([GOOD["open"] | {"rate": "2000"}])
    assert row["error"] is None
    assert math.isinf(row["latency_s"])


@pytest.mark.slow
def test_many_rows():
    rows = [
        BASE | {"phase": ("prefill", "decode", "static")[i % 3], "isl": str(1 + i % 5000),
                "context": str(i % 9999), "osl": "50", "batch": str(1 + i % 64)}
        for i in range(100_000)
    ]  # fmt: skip
    started = time.perf_counter()
    found = predict(rows)
    assert time.perf_counter() - started < 30
    assert not any(row["error"] for row in found)


def test_a_row_fits_if_its_cache_does(tmp_path):
    """An engine that gives the cache half of what is left holds half as many requests."""
    profile = yaml.safe_load((bundled_root() / "engines" / "vllm.yaml").read_text("utf-8"))
    profile["generations"]["hopper"]["memory"]["cache_share"] = 0.5
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    row = GOOD["decode"] | {"context": "4000"}
    whole, half = predict([row, row | {"engine": str(path)}])
    assert half["kv_capacity_tokens"] == pytest.approx(whole["kv_capacity_tokens"] / 2, rel=1e-9)
    most = int(half["kv_capacity_tokens"] // 4000)
    rows = [row | {"engine": str(path), "batch": str(most + more)} for more in (0, 1)]
    assert [found["fits"] for found in predict(rows)] == [True, False]
    assert predict([row | {"batch": str(most + 1)}])[0]["fits"] is True
