"""Few requests whose times are worked out by hand."""

from math import log

import pytest
from small_fleets import fleet, pool, prompt, step_law, traced

from pdplan.simulation.gaps import WIDTH
from pdplan.simulation.model import LinkModel

KV = {"kv_wire_s": 0.5}


def test_prompts_that_wait_share_the_next_pass():
    """Passes of 0.1 s + 1 ms a token; budget 1000: 400 + 500 together, then 600."""
    model = fleet(pool("P", base_s=0.1), pool("D"), first_token_from="prefill")
    sizes = [prompt(float(n)) for n in (200, 400, 500, 600)]
    rows, _, _ = traced(model, *((0.01 * i, p, 1) for i, p in enumerate(sizes)))
    ends = [row.arrival_s + row.ttft_s for row in rows]
    # 0.3: 200; then 400 + 500 + the first 100 of 600 in one pass of 1.1 s; then 500 left.
    assert ends == pytest.approx([0.3, 1.4, 1.4, 2.0])
    assert [row.prefill_wait_s for row in rows] == pytest.approx([0, 0.29, 0.28, 0.27])


def test_a_long_prompt_is_cut_and_goes_on_first():
    model = fleet(pool("P", base_s=0.1), pool("D"), first_token_from="prefill")
    rows, _, _ = traced(model, (0.0, prompt(2500.0), 1), (0.2, prompt(300.0), 1))
    assert [row.arrival_s + row.ttft_s for row in rows] == pytest.approx([3.1, 3.1])


def test_a_pipeline_starts_passes_before_others_end():
    model = fleet(pool("P", base_s=0.2, pipeline=2), pool("D"), first_token_from="prefill")
    rows, _, _ = traced(model, *((0.0, prompt(800.0), 1) for _ in range(3)))
    # Alone 1 s. A pass of 800 + 200 tokens starts 0.5 s later and lasts 1.2 s, one of the last 600
    # starts 0.6 s after that and lasts 0.8 s.
    assert [row.ttft_s for row in rows] == pytest.approx([1.0, 0.5 + 1.2, 0.5 + 0.6 + 0.8])


def test_decode_joins_at_step_ends():
    """The first step of a lone request lasts 10 ms; the second joins at its end."""
    model = fleet(pool("P", token_s=1e-9, base_s=0.0), pool("D", step=step_law(0.01, 0.002)))
    rows, _, run = traced(model, (0.0, prompt(1.0), 4), (0.013, prompt(1.0), 3))
    # Steps of 12 ms alone, 14 ms together: ends 0.012, 0.024 | joined 0.038 | 0.052
    assert rows[0].ttft_s == pytest.approx(0.0, abs=1e-8)
    assert rows[0].e2e_s == pytest.approx(0.012 + 0.012 + 0.014)
    assert rows[1].ttft_s == pytest.approx(0.024 - 0.013)
    assert rows[1].e2e_s == pytest.approx(0.024 + 0.014 + 0.012 - 0.013)
    assert rows[1].decode_wait_s == pytest.approx(0.024 - 0.013)
    assert sum(n for n, _ in run.gaps.sums) == 5


def test_first_token_may_come_from_prefill():
    model = fleet(
        pool("P"), pool("D"), links=[LinkModel(latency_s=0.25)], first_token_from="prefill"
    )
    rows, _, run = traced(model, (0.0, prompt(100.0, **KV), 3))
    assert rows[0].ttft_s == pytest.approx(0.1)
    assert rows[0].e2e_s == pytest.approx(0.1 + 0.5 + 0.25 + 0.02)
    assert rows[0].tpot_s == pytest.approx((0.75 + 0.02) / 2)
    assert run.gaps.sums[0] == pytest.approx((2, 0.77))


