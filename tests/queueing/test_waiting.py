import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.queueing import (
    Wait,
    erlang_c,
    gigc_wait_allen_cunneen,
    mg1_wait,
    routed_wait,
)

DISTSERVE = [(0.5, 1, 1.5), (0.8, 1, 3.0), (0.5, 2, 1.16667), (0.8, 2, 1.33333)]


@pytest.mark.parametrize(("load", "replicas", "ttft"), DISTSERVE)
def test_distserve_ttft_in_units_of_the_prefill_time(load, replicas, ttft):
    wait = routed_wait("random", load, 1.0, 0.0, replicas)
    assert 1 + wait.mean_s == pytest.approx(ttft, rel=1e-5)  # published to five decimals


def test_distserve_parallelism():
    """Two pipeline stages admit every D / 2 and take D; tensor parallel at speed-up 1.5."""
    pipeline = 1 + mg1_wait(0.5, 0.5, 0.0).mean_s
    tensor = 1 / 1.5 + mg1_wait(0.5, 1 / 1.5, 0.0).mean_s
    assert pipeline == pytest.approx(1.08333, rel=1e-5)  # published to five decimals
    assert tensor == pytest.approx(0.83333, rel=1e-5)


def test_mm1_is_exact():
    wait = mg1_wait(0.75, 1.0, 1.0)
    assert (wait.probability, wait.tail_mean_s, wait.mean_s) == pytest.approx((0.75, 4.0, 3.0))
    assert wait.cdf(2.0) == pytest.approx(1 - 0.75 * np.exp(-0.5))
    assert wait.cdf(wait.quantile_s(0.99)) == pytest.approx(0.99)
    assert wait.quantile_s(0.25) == pytest.approx(0, abs=1e-12)  # rounding of rho
    assert wait.cdf(-1.0) == 0


@pytest.mark.parametrize("servers", [1, 2, 16, 300])
def test_mmc_is_exact(servers):
    rate = 0.85 * servers
    wait = gigc_wait_allen_cunneen(rate, 1.0, 1.0, servers)
    assert wait.mean_s == pytest.approx(erlang_c(servers, rate) / (servers - rate), rel=1e-12)


def test_no_steady_state():
    wait = gigc_wait_allen_cunneen(np.array([2.0, 3.0]), 1.0, 0.0, 2)
    assert np.all(wait.probability == 1)
    assert np.all(np.isinf(wait.tail_mean_s))
    assert np.all(wait.cdf(1e9) == 0)
    assert np.all(np.isinf(wait.quantile_s(0.5)))


def test_empty_queue():
    for wait in (mg1_wait(0.0, 1.0, 0.0), gigc_wait_allen_cunneen(0.0, 1.0, 4.0, 8)):
        assert wait.mean_s == 0
        assert wait.quantile_s(0.999) == 0


def test_wait_without_spread():
    wait = Wait(np.float64(0.5), np.float64(0.0))
    assert wait.cdf(0.0) == 1
    assert wait.quantile_s(0.9) == 0


