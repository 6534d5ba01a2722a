"""Rounds of customers who are served in batches, against a simulation of every pass."""

import heapq

import numpy as np
import pytest

from pdplan.queueing.cycles import gated_cycles
from pdplan.queueing.processor_sharing import decode_states

V = 0.02
SIZES = np.arange(130)


def passes(rise):
    """Pass times v(1..130) that grow by 1 / rise of the first with each customer."""
    return V * (1 + SIZES / rise)


def simulate(count, pass_s, away, rounds=6000, seed=1):
    """Mean cycle and busy share of a closed system; away(random) draws a time away."""
    random = np.random.default_rng(seed)
    coming = [away(random) for _ in range(count)]
    heapq.heapify(coming)
    now = since = busy = 0.0
    served = counted = 0
    while served < rounds:
        now = max(now, coming[0])
        batch = 0
        while coming and coming[0] <= now:
            heapq.heappop(coming)
            batch += 1
        now += pass_s[batch - 1]
        served += batch
        if served > rounds // 5:
            counted += batch
            busy += pass_s[batch - 1]
        else:
            since = now
        for _ in range(batch):
            heapq.heappush(coming, now + away(random))
    return count * (now - since) / counted, busy / (now - since)


KINDS = {
    "exponential": (lambda mean: lambda random: random.exponential(mean), 0.07, 0.07),
    "gamma": (lambda mean: lambda random: random.gamma(4, mean / 4), 0.04, 0.09),
    "even": (lambda mean: lambda random: mean * random.uniform(0.8, 1.2), 0.05, 0.18),
}
"""Times away, and how far cycles may be below and above what is simulated."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("away", [0.5, 1, 2, 5, 12])
@pytest.mark.parametrize("rise", [4, 40])
def test_cycles_against_simulation(rise, away, kind):
    drawn, below, above = KINDS[kind]
    found = gated_cycles(passes(rise), away * V)
    for count in (1, 2, 8, 32, 128):
        cycle, busy = simulate(count, passes(rise), drawn(away * V))
        assert 1 - below < found.cycle_s[count - 1] / cycle < 1 + above
        if away >= 5:
            assert float(found.busy[count - 1]) == pytest.approx(busy, abs=0.07)


def test_customers_who_are_always_away_as_long_are_served_together():
    cycle, _ = simulate(32, passes(10), lambda _: 5 * V)
    assert cycle == pytest.approx(5 * V + passes(10)[31], rel=1e-9)
    found = gated_cycles(passes(10), 5 * V).cycle_s[31]
    assert 1.0 < cycle / found < 1.4


def test_limits():
    step = passes(10)
    assert gated_cycles(step, 0.1).cycle_s[0] == pytest.approx(0.1 + V, rel=1e-12)
    far = gated_cycles(step, 1e6)
    assert far.pass_s == pytest.approx(np.full(130, V), rel=1e-3)
    assert far.busy.max() < 1e-5
    near = gated_cycles(np.full(130, V), 1e-9)
    assert near.cycle_s[5:] == pytest.approx(np.full(125, 2 * V), rel=1e-6)
    crowd = gated_cycles(step, V)
    assert crowd.busy[-1] == pytest.approx(1.0)
    assert crowd.batch[-1] * crowd.cycle_s[-1] == pytest.approx(130 * crowd.pass_s[-1], rel=0.1)


def test_many_instances_at_once_are_the_same_as_each_alone():
    steps, away = np.stack([passes(4), passes(40)]), np.array([0.03, 0.2])
    both = gated_cycles(steps, away)
    for i in range(2):
        alone = gated_cycles(steps[i], away[i])
        assert both.cycle_s[i].tolist() == alone.cycle_s.tolist()
    assert (np.diff(both.cycle_s) >= 0).all()
    assert (np.diff(both.batch) >= 0).all()


def open_system(rate, mean_rounds, pass_s, away, seconds=4000.0, seed=2):
    """Mean time per round and mean number in service of Poisson arrivals, geometric rounds."""
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / rate, int(rate * seconds)))
    rounds = random.geometric(1 / mean_rounds, len(arrivals))
    coming = [(t, i, 0) for i, t in enumerate(arrivals)]
    heapq.heapify(coming)
    now, ended = 0.0, np.zeros(len(arrivals))
    while coming:
        now = max(now, coming[0][0])
        batch = []
        while coming and coming[0][0] <= now:
            batch.append(heapq.heappop(coming))
        now += pass_s[len(batch) - 1]
        for _, i, done in batch:
            if done + 1 == rounds[i]:
                ended[i] = now
            else:
                heapq.heappush(coming, (now + away(random), i, done + 1))
    return float((ended - arrivals).sum() / rounds.sum())


@pytest.mark.parametrize("load", [0.4, 0.7, 0.9])
def test_an_open_system_shares_the_flow_equivalent_server(load):
    """What is left at a stay's ends, a first round without time away, is Z / m short."""
    step, away, rounds = passes(10), 4 * V, 30
    cycles = gated_cycles(step, away).cycle_s
    cap = 60
    rate = load * cap / (rounds * cycles[cap - 1])
    states = decode_states(cycles, rate, rounds, 130)
    found = open_system(rate, rounds, step, lambda random: random.exponential(away), 800.0)
    assert float(states.tpot_mean_s) - away / rounds == pytest.approx(found, rel=0.05)