def test_each_end_carries_one_transfer_at_a_time():
    """Two senders, one receiver: the second transfer waits for the receiver."""
    model = fleet(pool("P", instances=2), pool("D"))
    rows, found, _ = traced(model, *((0.0, prompt(100.0, **KV), 1) for _ in range(2)))
    assert [row.ttft_s for row in rows] == pytest.approx([0.6, 1.1])
    assert found.links[0].mean_wait_s == pytest.approx(0.25)
    two = fleet(pool("P", instances=2), pool("D", instances=2))
    rows, _, _ = traced(two, *((0.0, prompt(100.0, **KV), 1) for _ in range(2)))
    assert [row.ttft_s for row in rows] == pytest.approx([0.6, 0.6])


def test_layers_are_sent_while_later_ones_compute():
    """max(T / L, T - C (L - 1) / L) is left after the pass: 0.5 - 0.1 x 3 / 4."""
    links = [LinkModel(layers=4, layerwise=True)]
    model = fleet(pool("P"), pool("D"), links=links)
    rows, _, _ = traced(model, (0.0, prompt(100.0, kv_wire_s=0.5), 1))
    assert rows[0].ttft_s == pytest.approx(0.1 + 0.5 - 0.1 * 3 / 4)
    rows, _, _ = traced(model, (0.0, prompt(1000.0, kv_wire_s=0.5), 1))
    assert rows[0].ttft_s == pytest.approx(1.0 + 0.5 / 4)


def colocated(scheduler, stages="PD", **more):
    return fleet(pool(stages, scheduler=scheduler, base_s=0.1, token_s=1e-3, **more))


def test_chunks_ride_on_decode_steps():
    """Alone: a pass of 0.1 s + tokens. Then steps of 10 ms, plus 0.6 s x share of the prompt."""
    model = colocated("chunked", step=step_law(0.01), chunk=500.0)
    first, second = prompt(100.0, ride_s=9.0), prompt(600.0, ride_s=0.6)
    rows, _, run = traced(model, (0.0, first, 101), (0.205, second, 2))
    assert rows[0].ttft_s == pytest.approx(0.2)
    # The step that runs ends at 0.21; 499 of 600 tokens ride on the next, 101 on the one after.
    assert rows[1].prefill_wait_s == pytest.approx(0.005)
    assert rows[1].ttft_s == pytest.approx(0.005 + 2 * 0.01 + 0.6)
    assert rows[1].e2e_s == pytest.approx(0.005 + 3 * 0.01 + 0.6)
    assert rows[0].e2e_s == pytest.approx(0.2 + 100 * 0.01 + 0.6)
    assert sum(n for n, _ in run.gaps.sums) == 101
    assert sum(t for _, t in run.gaps.sums) == pytest.approx(1.6 + 0.01)


def test_prefill_first_stops_decoding():
    model = colocated("prefill_first", step=step_law(0.01), chunk=500.0)
    first, second = prompt(100.0, ride_s=9.0), prompt(600.0, ride_s=9.0)
    rows, found, run = traced(model, (0.0, first, 101), (0.205, second, 2))
    # Passes over 500 and 100 tokens of 0.6 s and 0.2 s, while the first request waits.
    assert rows[1].ttft_s == pytest.approx(0.005 + 0.8)
    assert rows[0].e2e_s == pytest.approx(0.2 + 100 * 0.01 + 0.8)
    assert rows[1].e2e_s == pytest.approx(0.005 + 0.8 + 0.01)
    assert found.itl_s.p99.value == pytest.approx(0.01, rel=3e-3)
    worst = max(max(batch) for batch in run.gaps.batches)
    assert worst == round(log(0.81) / WIDTH)


def test_layers_of_a_prompt_are_spread_over_steps():
    model = colocated("layered", step=step_law(0.01), chunk=500.0)
    first, second = prompt(100.0, ride_s=9.0), prompt(1200.0, ride_s=9.0, layered_s=0.3)
    rows, _, _ = traced(model, (0.0, first, 101), (0.205, second, 2), (0.205, first, 1))
    # ceil(1200 / 500) = 3 steps of 10 ms + 0.1 s; one prompt at a time.
    assert rows[1].ttft_s == pytest.approx(0.005 + 3 * 0.11)
    assert rows[2].prefill_wait_s == pytest.approx(0.005 + 3 * 0.11)