def simulated_mean_wait(servers, utilization, scv, *, replications=300, arrivals=8000):
    """M/G/c by the Kiefer-Wolfowitz recursion; gamma, or balanced hyperexponential, service."""
    rng = np.random.default_rng(1)
    work, rows = np.zeros((replications, servers)), np.arange(replications)
    total = 0.0
    chance = 0.5 * (1 + np.sqrt(max(scv - 1, 0) / (scv + 1)))
    for i in range(arrivals):
        first = work.argmin(axis=1)
        if i >= arrivals // 4:
            total += work[rows, first].mean()
        if scv == 0:
            service = 1.0
        elif scv <= 1:
            service = rng.gamma(1 / scv, scv, replications)
        else:
            branch = np.where(rng.random(replications) < chance, chance, 1 - chance)
            service = rng.exponential(1, replications) / (2 * branch)
        work[rows, first] += service
        gap = rng.exponential(1 / (servers * utilization), replications)
        work = np.maximum(work - gap[:, None], 0)
    return total / (arrivals - arrivals // 4)


@pytest.mark.parametrize("servers", [2, 4, 16])
@pytest.mark.parametrize(("utilization", "scv"), [(0.6, 0.0), (0.8, 0.0), (0.6, 4.0), (0.8, 4.0)])
def test_correction_beats_plain_allen_cunneen(servers, utilization, scv):
    measured = simulated_mean_wait(servers, utilization, scv)
    mean = gigc_wait_allen_cunneen(servers * utilization, 1.0, scv, servers).mean_s
    busy = erlang_c(servers, servers * utilization)
    plain = (1 + scv) / 2 * busy / (servers * (1 - utilization))
    assert mean == pytest.approx(measured, rel=0.06 if scv <= 1 else 0.12)  # stated in docstring
    assert abs(mean - measured) < abs(plain - measured)


def simulated_shortest_queue(servers, utilization, *, replications=64, arrivals=6000):
    """M/D/c, join the shortest queue by count: mean wait and waiting probability."""
    rng = np.random.default_rng(2)
    ends = np.zeros((replications, servers, 24))
    rows, now, total, waited = np.arange(replications), np.zeros(replications), 0.0, 0.0
    slot = np.zeros((replications, servers), dtype=int)
    for i in range(arrivals):
        now = now + rng.exponential(1 / (servers * utilization), replications)
        count = (ends > now[:, None, None]).sum(axis=2) + rng.random((replications, servers)) / 2
        pick = count.argmin(axis=1)
        wait = np.maximum(ends[rows, pick].max(axis=1) - now, 0)
        ends[rows, pick, slot[rows, pick]] = now + wait + 1
        slot[rows, pick] = (slot[rows, pick] + 1) % 24
        if i >= arrivals // 4:
            total, waited = total + wait.mean(), waited + (wait > 0).mean()
    return np.array([total, waited]) / (arrivals - arrivals // 4)


@pytest.mark.parametrize(("servers", "utilization"), [(4, 0.7), (4, 0.9), (16, 0.7), (16, 0.9)])
def test_least_loaded_against_shortest_queue(servers, utilization):
    mean, waiting = simulated_shortest_queue(servers, utilization)
    wait = routed_wait("least_loaded", servers * utilization, 1.0, 0.0, servers)
    pooled, random = (
        routed_wait(r, servers * utilization, 1.0, 0.0, servers) for r in ("central", "random")
    )
    assert waiting <= wait.probability <= waiting + 0.17  # stated in docstring
    assert wait.mean_s == pytest.approx(mean, abs=0.25)  # stated in docstring
    assert pooled.mean_s < mean + 0.05 < random.mean_s


@given(
    servers=st.integers(1, 64),
    utilization=st.floats(0.01, 0.98),
    scv=st.floats(0, 4),
    arrival_scv=st.floats(0.2, 4),
)
def test_routings_rank(servers, utilization, scv, arrival_scv):
    rate = servers * utilization
    means = {
        routing: routed_wait(routing, rate, 1.0, scv, servers, arrival_scv).mean_s
        for routing in ("central", "least_loaded", "round_robin", "random")
    }
    assert means["central"] == means["least_loaded"]
    assert means["round_robin"] <= means["random"] * (1 + 1e-12)
    heavier = routed_wait("central", rate * 1.01, 1.0, scv, servers, arrival_scv).mean_s
    assert heavier >= means["central"]


def test_one_instance_is_the_same_under_every_routing():
    waits = [
        routed_wait(routing, 0.8, 1.0, 0.3, 1, 1.7).mean_s
        for routing in ("central", "least_loaded", "round_robin", "random")
    ]
    assert waits == pytest.approx([waits[0]] * 4)


def test_unknown_routing():
    with pytest.raises(ValueError) as caught:
        routed_wait("magic", 1.0, 1.0, 1.0, 2)
    expected = "routing must be one of central, least_loaded, round_robin, random; got 'magic'"
    assert str(caught.value) == expected


def test_arrays_equal_scalars():
    rates, servers = np.array([0.5, 3.0, 20.0]), np.array([[1], [4], [32]])
    table = gigc_wait_allen_cunneen(rates, 1.0, 0.5, servers)
    for i, c in enumerate(servers[:, 0]):
        for j, rate in enumerate(rates):
            one = gigc_wait_allen_cunneen(rate, 1.0, 0.5, c)
            assert table.probability[i, j] == one.probability
            assert table.tail_mean_s[i, j] == one.tail_mean_s
