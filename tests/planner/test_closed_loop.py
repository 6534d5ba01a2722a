"""Closed loops: N = throughput x latency, limits, and a discrete simulation of an engine's steps.

The simulation shares no formula with `planner.closed_loop`, only the times of passes. Overheads are
fixed here, since measurements move those of the bundled profile.
"""

import functools
import heapq
from collections import deque

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pdplan.planner import predict
from pdplan.specs.catalog import bundled_root
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.stages.llm import decode_pass, prefill_pass
from pdplan.stages.machine import Shape, machines
from pdplan.stages.memory import cache_bytes_per_sequence, device_memory

BASE = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "phase": "serve"}
STEADY = {"requests": "1e9"}
LADDER = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256)
LENGTHS = [(100, 500), (1000, 200), (8000, 500), (20_000, 100)]
MODEL = load_model("llama-3.1-8b")
CHUNK = 8192
OVERHEAD = {
    "prefill_layer": "25 us", "decode_layer": "20 us", "step": "500 us", "sequence": "28 us",
    "request": "15 ms", "serial": "0 s", "clump": 1.5,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def engine(tmp_path_factory):
    """The bundled profile with overheads of our own, for every row of this file."""
    profile = yaml.safe_load((bundled_root() / "engines" / "vllm.yaml").read_text("utf-8"))
    profile["defaults"] |= {"chunk_tokens": CHUNK, "max_batch": 256}
    hopper = profile["generations"]["hopper"]
    hopper |= {"overhead": OVERHEAD, "intervals": {}}
    hopper["memory"]["cache_share"] = 1.0
    path = tmp_path_factory.mktemp("engine") / "fixed.yaml"
    path.write_text(yaml.safe_dump(profile, sort_keys=False), encoding="utf-8")
    BASE["engine"] = str(path)


@functools.cache
def machine():
    hardware = {"h100-sxm": load_hardware("h100-sxm")}
    return machines([Shape("h100-sxm")], hardware, load_engine(BASE["engine"]))


def loop(isl, osl, concurrency, **more):
    row = BASE | {"isl": str(isl), "osl": str(osl), "concurrency": str(concurrency)} | more
    (found,) = predict([row])
    assert found["error"] is None
    return found


@given(
    st.integers(1, 30_000), st.integers(1, 2000), st.integers(1, 600),
    st.sampled_from([{}, STEADY, {"requests": "1"}]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_littles_law_and_order_of_percentiles(isl, osl, concurrency, run):
    found = loop(isl, osl, concurrency, **run)
    latency = found["ttft_mean_s"] + (osl - 1) * found["tpot_mean_s"]
    assert found["latency_s"] == pytest.approx(latency, rel=1e-9)
    assert found["throughput_rps"] * latency == pytest.approx(concurrency, rel=1e-9)
    for name in ("ttft", "tpot"):
        p50, p90, p99 = (found[f"{name}_{level}_s"] for level in ("p50", "p90", "p99"))
        assert 0 < p50 <= p90 <= p99


@pytest.mark.parametrize(("isl", "osl"), LENGTHS)
@pytest.mark.parametrize("run", [{}, STEADY])
def test_more_in_flight_is_slower_for_each(isl, osl, run):
    found = [loop(isl, osl, n, **run) for n in LADDER]
    for name in ("ttft_mean_s", "tpot_mean_s", "latency_s"):
        assert (np.diff([row[name] for row in found]) >= 0).all(), name
    # Throughput rises until all places are taken; that a prompt is not delayed by itself counts
    # up to 1 / N too much below, and bursts grow with N: 2 % of it.
    assert (np.diff(np.log([row["throughput_rps"] for row in found])) > -0.02).all()


@pytest.mark.parametrize("concurrency", [8, 16, 32])
def test_nobody_waits_for_a_place_that_is_free(concurrency):
    """Prompts of a chunk, all in memory: TTFT is prefill, a step and a few others' prompts."""
    found = loop(8000, 500, concurrency, **STEADY)
    (alone,) = predict([BASE | {"phase": "prefill", "isl": "8000"}])
    assert found["fits"]
    assert found["ttft_mean_s"] < 3 * alone["latency_s"]


@pytest.mark.parametrize(("isl", "osl"), LENGTHS)
def test_throughput_saturates(isl, osl):
    """Beyond what fits, whoever is added only waits: same TPOT, same rate."""
    many, more = (loop(isl, osl, n, **STEADY) for n in (5000, 20_000))
    assert more["throughput_rps"] == pytest.approx(many["throughput_rps"], rel=0.01)
    assert more["tpot_mean_s"] == pytest.approx(many["tpot_mean_s"], rel=0.01)
    assert more["ttft_mean_s"] > 3 * many["ttft_mean_s"]


def test_a_long_run_has_no_opening_burst():
    lengths = [loop(1000, 200, 64, requests=str(n)) for n in (64, 640, 6400, 64_000, 1e9)]
    ttft = [row["ttft_mean_s"] for row in lengths]
    assert (np.diff(ttft) < 0).all()
    assert ttft[1] == loop(1000, 200, 64)["ttft_mean_s"]  # ten requests for each in flight
    assert ttft[-1] == pytest.approx(ttft[-2], rel=0.01)
    # The first requests hold the mean of a run: (1 - s) steady + s burst.
    share = (ttft[1] - ttft[-1]) / (ttft[0] - ttft[-1])
    assert share == pytest.approx(0.1, rel=1e-6)
    assert {row["tpot_mean_s"] for row in lengths} == {lengths[0]["tpot_mean_s"]}


def test_one_in_flight_meets_nobody():
    found = loop(1000, 200, 1)
    names = ("ttft_mean_s", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s")
    alone = predict([BASE | {"phase": "prefill", "isl": "1000"}])[0]["latency_s"]
    assert [found[name] for name in names] == pytest.approx([alone] * 4, rel=1e-6)
    step = predict([BASE | {"phase": "decode", "context": "1100"}])[0]["latency_s"]
    assert found["tpot_mean_s"] == pytest.approx(step, rel=1e-9)


def test_a_row_does_not_depend_on_its_neighbours():
    row = BASE | {"isl": "1000", "osl": "200", "concurrency": "100"}
    (alone,) = predict([row])
    beside = predict([row, row | {"concurrency": "2000"}])[0]
    for name in ("ttft_mean_s", "tpot_mean_s", "throughput_rps"):
        assert beside[name] == pytest.approx(alone[name], rel=1e-9), name


class Passes:
    """Times of steps that decode some requests and prefill parts of prompts."""

    def __init__(self, isl, osl, most):
        m = machine()
        running = np.arange(1.0, most + 1)
        decode = decode_pass(MODEL, m, sequences=running, context_tokens=isl + osl / 2)
        self.decode_s = [0.0, *decode.total_s[0].tolist()]
        self.empty_s = prefill_pass(MODEL, m, new_tokens=1.0).total_s.item()
        lost = MODEL.layers * (m.prefill_layer_s - m.decode_layer_s).item()
        self.graph_lost_s = max(lost, 0.0)
        self.known = {}

    def step_s(self, decoding, parts):
        """`parts` are (new, cached) tokens; on a decode step a prefill adds what is not shared."""
        if not parts:
            return self.decode_s[decoding]
        if parts not in self.known:
            new, cached = (float(np.mean(sizes)) for sizes in zip(*parts, strict=True))
            found = prefill_pass(MODEL, machine(), new_tokens=new, prefix_tokens=cached,
                                 sequences=float(len(parts)))  # fmt: skip
            self.known[parts] = found.total_s.item()
        if not decoding:
            return self.known[parts]
        return self.decode_s[decoding] + self.known[parts] - self.empty_s + self.graph_lost_s


def simulate(isl, osl, concurrency, requests, spread, skip=0):
    """Mean TTFT, TPOT and rate of a run on an engine with chunked prefill, by its steps.

    A step decodes one token of all that run and fills its token budget with waiting prompts, first
    come, first served, whole ones side by side or one in chunks. Output lengths spread evenly by
    +- `spread`. The first `skip` requests to end are left out.
    """
    random = np.random.default_rng(1)
    passes, host_s = Passes(isl, osl, concurrency), machine().request_s.item()
    length = np.round(osl * random.uniform(1 - spread, 1 + spread, requests)).astype(int)
    sent_s, first_s, end_s = (np.zeros(requests) for _ in range(3))
    coming, waiting, running = [], deque(), {}
    left = [isl] * requests
    now, sent, ended = 0.0, 0, []

    def send():
        nonlocal sent
        if sent < requests:
            sent_s[sent] = now
            heapq.heappush(coming, (now + host_s, sent))
            sent += 1

    for _ in range(concurrency):
        send()
    while len(ended) < requests:
        while coming and coming[0][0] <= now:
            waiting.append(heapq.heappop(coming)[1])
        if not waiting and not running:
            now = coming[0][0]
            continue
        budget, parts, read = CHUNK - len(running), [], []
        while waiting and (left[waiting[0]] <= budget or not parts):
            part = min(left[waiting[0]], budget)
            parts.append((part, isl - left[waiting[0]]))
            left[waiting[0]] -= part
            budget -= part
            if left[waiting[0]]:
                break
            read.append(waiting.popleft())
        now += passes.step_s(len(running), tuple(parts))
        for i in [i for i in running if running[i] == 1]:
            end_s[i] = now
            ended.append(i)
            del running[i]
            send()
        running = {i: n - 1 for i, n in running.items()}
        for i in read:
            first_s[i] = now
            running[i] = length[i] - 1
    counted = np.array(ended[skip:])
    span = now - (end_s[ended[skip - 1]] if skip else 0.0)
    ttft, tpot = first_s - sent_s, (end_s - first_s) / (length - 1)
    return ttft[counted].mean(), tpot[counted].mean(), len(counted) / span


CASES = [
    (1000, 200, 1), (1000, 200, 4), (1000, 200, 16), (1000, 200, 64), (1000, 1000, 16),
    (1000, 1000, 64), (100, 500, 64), (4000, 200, 16), (8000, 500, 16), (8000, 500, 32),
]  # fmt: skip


@pytest.mark.parametrize(("isl", "osl", "concurrency"), CASES)
def test_steady_state_against_simulation(isl, osl, concurrency):
    """Outputs within +- 10 % of their mean, as benchmarks draw them.

    TPOT within 3 % and throughput within 2 %. TTFT, which is less than a tenth of a request here,
    up to 70 % long: most where prompts of a chunk space each other out and do not come as Poisson.
    """
    found = loop(isl, osl, concurrency, **STEADY)
    n = 60 * concurrency
    ttft, tpot, rate = simulate(isl, osl, concurrency, n, 0.1, skip=n // 3)
    assert found["tpot_mean_s"] == pytest.approx(tpot, rel=0.03)
    assert found["throughput_rps"] == pytest.approx(rate, rel=0.02)
    assert 0.95 < found["ttft_mean_s"] / ttft < 1.7


@pytest.mark.parametrize(("isl", "osl", "concurrency"), CASES)
def test_run_against_simulation(isl, osl, concurrency):
    """Ten requests for each in flight, the first all at once: TTFT 20 % short to 30 % long."""
    found = loop(isl, osl, concurrency)
    ttft, tpot, rate = simulate(isl, osl, concurrency, 10 * concurrency, 0.1)
    assert found["tpot_mean_s"] == pytest.approx(tpot, rel=0.03)
    assert found["throughput_rps"] == pytest.approx(rate, rel=0.03)
    assert 0.8 < found["ttft_mean_s"] / ttft < 1.3


@pytest.mark.parametrize(("isl", "osl", "concurrency"), CASES)
def test_equal_lengths_march_in_step(isl, osl, concurrency):
    """Known gap: with outputs of one length the opening burst never dissolves.

    Requests that start together end together for ever, so that TTFT stays near the burst's, up to
    8 times what is predicted for a steady loop. TPOT within 11 %, throughput within 5 %.
    """
    found = loop(isl, osl, concurrency, **STEADY)
    n = 30 * concurrency
    ttft, tpot, rate = simulate(isl, osl, concurrency, n, 0.0, skip=n // 3)
    assert found["tpot_mean_s"] == pytest.approx(tpot, rel=0.11)
    assert found["throughput_rps"] == pytest.approx(rate, rel=0.05)
    assert 1 / 8 < found["ttft_mean_s"] / ttft < 1.1


def test_long_prompts_in_chunks_against_simulation():
    """Prompts of three chunks: TPOT within 6 %, throughput within 2 %, TTFT up to 60 % long."""
    found = loop(20_000, 500, 8, **STEADY)
    ttft, tpot, rate = simulate(20_000, 500, 8, 480, 0.1, skip=160)
    assert found["tpot_mean_s"] == pytest.approx(tpot, rel=0.06)
    assert found["throughput_rps"] == pytest.approx(rate, rel=0.02)
    assert 0.95 < found["ttft_mean_s"] / ttft < 1.6


def static(batch, **more):
    row = BASE | {"phase": "static", "isl": "4000", "osl": "200", "batch": str(batch)} | more
    (found,) = predict([row])
    assert found["error"] is None
    return found


def places():
    """Sequences whose KV fits beside weights and workspace; the reserve is not held back."""
    m = machine()
    memory = device_memory(MODEL, m, pass_tokens=CHUNK)
    one = cache_bytes_per_sequence(MODEL, m, 4200)
    return int((memory.limit - memory.weights - memory.activations).item() // one.item())


def test_a_batch_that_does_not_fit_takes_waves():
    fit = places()
    whole = static(fit)["latency_s"]
    assert static(2 * fit)["latency_s"] == pytest.approx(2 * whole, rel=1e-9)
    assert static(3 * fit)["latency_s"] == pytest.approx(3 * whole, rel=1e-9)
    rest = fit // 3
    together = whole + static(rest)["latency_s"]
    assert static(fit + rest)["latency_s"] == pytest.approx(together, rel=1e-9)
    one = static(1)["latency_s"]  # one more has a wave of its own
    assert static(fit + 1)["latency_s"] == pytest.approx(whole + one, rel=1e-9)
    assert not static(2 * fit)["fits"]


def test_a_shorter_context_needs_no_waves():
    fit = places()
    short = [static(n, isl="400", osl="20")["latency_s"] for n in (fit, 2 * fit)]
    assert short[1] < 2 * short[0]
    assert static(2 * fit, isl="400", osl="20")["fits"]
