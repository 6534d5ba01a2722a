"""Queueing numbers that published systems state, or that follow from their formulas."""

import numpy as np
import pytest

from pdplan.queueing import (
    erlang_c,
    gigc_wait_allen_cunneen,
    largest_rate,
    md1_wait_tail,
    mg1_wait,
    pipelined_ttft_s,
    routed_wait,
)
from pdplan.queueing.one_by_one import Services, request_queue
from pdplan.queueing.sojourn import wait_sum_cdf

# DistServe (OSDI 2024), appendix and code: ms of a prefill pass, a + b n + c n^2.
OPT_13B = {1: (18.1025, 0.101912, 7.1223e-6), 2: (14.7430, 0.0685772, 2.44957e-6),
           4: (12.0623, 0.0380814, 5.22625e-7)}  # fmt: skip
OPT_66B = {2: (43.0588, 0.274229, 2.24780e-5), 4: (29.4416, 0.151352, 8.31745e-6),
           8: (25.4907, 0.106592, 3.39105e-6)}  # fmt: skip

# PD sizing by throughput (DeepSeek-V3.1, 8 x H200 a node): tokens/s and s.
PREFILL, INPUT, OUTPUT, OVERHEAD, DECODE = 28_300.0, 6144.0, 512.0, 0.1, 1700.0


def replicated(rate, service_s, count):
    return service_s + float(routed_wait("random", rate, service_s, 0.0, count).mean_s)


@pytest.mark.parametrize(
    ("load", "single", "inter", "intra", "replicas"),
    [(0.5, 1.5, 1.08333, 0.83333, 1.16667), (0.8, 3.0, 1.16667, 1.04762, 1.33333)],
)
def test_distserve_in_units_of_the_prefill_time(load, single, inter, intra, replicas):
    """Equations 1 to 3 at K = 1.5, and two replicas; published to five decimals."""
    speedup = 1.5
    assert replicated(load, 1.0, 1) == pytest.approx(single, rel=1e-5)
    assert float(pipelined_ttft_s(load, 1.0, 2)) == pytest.approx(inter, rel=1e-5)
    assert replicated(load, 1 / speedup, 1) == pytest.approx(intra, rel=1e-5)
    assert replicated(load, 1.0, 2) == pytest.approx(replicas, rel=1e-5)


@pytest.mark.parametrize("ways", [1, 2, 3, 4])
def test_distserve_pipelines_of_any_depth(ways):
    """D + R D^2 / (2 p (p - R D)), stable for R D < p only."""
    rate, service = 0.9, 0.8
    expected = service + rate * service**2 / (2 * ways * (ways - rate * service))
    assert float(pipelined_ttft_s(rate, service, ways)) == pytest.approx(expected)
    assert np.isfinite(pipelined_ttft_s(0.999 * ways, 1.0, ways))
    assert np.isinf(pipelined_ttft_s(ways, 1.0, ways))


@pytest.mark.parametrize("speedup", [1.2, 1.5, 1.9])
def test_distserve_tensor_parallelism_is_stable_up_to_its_speedup(speedup):
    """D / K + R D^2 / (2 K (K - R D))."""
    for rate in (0.3, 0.99 * speedup):
        expected = 1 / speedup + rate / (2 * speedup * (speedup - rate))
        assert replicated(rate, 1 / speedup, 1) == pytest.approx(expected)
    assert np.isinf(mg1_wait(1.001 * speedup, 1 / speedup, 0.0).mean_s)


def test_distserve_speedups_of_512_token_prompts():
    def times(model):
        return {tp: a + b * 512 + c * 512**2 for tp, (a, b, c) in model.items()}

    small, large = times(OPT_13B), times(OPT_66B)
    assert list(small.values()) == pytest.approx([72.15, 50.50, 31.70], abs=0.01)
    assert list(large.values()) == pytest.approx([189.36, 109.11, 80.95], abs=0.01)
    assert small[1] / small[2] == pytest.approx(1.429, abs=1e-3)
    assert small[1] / small[4] == pytest.approx(2.276, abs=1e-3)
    assert large[2] / large[4] == pytest.approx(1.735, abs=1e-3)
    assert large[4] / large[8] == pytest.approx(1.348, abs=1e-3)
    # At low rates the quicker pass wins, at high rates the pipeline, that takes more of them.
    speedup = small[1] / small[2]
    low, high = 0.1, 1.4
    tensor = [replicated(rate, 1 / speedup, 1) for rate in (low, high)]
    pipeline = [float(pipelined_ttft_s(rate, 1.0, 2)) for rate in (low, high)]
    assert tensor[0] < pipeline[0]
    assert tensor[1] > pipeline[1]


