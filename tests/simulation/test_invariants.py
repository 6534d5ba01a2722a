"""What holds in every fleet: nothing is lost, no cache overflows, jumping changes nothing."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import (
    PLACEMENTS,
    ROUTINGS,
    SCHEDULERS,
    check,
    fleet,
    go,
    made,
    poisson,
    pool,
    prompt,
    random_requests,
    step_law,
    traced,
)

from pdplan.simulation.model import FleetModel


@settings(max_examples=60, deadline=None)
@given(
    placement=st.sampled_from(PLACEMENTS),
    scheduler=st.sampled_from(SCHEDULERS),
    routing=st.sampled_from(ROUTINGS),
    first=st.sampled_from(["decode", "prefill"]),
    capacity=st.sampled_from([1e9, 4000.0, 2500.0]),
    instances=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
def test_nothing_is_lost(placement, scheduler, routing, first, capacity, instances, seed):
    model = made(
        placement, scheduler=scheduler, routing=routing, first=first, capacity=capacity,
        instances=instances,
    )  # fmt: skip
    requests = random_requests(seed, 60, encodes="E" in placement)
    rows, found, run = traced(model, *requests)
    check(rows, run, requests)
    assert found.complete
    assert all(0 <= each.utilization <= 1 + 1e-9 for each in found.pools)
    assert found.pools[-1].peak_cache_share <= 1 + 1e-9


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_jumping_over_steps_changes_nothing(placement, scheduler):
    requests = random_requests(7, 300, rate=12.0)
    model = made(placement, scheduler=scheduler, capacity=6000.0)
    jumped, fast, _ = traced(model, *requests)
    stepped, slow, _ = traced(model, *requests, skip=False)
    assert fast.events < slow.events
    for one, two in zip(jumped, stepped, strict=True):
        for name in one.__dataclass_fields__:
            assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-9, nan_ok=True), (
                name
            )
    for one, two in zip(fast.pools, slow.pools, strict=True):
        assert one.utilization == pytest.approx(two.utilization, rel=1e-9)
        assert one.mean_batch == pytest.approx(two.mean_batch, rel=1e-9)
        assert one.preemptions == two.preemptions
        assert one.peak_cache_share == pytest.approx(two.peak_cache_share, rel=1e-9)
    assert fast.itl_s.mean.value == pytest.approx(slow.itl_s.mean.value, rel=1e-9)
    assert fast.itl_s.p99.value == pytest.approx(slow.itl_s.p99.value, rel=6e-3)


def test_the_same_seed_gives_the_same_run():
    model = made("E-P-D", routing="random")
    source = poisson(10.0, [p for _, p, _ in random_requests(1, 30)], [5.5, 20.25])
    first, second, other = (go(model, source.draw(s), 2000, seed=s)[0] for s in (3, 3, 4))
    assert first == second
    assert first.ttft_s != other.ttft_s


@pytest.mark.parametrize("routing", ROUTINGS)
def test_every_routing_uses_every_instance(routing):
    """Senders and receivers get a third of the bytes each, within 15 %; from a central queue the
    first that is free takes the next pass."""
    model = made("P-D", routing=routing, instances=3)
    prompts = [prompt(n, kv_wire_s=1e-6 * n) for n in (1000.0, 100.0)]
    _, run = go(model, poisson(60.0, prompts, 20).draw(1), 4000)
    (link,) = run.lanes[0].links
    for moved in (link.sent_s, link.received_s)[routing == "central" :]:
        assert moved == pytest.approx([sum(moved) / 3] * 3, rel=0.15)


def test_routing_is_ordered_as_theory_says():
    """Central and least-loaded wait least, then round-robin, then random."""
    waits = {}
    for routing in ROUTINGS:
        model = fleet(
            pool("P", instances=3, base_s=0.0, chunk=1000.0, routing=routing), pool("D"),
            first_token_from="prefill",
        )  # fmt: skip
        source = poisson(2.4, [prompt(1000.0)], 1)
        waits[routing] = go(model, source.draw(1), 10_000)[0].ttft_s.mean.value - 1
    assert waits["central"] <= waits["least_loaded"] * 1.05
    assert waits["least_loaded"] <= waits["round_robin"] < waits["random"]


def test_lanes_serve_their_own_classes():
    """Two fleets side by side; requests of one never meet those of the other."""
    lane = made("P-D").lanes[0]
    slow = made("PD", instances=1).lanes[0]
    from pdplan.simulation.model import ClassModel

    classes = (ClassModel("chat", 0.5, 0.1), ClassModel("batch", None, None))
    model = FleetModel((lane, slow), classes, (0, 1))
    kinds = itertools.cycle([0, 1])
    requests = [(0.05 * i, prompt(200.0, request_class=next(kinds)), 10) for i in range(100)]
    rows, found, _ = traced(model, *requests)
    assert [each.name for each in found.pools] == ["P", "D", "PD"]
    assert [kind.requests for kind in found.classes] == [50, 50]
    assert {row.request_class for row in rows if row.transfer_s > 0} == {"chat"}
    assert found.classes[1].attainment.value == 1


def test_warmup_is_dropped_and_the_numbers_asked_for_are_counted():
    rows = []
    source = poisson(10.0, [prompt(100.0)], 20)
    found, run = go(made("P-D"), source.draw(1), 1000, rows=rows.append)
    assert (found.requests, found.warmup, len(rows)) == (1000, 100, 1000)
    assert {row.request for row in rows} == set(range(100, 1100))
    assert run.counter.arrived >= 1100


def test_a_long_residence_is_waited_for():
    """A thousand requests in flight: five mean residence times are about 5000 arrivals."""
    model = fleet(pool("P", token_s=1e-9), pool("D", max_batch=4000, step=step_law(most=4000)))
    found, _ = go(model, poisson(100.0, [prompt(10.0)], 1001).draw(1), 6000)
    assert 4000 < found.warmup <= 6000


def test_overload_still_ends():
    model = made("P-D", instances=1)
    found, _ = go(model, poisson(100.0, [prompt(1000.0)], 60).draw(1), 500)
    assert found.complete
    assert found.warmup == 500
    assert found.pools[1].utilization == pytest.approx(1, abs=1e-6)


def test_an_interrupt_gives_what_was_counted():
    def told(counted, asked):
        assert asked == 5000
        if counted > 1000:
            raise KeyboardInterrupt

    source = poisson(10.0, [prompt(100.0)], 20)
    found, _ = go(made("P-D"), source.draw(1), 5000, progress=told)
    assert not found.complete
    assert 1000 < found.requests < 5000
    assert found.ttft_s.mean.value > 0


def test_several_tokens_a_step():
    """Three drafted, each held with 0.7: 2.533 tokens a step; contexts grow by as many."""
    growth = sum(0.7**i for i in range(4))
    model = made("P-D", growth=growth, capacity=1e6)
    model = FleetModel(model.lanes, speculation=(3, 0.7))
    requests = [(i * 10.0, prompt(100.0), 2001) for i in range(40)]
    rows, found, _ = traced(model, *requests)
    step = 0.01 + 5e-4 + 1e-7 * (100 + 1000)
    assert found.tpot_s.mean.value == pytest.approx(step / growth, rel=0.01)
    assert all(row.output_tokens == 2001 for row in rows)
    assert found.itl_s.p50.value == pytest.approx(step, rel=0.01)
