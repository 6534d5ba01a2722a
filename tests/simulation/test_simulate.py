"""`simulate` of plan files: placements, traces, numbers that add up."""

import math
import time

import numpy as np
import pytest

from pdplan import simulate
from pdplan.errors import SpecError
from pdplan.specs.plan_file import load_plan

CHAT = "isl: {lognormal: {mean: 1500, cv: 1.0}}, osl: {lognormal: {mean: 250, cv: 0.8}}"
FLEET = f"""
placement: P-D
model: llama-3.1-70b
workload: {{rate: 6 req/s, {CHAT}, ttft: 800 ms, tpot: 40 ms}}
pools:
  - {{name: prefill, stages: P, hardware: h100-sxm, instances: 3, tp: 4}}
  - {{name: decode, stages: D, hardware: h100-sxm, instances: 2, tp: 4}}
"""
ONE = f"""
placement: PD
model: llama-3.1-8b
workload: {{rate: 8 req/s, {CHAT}, ttft: 800 ms, tpot: 40 ms}}
pools: [{{name: serve, stages: PD, hardware: h100-sxm, instances: 1}}]
"""


@pytest.fixture
def plan(tmp_path):
    def write(text):
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        return load_plan(path)

    return write


@pytest.fixture
def trace(tmp_path):
    def write(text, name="trace.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_numbers_of_a_run_add_up(plan):
    rows = []
    told = []
    found = simulate(
        plan(FLEET), requests=2000, rows=rows.append, progress=lambda *a: told.append(a)
    )
    assert (found.requests, found.seed, found.complete) == (2000, 1, True)
    assert len(rows) == 2000
    assert found.rate_rps == pytest.approx(6, rel=0.08)
    assert np.mean([r.ttft_s for r in rows]) == pytest.approx(found.ttft_s.mean.value)
    met = [r.ttft_s <= 0.8 and not r.tpot_s > 0.04 for r in rows]
    assert found.attainment.value == pytest.approx(np.mean(met))
    assert found.goodput_rps == pytest.approx(found.rate_rps * np.mean(met))
    tokens = found.rate_rps * np.mean([r.output_tokens for r in rows]) / 20
    assert found.output_tokens_per_s_per_gpu == pytest.approx(tokens)
    assert [pool.name for pool in found.pools] == ["prefill", "decode"]
    assert told[-1][1] == 2000
    for row in rows:
        parts = row.prefill_wait_s + row.prefill_s + row.transfer_s + row.decode_wait_s
        assert parts == pytest.approx(row.ttft_s)


def test_seeds_are_runs(plan):
    spec = plan(FLEET)
    one, same, other = (simulate(spec, requests=500, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one.ttft_s.mean.value != other.ttft_s.mean.value


@pytest.mark.parametrize("placement", ["PD", "EPD", "P-D", "EP-D", "E-PD", "E-P-D"])
def test_every_placement_runs(plan, placement):
    pools = "\n".join(
        f"  - {{name: {stages}, stages: {stages}, hardware: h100-sxm, instances: 2}}"
        for stages in placement.split("-")
    )
    images = ", images: {count: 1, width: 640, height: 480}" if "E" in placement else ""
    found = simulate(
        plan(
            f"placement: {placement}\nmodel: qwen2.5-vl-7b\n"
            f"workload: {{rate: 5 req/s, isl: 300, osl: 50{images}}}\npools:\n{pools}\n"
        ),
        requests=400,
    )
    assert found.complete
    assert found.attainment.value == 1
    assert 0.01 < found.ttft_s.mean.value < 0.5
    assert len(found.links) == placement.count("-")


AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.0,1000,10
2023-11-16 18:17:04.5,2000,1
2023-11-16 18:17:04.6,500,20
"""


def test_a_trace_is_replayed(plan, trace):
    rows = []
    found = simulate(plan(ONE), trace=trace(AZURE), rows=rows.append)
    assert (found.requests, found.warmup, found.seed, found.complete) == (3, 0, None, True)
    rows.sort(key=lambda row: row.request)
    assert [row.arrival_s for row in rows] == pytest.approx([0, 1.5, 1.6])
    assert [row.prompt_tokens for row in rows] == [1000, 2000, 500]
    assert [row.output_tokens for row in rows] == [10, 1, 20]
    assert math.isnan(rows[1].tpot_s)
    assert found.span_s == pytest.approx(1.6)
    first = simulate(plan(ONE), trace=trace(AZURE), requests=2)
    assert (first.requests, first.complete) == (2, True)
    slow = []
    simulate(plan(ONE), trace=trace(AZURE), trace_speed=0.5, rows=slow.append)
    assert sorted(row.arrival_s for row in slow) == pytest.approx([0, 3.0, 3.2])


def test_images_of_a_trace_take_their_size_from_the_workload(plan, trace):
    seen = trace("arrival_s,isl,osl,images\n0,100,5,2\n3,100,5,0\n")
    sized = ONE.replace("llama-3.1-8b", "qwen2.5-vl-7b").replace("PD", "EPD")
    pictured = sized.replace("tpot:", "images: {count: 1, width: 640, height: 480}, tpot:")
    rows = []
    simulate(plan(pictured), trace=seen, rows=rows.append)
    assert [row.images for row in rows] == [2, 0]
    assert rows[0].encode_s > 0
    assert rows[1].encode_s == 0
    assert rows[0].prompt_tokens > rows[1].prompt_tokens + 500
    with pytest.raises(SpecError, match="has images; the workload says nothing of their size"):
        simulate(plan(sized), trace=seen)


def test_requests_of_a_trace_go_to_the_nearest_class(plan, trace):
    classes = """
placement: PD
model: llama-3.1-8b
workload:
  rate: 2 req/s
  classes:
    - {name: chat, share: 0.5, isl: 200, osl: 100, ttft: 1 s}
    - {name: report, share: 0.5, isl: 8000, osl: 800, ttft: 1 ms}
pools: [{name: serve, stages: PD, hardware: h100-sxm, instances: 1}]
"""
    seen = trace("arrival_s,isl,osl\n0,150,80\n1,6000,900\n2,300,200\n")
    found = simulate(plan(classes), trace=seen)
    assert [(kind.name, kind.requests) for kind in found.classes] == [("chat", 2), ("report", 1)]
    assert [kind.attainment.value for kind in found.classes] == [1, 0]


def test_an_interrupt_gives_a_part(plan):
    def stop(counted, asked):
        raise KeyboardInterrupt

    found = simulate(plan(FLEET), requests=5000, progress=stop)
    assert not found.complete
    assert found.requests < 5000


@pytest.mark.slow
def test_a_hundred_thousand_requests_take_ten_seconds(plan):
    """Processor time, so that a busy machine does not fail it."""
    spec = plan(FLEET)
    began = time.process_time()
    found = simulate(spec, requests=90_000)
    assert found.requests + found.warmup >= 99_000
    assert time.process_time() - began < 10