def test_media_are_encoded_before_the_step_that_starts_the_prompt():
    model = colocated("chunked", stages="EPD", step=step_law(0.01))
    seen = prompt(100.0, ride_s=0.05, media=True, encode_s=0.7, host_s=0.4)
    rows, _, _ = traced(model, (0.0, prompt(100.0), 301), (0.0, seen, 2))
    # Host work until 0.4; the step ends there; then 0.7 + 0.01 + 0.05.
    assert rows[1].ttft_s == pytest.approx(0.4 + 0.76, abs=1e-6)
    assert rows[1].encode_s == pytest.approx(1.1)
    assert rows[0].e2e_s == pytest.approx(0.2 + 300 * 0.01 + 0.75)


def test_encoding_apart_is_one_request_at_a_time():
    model = fleet(pool("E"), pool("P"), pool("D"), links=[LinkModel(0.125), LinkModel()])
    seen = prompt(100.0, media=True, encode_s=0.5, embedding_wire_s=0.25, host_s=0.0625)
    rows, found, _ = traced(model, (0.0, seen, 1), (0.0, seen, 1), (0.0, prompt(50.0), 1))
    assert rows[2].ttft_s == pytest.approx(0.05)
    first = 0.0625 + 0.5 + 0.25 + 0.125 + 0.1
    assert rows[0].ttft_s == pytest.approx(first)
    assert rows[1].ttft_s == pytest.approx(first + 0.5)
    assert rows[1].encode_wait_s == pytest.approx(0.5)
    assert rows[1].encode_s == pytest.approx(0.5625)
    assert rows[1].transfer_s == pytest.approx(0.375)
    assert found.pools[0].utilization == pytest.approx(1.0 / (first + 0.5))


def test_instances_may_share_the_media_of_a_request():
    model = fleet(pool("E", instances=4, parallel_encode=2), pool("P"), pool("D"))
    seen = prompt(100.0, media=True, encode_s=0.7, encode_fixed_s=0.1, pieces=3)
    rows, _, _ = traced(model, *((0.0, seen, 1) for _ in range(3)))
    # Two groups of two; three images take two rounds of 0.2 s after 0.1 s that both take.
    assert [row.ttft_s for row in rows] == pytest.approx([0.6, 0.7, 1.1])


def test_encoding_in_the_prefill_pool_runs_before_the_pass():
    model = fleet(pool("EP"), pool("D"), first_token_from="prefill")
    seen = prompt(100.0, media=True, encode_s=0.5)
    rows, _, _ = traced(model, (0.0, prompt(100.0), 1), *((0.01, seen, 1) for _ in range(2)))
    assert [row.arrival_s + row.ttft_s for row in rows] == pytest.approx([0.1, 1.3, 1.3])


def test_cached_tokens_cost_no_prefill_but_room():
    model = fleet(pool("P"), pool("D", capacity=1000.0), first_token_from="prefill")
    kept = prompt(600.0, new=100.0)
    rows, found, _ = traced(model, (0.0, kept, 100), (0.0, kept, 100))
    assert rows[0].ttft_s == pytest.approx(0.1)
    assert rows[0].cached_tokens == 500
    assert rows[1].e2e_s == pytest.approx(0.1 + 2 * 99 * 0.01)
    assert 0.69 < found.pools[1].peak_cache_share < 0.71


def test_a_trace_is_replayed_as_it_is():
    model = fleet(pool("P"), pool("D"))
    rows, found, _ = traced(model, (0.5, prompt(100.0), 3), (2.0, prompt(300.0), 1))
    assert [row.arrival_s for row in rows] == [0.5, 2.0]
    assert [row.ttft_s for row in rows] == pytest.approx([0.1, 0.3])
    assert [row.output_tokens for row in rows] == [3, 1]
    assert (found.requests, found.warmup, found.complete) == (2, 0, True)
    assert found.span_s == 1.5
