import gzip
import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pdplan.errors import SpecError
from pdplan.specs.trace_formats import (
    Reading,
    Tally,
    TraceRequest,
    open_trace,
    read_requests,
    trace_format,
)
from pdplan.specs.trace_formats.order import WINDOW
from pdplan.specs.trace_formats.prefix_cache import PrefixCache

HERE = Path(__file__).parent / "traces"
PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "traces"

FORMATS = {
    "azure_2023.csv": "Azure LLM inference trace",
    "azure_2024.csv": "Azure LLM inference trace",
    "azure_multimodal.csv": "Azure LMM inference trace",
    "burstgpt.csv": "BurstGPT",
    "mooncake.jsonl": "Mooncake or Qwen-Bailian trace",
    "qwen_bailian.jsonl": "Mooncake or Qwen-Bailian trace",
    "servegen.csv": "ServeGen",
    "servegen_multimodal.jsonl": "ServeGen",
    "vllm_serve.json": "vLLM bench serve, detailed",
    "aiperf.jsonl": "AIPerf records",
    "table.csv": "table with columns of lengths",
    "lengths.csv": "table with columns of lengths",
}

REQUESTS = {
    "azure_2024.csv": [(0.0, 2162, 5), (1.5, 2399, 6)],
    "azure_multimodal.csv": [(0.0, 1500, 40, 2), (0.5, 300, 20)],
    "burstgpt.csv": [(0.0, 906, 446, 0, None, "a"), (5.0, 1500, 29, 0, None, "a")],
    "mooncake.jsonl": [
        (0.0, 4300, 52, 0, 0.0),
        (0.5, 4400, 60, 0, 8 * 512.0),
        (3.0, 600, 7, 0, 599.0),
    ],
    "qwen_bailian.jsonl": [(0.0, 140, 13, 0, 0.0, "7"), (4.0, 160, 5, 0, 8 * 16.0, "7")],
    "servegen.csv": [(0.0, 512, 100), (0.5, 80, 12)],
    "servegen_multimodal.jsonl": [(0.0, 80, 9, 2), (1.5, 20, 4)],
    "vllm_serve.json": [(0.0, 100, 10), (1.5, 300, 30)],
    "aiperf.jsonl": [(0.0, 40, 2, 0, None, "c0"), (0.5, 55, 20, 0, None, "c1")],
    "table.csv": [(0.0, 100, 10, 0, 64.0, "x"), (1.5, 200, 20, 1), (3.0, 300, 30, 2, 299.0, "x")],
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_told_by_content(name, tmp_path):
    other = tmp_path / "some file"
    other.write_bytes((HERE / name).read_bytes())
    assert trace_format(other) == FORMATS[name]


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_of_every_format(name):
    found = list(read_requests(HERE / name))
    wanted = [TraceRequest(*values) for values in REQUESTS[name]]
    assert [one.arrival_s for one in found] == pytest.approx([w.arrival_s for w in wanted])
    for one, want in zip(found, wanted, strict=True):
        same = [field for field in TraceRequest.__slots__ if field != "arrival_s"]
        assert [getattr(one, f) for f in same] == [getattr(want, f) for f in same]


def test_seven_decimals_of_a_second():
    arrivals = [one.arrival_s for one in read_requests(HERE / "azure_2023.csv")]
    assert arrivals == pytest.approx([0.0, 0.052, 1.0], abs=1e-6)


@pytest.mark.parametrize(("name", "left_out"), [("burstgpt.csv", 1), ("aiperf.jsonl", 1)])
def test_failures_are_counted(name, left_out):
    tally = Tally()
    list(open_trace(HERE / name).requests(tally=tally))
    assert tally.left_out == left_out


def test_the_date_of_the_first_request_is_kept():
    tally = Tally()
    list(open_trace(HERE / "azure_2024.csv").requests(tally=tally))
    assert tally.first_s == pytest.approx(1715299200.00993, abs=1e-5)


def test_image_tokens_are_taken_off():
    found = list(read_requests(HERE / "azure_multimodal.csv", Reading(image_tokens=600)))
    assert [one.prompt_tokens for one in found] == [300, 300]
    assert "--image-tokens" in open_trace(HERE / "azure_multimodal.csv").note


def test_a_bounded_cache_finds_less():
    found = list(read_requests(HERE / "mooncake.jsonl", Reading(cache_blocks=9)))
    assert [one.cached_tokens for one in found] == [0.0, 4096.0, 599.0]
    found = list(read_requests(HERE / "mooncake.jsonl", Reading(cache_blocks=1)))
    assert [one.cached_tokens for one in found] == [0.0, 512.0, 512.0]


def test_a_prefix_outlives_what_follows_it():
    cache = PrefixCache(4)
    assert [cache.replay(p) for p in ("abcd", "xy", "abcd")] == [0, 0, 2]


@pytest.mark.parametrize("name", REQUESTS)
def test_gzip(name, tmp_path):
    packed = tmp_path / "packed.gz"
    packed.write_bytes(gzip.compress((HERE / name).read_bytes()))
    assert list(read_requests(packed)) == list(read_requests(HERE / name))


def test_one_json_list_is_read_too(tmp_path):
    rows = [json.loads(line) for line in (HERE / "mooncake.jsonl").read_text().splitlines()]
    path = tmp_path / "list.json"
    for indent in (None, 1):
        path.write_text(json.dumps(rows, indent=indent))
        assert list(read_requests(path)) == list(read_requests(HERE / "mooncake.jsonl"))


def test_lengths_alone_have_no_times():
    trace = open_trace(HERE / "lengths.csv")
    assert not trace.timed
    found = list(trace.requests())
    assert [(one.prompt_tokens, one.output_tokens) for one in found] == [(146, 195), (122, 366)]
    assert all(math.isnan(one.arrival_s) for one in found)
    with pytest.raises(SpecError) as caught:
        next(read_requests(HERE / "lengths.csv"))
    assert str(caught.value) == (
        f"{HERE / 'lengths.csv'}: has lengths only; needs arrival times too, "
        "for example a column arrival_s"
    )


def test_requests_out_of_order_are_sorted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,isl,osl\n5,1,1\n3,2,2\n4,3,3\n")
    found = [(one.arrival_s, one.prompt_tokens) for one in read_requests(path)]
    assert found == [(0.0, 2), (1.0, 3), (2.0, 1)]


def test_a_request_far_too_late_in_its_file_is_an_error(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{k + 10},1,1" for k in range(WINDOW + 2)]
    path.write_text("arrival_s,isl,osl\n" + "\n".join(rows) + "\n3,1,1\n")
    with pytest.raises(SpecError) as caught:
        list(read_requests(path))
    assert str(caught.value) == (
        f"{path}:{WINDOW + 4}: arrives 8 s before a request more than 20,000 rows above; "
        "sort the trace by time"
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("1764000000500", 1764000000.5), ("1764000000500000000", 1764000000.5), ("12.5", 12.5)],
)
def test_times_since_1970_in_any_unit(written, seconds, tmp_path):
    path, tally = tmp_path / "t.csv", Tally()
    path.write_text(f"timestamp,isl,osl\n{written},1,1\n")
    list(open_trace(path).requests(tally=tally))
    assert tally.first_s == pytest.approx(seconds, abs=1e-3)


WRONG = {
    "": "t: is empty; expected requests",
    "a,b\n1,2\n": (
        "t: is a trace of no known format: found a, b; known: "
        "Azure LMM inference trace; Azure LLM inference trace; BurstGPT; "
        "Mooncake or Qwen-Bailian trace; ServeGen; vLLM bench serve, detailed; AIPerf records; "
        "table with columns of lengths"
    ),
    "arrival_s,isl,osl\n": "t: has no requests",
    "arrival_s,isl,osl\n0,1,0\n": "t: has no requests; left out 1 without tokens",
    "arrival_s,isl,osl\n0,1,1\nnan,1,1\n": "t:3: arrival: must be a finite number; got 'nan'",
    "arrival_s,isl,osl\n0,1,1\n1,inf,1\n": "t:3: prompt tokens: must be a finite number; got 'inf'",
    "arrival_s,isl,osl\n0,1,-4\n": "t:2: output tokens: must be at least 0; got -4",
    "arrival_s,isl,osl\n0,1.5,4\n": (
        "t:2: prompt tokens: must be a whole number of at most 1,000,000,000; got 1.5"
    ),
    "arrival_s,isl,osl\n0,1\n": "t:2: output tokens: must be a finite number; got nothing",
    "arrival_s,isl,osl\nsoon,1,1\n": "t:2: arrival: must be a finite number; got 'soon'",
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-01,1,1\n": (
        "t:2: TIMESTAMP: must be a finite number; got '2023-13-01'"
    ),
    '{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [0]}\nnonsense\n': (
        "t:2: is not a JSON object on one line"
    ),
    '{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": 3}\n': (
        "t:1: hash_ids: expected a list of numbers or texts"
    ),
    '[{"timestamp": 0, "input_length": 5, "output_length": 1}, {"timestamp": 1}]': (
        "t: [1].input_length: must be a finite number; got nothing"
    ),
    '{"input_lens": [1], "output_lens": [1, 2]}': (
        "t:1: output_lens: expected a list as long as input_lens"
    ),
    '{"input_lens": [1], "output_lens": [1]}\n{"input_lens": [1], "output_lens": [1]}\n': (
        "t:2: is a second run; expected the requests of one"
    ),
    '{"metadata": {}, "metrics": []}\n': "t:1: has no mappings 'metadata' and 'metrics'",
    '{"request_id": 1, "timestamp": 1, "data": {"text_tokens": 1, "image_tokens": 3}}': (
        "t:1: image_tokens: expected a list of the tokens of each"
    ),
    "{broken": ("t: is neither JSON objects, one a line, nor a JSON object or list of objects"),
}