def prefill_tokens_per_s(ttft_s, **kind):
    limit = ttft_s - OVERHEAD
    return float(largest_rate(INPUT / PREFILL, limit, **kind)) * INPUT


def test_pd_sizing_by_throughput():
    effective = prefill_tokens_per_s(2.0)
    assert effective == pytest.approx(25_066, abs=1)
    total = 5e6 / 60
    nodes = (total * INPUT / (INPUT + OUTPUT) / effective,
             total * OUTPUT / (INPUT + OUTPUT) / DECODE)  # fmt: skip
    assert nodes == pytest.approx((3.07, 3.77), abs=0.005)
    assert nodes[0] / nodes[1] == pytest.approx(0.814, abs=0.001)


def test_pd_sizing_capacities():
    share_in, share_out = INPUT / (INPUT + OUTPUT), OUTPUT / (INPUT + OUTPUT)

    def millions_a_minute(prefill, decode):
        by_prefill = prefill * prefill_tokens_per_s(2.0) / share_in
        return min(by_prefill, decode * DECODE / share_out) * 60 / 1e6

    assert millions_a_minute(3, 100) == pytest.approx(4.888, abs=0.001)
    assert millions_a_minute(100, 4) == pytest.approx(5.304, abs=0.001)
    assert millions_a_minute(3, 4) == pytest.approx(4.888, abs=0.001)
    assert millions_a_minute(3, 4) / 7 > millions_a_minute(3, 3) / 6
    assert millions_a_minute(3, 4) >= 1.2 * millions_a_minute(3, 3)


@pytest.mark.parametrize(
    ("ttft_s", "tokens_per_s", "load"),
    [(0.5, 12_940, 0.457), (1, 21_473, 0.759), (2, 25_066, 0.886), (4, 26_725, 0.944),
     (8, 27_522, 0.973)],
)  # fmt: skip
def test_pd_sizing_sweep(ttft_s, tokens_per_s, load):
    found = prefill_tokens_per_s(ttft_s)
    assert found == pytest.approx(tokens_per_s, abs=1)
    assert found / PREFILL == pytest.approx(load, abs=5e-4)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_pd_sizing_by_percentile(level):
    """M/M/1: TP_max - L_in ln(1 / (1 - q)) / (TTFT - overhead); M/D/1 takes more."""
    found = prefill_tokens_per_s(2.0, level=level)
    assert found == pytest.approx(PREFILL - INPUT * np.log(1 / (1 - level)) / 1.9)
    service = INPUT / PREFILL
    rate = float(largest_rate(service, 1.9, queue="md1", level=level))
    assert float(md1_wait_tail(1.9 - service, rate, service)) == pytest.approx(1 - level)
    assert rate * INPUT > found


def test_largest_rate_limits():
    assert float(largest_rate(1.0, 0.9)) == 0
    assert float(largest_rate(1.0, 0.9, queue="md1")) == 0
    assert float(largest_rate(1.0, 0.9, queue="md1", level=0.9)) == 0
    mean = float(largest_rate(1.0, 3.0, queue="md1"))
    assert 1 + float(mg1_wait(mean, 1.0, 0.0).mean_s) == pytest.approx(3.0)


def test_central_and_local_prefill_queues():
    """On-demand forwarding is one queue, M/D/c; reported load is c queues M/D/1.

    Timeouts: P(W + T > limit) of the central queue is orders of magnitude below.
    """
    instances, service, load, limit = 8, 1.0, 0.8, 3.0
    rate = load * instances
    central = gigc_wait_allen_cunneen(rate, service, 0.0, instances)
    plain = erlang_c(instances, rate) / (instances / service - rate) / 2
    assert float(central.mean_s) == pytest.approx(float(plain), rel=0.15)  # Kimura's correction
    local = md1_wait_tail(limit - service, rate / instances, service)
    assert replicated(rate, service, instances) - service == pytest.approx(2.0)
    assert float(1 - central.cdf(limit - service)) < 0.02 * float(local)
    shaped = request_queue(rate, Services.of([service], [1.0]), instances, "central")
    chances = [float(w.probability) for w in (shaped.first, shaped.more)]
    tails = [float(w.tail_mean_s) for w in (shaped.first, shaped.more)]
    late = 1 - wait_sum_cdf(limit - service, chances, tails, (False, True))
    assert float(late) < 0.02 * float(local)
