import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdplan.queueing.closed_network import closed_network, regular_network, spread_rates


def queue(servers, service_s, requests):
    return np.minimum(np.arange(1, requests + 1), servers) / service_s


def test_one_request_meets_nobody():
    network = closed_network([[2.0], [4.0], [1.0]], 1)
    assert network.throughput_rps == pytest.approx(1 / (1 / 2 + 1 / 4 + 1))


def mean_value_analysis(services, delay, requests):
    """Reiser and Lavenberg's recursion for single servers and a delay."""
    lengths = np.zeros(len(services))
    for n in range(1, requests + 1):
        stay = np.asarray(services) * (1 + lengths)
        rate = n / (delay + stay.sum())
        lengths = rate * stay
    return rate, lengths


@settings(deadline=None, max_examples=30)
@given(
    services=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=4),
    delay=st.floats(0.01, 20.0),
    requests=st.integers(1, 200),
)
def test_it_agrees_with_mean_value_analysis(services, delay, requests):
    rate, lengths = mean_value_analysis(services, delay, requests)
    stations = [queue(1, s, requests) for s in services]
    stations.append(np.arange(1, requests + 1) / delay)
    network = closed_network(stations, requests)
    assert network.throughput_rps == pytest.approx(rate, rel=1e-8)
    for found, expected in zip(network.at, lengths, strict=False):
        mean = found @ np.arange(requests + 1)
        assert mean == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(requests=st.integers(2, 3000), servers=st.integers(1, 50), delay=st.floats(0.1, 100.0))
def test_all_requests_are_somewhere_and_littles_law_holds(requests, servers, delay):
    stations = [queue(servers, 1.0, requests), np.arange(1, requests + 1) / delay]
    network = closed_network(stations, requests)
    means = [found @ np.arange(requests + 1) for found in network.at]
    assert sum(means) == pytest.approx(requests, rel=1e-8)
    assert means[1] == pytest.approx(network.throughput_rps * delay, rel=1e-6)
    assert network.throughput_rps <= servers * (1 + 1e-9)


def test_many_requests_saturate_the_slowest_station():
    stations = [queue(4, 1.0, 5000), queue(10, 1.0, 5000)]
    assert closed_network(stations, 5000).throughput_rps == pytest.approx(4.0, rel=1e-6)


def test_an_arrival_sees_the_network_without_itself():
    stations = [queue(2, 1.0, 6), queue(1, 0.4, 6)]
    six, five = closed_network(stations, 6), closed_network([s[:5] for s in stations], 5)
    for seen, at in zip(six.seen, five.at, strict=True):
        np.testing.assert_allclose(seen, at, rtol=1e-9)


def first_come_first_served(requests, servers, delay_s, scv, count=60_000, warmup=4_000):
    """Simulate servers of mean service 1 and a delay; throughput and time at the servers."""
    rng = np.random.default_rng(1)
    away = rng.exponential(delay_s, count + warmup + requests)
    services = rng.gamma(1 / scv, scv, count + warmup) if scv else np.ones(count + warmup)
    coming, free = list(away[:requests]), [0.0] * servers
    heapq.heapify(coming)
    stays, began = 0.0, 0.0
    for i in range(count + warmup):
        arrival = heapq.heappop(coming)
        end = max(arrival, heapq.heappop(free)) + services[i]
        heapq.heappush(free, end)
        heapq.heappush(coming, end + away[requests + i])
        if i == warmup:
            began = arrival
        stays += (end - arrival) * (i >= warmup)
    return count / (arrival - began), stays / count


@pytest.mark.slow
@pytest.mark.parametrize("scv", [0.0, 0.3, 2.0])
@pytest.mark.parametrize(("servers", "requests"), [(1, 5), (1, 12), (1, 30), (4, 40), (4, 60)])
def test_regular_queues_agree_with_simulation(servers, requests, scv):
    rate, stay = first_come_first_served(requests, servers, 10.0, scv)
    stations = [queue(servers, 1.0, requests), np.arange(1, requests + 1) / 10.0]
    network, _ = regular_network(
        stations, requests, [servers, requests + 1], [1.0, 1.0], [scv, 1.0]
    )
    assert network.throughput_rps == pytest.approx(rate, rel=0.015)
    assert requests / network.throughput_rps - 10.0 == pytest.approx(stay, rel=0.10)


def test_chance_is_left_as_it_is():
    stations = [queue(3, 1.0, 40), queue(1, 0.3, 40), np.arange(1, 41) / 8.0]
    plain = closed_network(stations, 40)
    same, rates = regular_network(stations, 40, [3, 1, 41], [1, 1, 1], [1, 1, 1])
    assert same.throughput_rps == plain.throughput_rps
    np.testing.assert_allclose(rates[0], stations[0])


@pytest.mark.parametrize("stations", [2, 3, 7])
def test_stations_chosen_by_chance_together_are_one(stations):
    requests = 60
    one = np.minimum(np.arange(1, requests + 1), 5) ** 0.8
    delay = np.arange(1, requests + 1) / 4.0
    apart = closed_network([*[stations * one] * stations, delay], requests)
    together = closed_network([spread_rates(one, stations), delay], requests)
    assert together.throughput_rps == pytest.approx(apart.throughput_rps, rel=1e-9)
    held = sum(at @ np.arange(requests + 1) for at in apart.at[:-1])
    assert together.at[0] @ np.arange(requests + 1) == pytest.approx(held, rel=1e-9)
