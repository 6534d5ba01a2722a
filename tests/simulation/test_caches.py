"""Caches that run full: who loses what he has there, and what it costs."""

from dataclasses import replace

import pytest
from small_fleets import SCHEDULERS, check, fleet, laws, made, pool, prompt, step_law, traced

from pdplan.errors import UnfitError
from pdplan.simulation.model import FleetModel, LaneModel, LinkModel, PoolModel
from pdplan.stages.iteration import PiecewiseLinear


@pytest.mark.parametrize("placement", ["PD", "P-D"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_full_cache_preempts_and_everything_still_finishes(placement, scheduler):
    """Ten requests of 100 + 100 tokens in a cache of 600: five start, they cannot all end."""
    model = made(placement, scheduler=scheduler, capacity=600.0, instances=1)
    requests = [(0.001 * i, prompt(100.0, ride_s=0.002), 100) for i in range(10)]
    rows, found, run = traced(model, *requests)
    check(rows, run, requests)
    assert found.pools[-1].preemptions > 0
    assert sum(row.preemptions for row in rows) == found.pools[-1].preemptions
    assert 0.95 < found.pools[-1].peak_cache_share <= 1
    assert rows[0].preemptions == 0


def test_no_preemption_where_all_fits():
    model = made("P-D", capacity=2000.0, instances=1, most=10)
    rows, found, _ = traced(model, *[(0.001 * i, prompt(100.0), 100) for i in range(10)])
    assert found.pools[-1].preemptions == 0
    assert max(row.decode_wait_s for row in rows) < 0.05


def test_a_preempted_request_computes_its_prompt_and_tokens_again():
    """Two requests of 10 + 40 tokens in a cache of 64: the second loses what it has there."""
    model = fleet(
        pool("P", token_s=1e-9), pool("D", capacity=64.0, base_s=1.0, token_s=0.1, chunk=500.0)
    )
    rows, found, _ = traced(model, *((0.0, prompt(10.0), 41) for _ in range(2)))
    # The second joins a step later. Then 32 + 31 tokens leave no room; the first goes on to its
    # end at 0.4 s, 31 tokens are computed again in 1 + 3.1 s for one token; 18 steps are left.
    assert [row.preemptions for row in rows] == [0, 1]
    assert rows[0].e2e_s == pytest.approx(0.4, abs=1e-6)
    assert rows[1].e2e_s == pytest.approx(0.4 + 4.1 + 0.18, abs=1e-6)
    assert found.itl_s.p90.value == pytest.approx(0.01, rel=3e-3)
    assert found.itl_s.p99.value == pytest.approx(0.4 - 0.22 + 4.1, rel=3e-3)


def test_windowed_caches_stop_growing():
    """A cache of 100 tokens at most: of fourteen that start, twelve fit in 1200 to their end."""
    windowed = replace(
        laws(step=step_law(0.01), capacity=1200.0, token_s=1e-6),
        cache=PiecewiseLinear.through([0.0, 100.0, 101.0], [0.0, 100.0, 100.0]),
    )
    decode = PoolModel("D", "D", 1, windowed, 16)
    model = FleetModel((LaneModel((pool("P", token_s=1e-6), decode), (LinkModel(),)),))
    requests = [(0.001 * i, prompt(80.0), 300) for i in range(14)]
    rows, found, run = traced(model, *requests)
    check(rows, run, requests)
    assert [row.preemptions for row in rows] == [0] * 12 + [1] * 2
    assert found.pools[1].peak_cache_share == pytest.approx(1.0)


def test_an_answer_is_cut_to_the_cache_and_a_prompt_is_refused():
    model = made("P-D", capacity=500.0)
    rows, _, _ = traced(model, (0.0, prompt(400.0), 1000))
    assert rows[0].output_tokens == 99
    with pytest.raises(UnfitError, match="pool 'D': a prompt of 600 tokens exceeds the cache"):
        traced(model, (0.0, prompt(600.0), 5))