@pytest.mark.parametrize("text", WRONG)
def test_errors_name_file_and_line(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("t")
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        list(open_trace(path).requests())
    assert str(caught.value) == WRONG[text]


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("latin").write_bytes("arrival_s,isl,osl,ö\n1,2,3,4\n".encode("latin-1"))
    Path("cut.gz").write_bytes(gzip.compress(b"arrival_s,isl,osl\n" + b"1,2,3\n" * 9999)[:60])
    Path("folder").mkdir()
    wanted = {
        "latin": "latin: is not UTF-8 text",
        "cut.gz": "cut.gz: is not a whole gzip file",
        "folder": "folder: cannot be read as a trace: is not a file",
        "gone": "gone: cannot be read as a trace: no such file",
    }
    for name, message in wanted.items():
        with pytest.raises(SpecError) as caught:
            list(read_requests(Path(name)))
        assert str(caught.value) == message


def public(name):
    path = PUBLIC / name
    if not path.exists():
        pytest.skip(f"no traces in {PUBLIC}")
    return list(read_requests(path))


def test_the_azure_trace_has_its_published_moments():
    found = public("AzureLLMInferenceTrace_code.csv")
    isl, osl = (
        np.array([getattr(one, name) for one in found], float)
        for name in ("prompt_tokens", "output_tokens")
    )
    assert len(found) == 8819
    assert (len(found) - 1) / found[-1].arrival_s == pytest.approx(2.57, abs=0.005)
    assert (isl.mean(), isl.std() / isl.mean()) == pytest.approx((2047.8, 0.964), rel=1e-3)
    assert (osl.mean(), osl.std() / osl.mean()) == pytest.approx((27.9, 2.147), rel=1e-3)


def test_the_mooncake_trace_finds_its_prefixes():
    found = public("mooncake_synthetic_trace.jsonl")
    prompts = sum(one.prompt_tokens for one in found)
    assert (len(found), found[-1].arrival_s) == (3993, pytest.approx(1022.025))
    # By hand: leading hashes seen before, times 512, at most the prompt less one token.
    rows = (PUBLIC / "mooncake_synthetic_trace.jsonl").read_text().splitlines()
    seen, cached = set(), 0
    for row in map(json.loads, rows):
        new = [key not in seen for key in row["hash_ids"]]
        leading = new.index(True) if True in new else len(new)
        cached += min(leading * 512, row["input_length"] - 1)
        seen.update(row["hash_ids"])
    assert sum(one.cached_tokens for one in found) == cached
    assert cached / prompts == pytest.approx(0.651, abs=1e-3)


@pytest.mark.slow
def test_a_long_trace_is_streamed(tmp_path):
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("arrival_s,isl,osl\n")
        file.writelines(f"{k / 10},{k % 900 + 1},{k % 70 + 1}\n" for k in range(200_000))
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_requests(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 200_000
    assert peak < 12e6  # 20,000 requests held back for sorting, at less than 600 bytes each
