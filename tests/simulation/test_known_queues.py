"""Against queues whose waits are known exactly; tolerances are the run's own error."""

from math import exp, factorial

import numpy as np
import pytest
from small_fleets import fleet, go, poisson, pool, prompt, step_law


def fcfs(**more):
    """A prefill pool that serves prompts one by one in small chunks: no prompt waits for another
    to share its pass."""
    return pool("P", base_s=0.0, token_s=1e-3, **more)


def served(model, arrivals, requests, seed=1):
    rows = []
    found, _ = go(model, arrivals.draw(seed), requests, seed=seed, rows=rows.append)
    return found, rows


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_equal_prompts_wait_as_in_m_d_1(load):
    """Pollaczek-Khinchine: load s / (2 (1 - load))."""
    model = fleet(fcfs(chunk=1000.0), pool("D"), first_token_from="prefill")
    found, rows = served(model, poisson(load, [prompt()], 1), 40_000)
    wait = load / (2 * (1 - load))
    assert np.mean([row.prefill_wait_s for row in rows]) == pytest.approx(wait, rel=0.06)
    assert found.ttft_s.mean.holds(wait + 1)
    assert found.pools[0].utilization == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (3, 0.8)])
def test_a_central_queue_of_exponential_prompts_is_m_m_c(servers, load):
    """Erlang C; exponential lengths by 400 quantiles, prompts in chunks of 2 % of the mean."""
    levels = (np.arange(400) + 0.5) / 400
    lengths = -np.log(1 - levels)
    lengths *= 1000 / lengths.mean()
    model = fleet(
        fcfs(chunk=20.0, instances=servers, routing="central"), pool("D"),
        first_token_from="prefill",
    )  # fmt: skip
    arrivals = poisson(load * servers, [prompt(float(n)) for n in lengths], 1)
    _, rows = served(model, arrivals, 12_000, seed=3)
    offered = load * servers
    last = offered**servers / factorial(servers) / (1 - load)
    chance = last / (sum(offered**k / factorial(k) for k in range(servers)) + last)
    wait = chance / (servers * (1 - load))
    assert np.mean([row.prefill_wait_s for row in rows]) == pytest.approx(wait, rel=0.1)


def test_constant_steps_are_m_g_infinity():
    """Every request decodes as long as its answer asks, whoever else runs; the number running is
    Poisson with mean rate x time, and a newcomer waits for half a step."""
    rate, osl = 8.0, np.array([40.0, 160.0])
    model = fleet(pool("P", token_s=1e-9), pool("D", max_batch=200, step=step_law(most=200)))
    rows = []
    found, _ = go(model, poisson(rate, [prompt()], osl).draw(2), 20_000, rows=rows.append)
    assert found.tpot_s.p50.value == pytest.approx(0.01, rel=1e-9)
    assert found.tpot_s.p99.value == pytest.approx(0.01, rel=1e-9)
    assert found.itl_s.p99.value == pytest.approx(0.01, rel=3e-3)
    mean = rate * float((osl - 1).mean()) * 0.01
    decode = found.pools[1]
    assert decode.mean_batch * decode.utilization == pytest.approx(mean, rel=0.03)
    assert decode.utilization == pytest.approx(1 - exp(-mean), abs=0.003)
    waits = np.array([row.decode_wait_s for row in rows])
    assert waits.mean() == pytest.approx(0.005 * (1 - exp(-mean)), rel=0.03)
    assert waits.max() <= 0.01 + 1e-9


def test_two_accounts_of_the_same_batch_agree():
    """Little's law: requests running on average = rate x time in decode, for steps that slow."""
    step = step_law(base_s=0.01, request_s=5e-4, token_s=1e-7)
    model = fleet(pool("P", token_s=1e-5), pool("D", step=step))
    rows = []
    arrivals = poisson(10.0, [prompt(500.0), prompt(1500.0)], [20, 100, 180])
    found, _ = go(model, arrivals.draw(1), 20_000, rows=rows.append)
    held = np.mean([row.e2e_s - row.ttft_s for row in rows])
    running = found.pools[1].mean_batch * found.pools[1].utilization
    assert running == pytest.approx(found.rate_rps * held, rel=0.01)


def test_bursts_keep_the_mean_and_raise_the_dispersion():
    """Index of dispersion for counts in long windows against 2 tau Var r / lambda + 1."""
    from pdplan.simulation.arrivals import TwoRates
    from pdplan.specs.arrivals import Bursts

    bursts = Bursts(factor=3.0, share=0.2, length_s=2.0)
    rates = TwoRates(bursts.factor, bursts.share, bursts.length_s, bursts.calm_factor)
    source = poisson(20.0, [prompt()], 2, bursts=rates).draw(5)
    moments = np.array([next(source)[0] for _ in range(200_000)])
    assert len(moments) / moments[-1] == pytest.approx(20.0, rel=0.03)
    counts = np.histogram(moments, np.arange(0, moments[-1], 50.0))[0]
    expected = 1 + bursts.excess_dispersion(20.0)
    assert counts.var() / counts.mean() == pytest.approx(expected, rel=0.2)
    assert (np.diff(moments) >= 0).all()


@pytest.mark.parametrize("scv", [0.0, 0.3, 1.0, 4.0])
def test_renewal_arrivals_have_the_variation_asked_for(scv):
    source = poisson(5.0, [prompt()], 2, scv=scv).draw(1)
    gaps = np.diff([next(source)[0] for _ in range(60_000)])
    assert gaps.mean() == pytest.approx(0.2, rel=0.02)
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(scv, rel=0.06, abs=1e-9)


def test_lengths_follow_the_support_points():
    """Fractional answers are drawn as whole tokens with the same mean."""
    source = poisson(1.0, [prompt(10.0), prompt(90.0)], [2.25, 10.5], weight=[1, 3]).draw(4)
    drawn = [next(source) for _ in range(40_000)]
    assert np.mean([p.tokens for _, p, _ in drawn]) == pytest.approx(70, rel=0.02)
    assert np.mean([osl for _, _, osl in drawn]) == pytest.approx(6.375, rel=0.02)
    assert {osl for _, _, osl in drawn} == {2, 3, 10, 11}
