"""Pure queues against an independent simulation library."""

import ciw
import numpy as np
import pytest

from pdplan.queueing import Services, gigc_wait_allen_cunneen, md1_wait_tail, request_queue

HORIZON, WARM = 24_000, 1_000


def waits(service, servers, rate, seed=3):
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate)],
        service_distributions=[service],
        number_of_servers=[servers],
    )
    ciw.seed(seed)
    run = ciw.Simulation(network)
    run.simulate_until_max_time(HORIZON / rate)
    records = run.get_all_records()
    return np.array([r.waiting_time for r in records if r.arrival_date > WARM / rate])


@pytest.mark.parametrize(
    ("service", "services", "servers", "rho"),
    [
        (ciw.dists.Exponential(1.0), Services(np.array(1.0), np.array(1.0), np.array(1.5)), 1, 0.6),
        (ciw.dists.Exponential(1.0), Services(np.array(1.0), np.array(1.0), np.array(1.5)), 4, 0.8),
        (ciw.dists.Deterministic(1.0), Services.of([1.0], [1.0]), 1, 0.6),
        (ciw.dists.Deterministic(1.0), Services.of([1.0], [1.0]), 4, 0.8),
        (ciw.dists.Uniform(0.0, 2.0), Services(np.array(1.0), np.array(1 / 3), np.array(1.125)), 3,
         0.7),
    ],
    ids=["M/M/1", "M/M/4", "M/D/1", "M/D/4", "M/G/3"],
)  # fmt: skip
def test_queue(service, services, servers, rho):
    """Mean wait plus service within 4 %, of which 3 % is noise; P(W > 0) within 0.03."""
    rate = rho * servers
    measured = waits(service, servers, rate)
    found = request_queue(rate, services, servers, "central")
    assert 1 + float(found.mean_s) == pytest.approx(1 + measured.mean(), rel=0.04)
    plain = gigc_wait_allen_cunneen(rate, 1.0, services.scv, servers)
    assert float(plain.probability) == pytest.approx((measured > 1e-9).mean(), abs=0.03)


def test_md1_tail():
    measured = waits(ciw.dists.Deterministic(1.0), 1, 0.6)
    t = np.array([0.0, 0.5, 1.0, 3.0])
    assert md1_wait_tail(t, 0.6, 1.0) == pytest.approx(
        (measured[:, None] > t).mean(axis=0), abs=0.03
    )
