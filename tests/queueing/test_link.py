import numpy as np
import pytest

from pdplan.queueing import hop_wait, link_wait, mg1_wait, transfer_s
from tests.queueing.pool_simulation import transfers


def test_distserve_kv_cache():
    """OPT-66B, 512 tokens: 1.125 GiB over 25 Gbit/s."""
    assert transfer_s(1.125 * 2**30, 25e9 / 8, 0.0) == pytest.approx(0.38655, rel=1e-4)  # by hand


def test_link_is_a_queue():
    assert link_wait(3.0, 0.2, 0.5) == mg1_wait(3.0, 0.2, 0.5)
    assert np.isinf(link_wait(6.0, 0.2, 0.5).mean_s)


def test_arrays_equal_scalars():
    assert transfer_s(np.array([1.0, 2.0]), 4.0, 1.0).tolist() == [1.25, 1.5]
    table = hop_wait(np.array([1.0, 2.0]), 0.5, 0.2, 0.3, np.array([1.0, 4.0]))
    for i, (rate, batch) in enumerate(((1.0, 1.0), (2.0, 4.0))):
        one = hop_wait(rate, 0.5, 0.2, 0.3, batch)
        assert table.mean_s[i] == pytest.approx(float(one.mean_s))


def test_hop_limits():
    """One end alone is M/G/1; an end at its limit never ends; nothing sent waits for nothing."""
    assert float(hop_wait(0.0, 3.0, 0.2, 0.5).mean_s) == pytest.approx(
        float(mg1_wait(3.0, 0.2, 0.5).mean_s)
    )
    assert np.isinf(hop_wait(5.0, 1.0, 0.2, 0.0).mean_s)
    assert np.isinf(hop_wait(1.0, 5.0, 0.2, 0.0).mean_s)
    assert float(hop_wait(0.0, 0.0, 0.2, 0.0).mean_s) == 0
    assert float(hop_wait(2.0, 2.0, 0.0, 0.0).mean_s) == 0
    # Four that leave together wait 0, 1, 2 and 3 transfers.
    assert float(hop_wait(1e-9, 0.0, 0.2, 0.0, 4.0).mean_s) == pytest.approx(1.5 * 0.2)


@pytest.mark.parametrize("load", [0.1, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("ends", [(1, 4), (2, 6), (6, 2), (8, 8)])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("in_turn", [False, True])
def test_hop_against_simulation(batch, ends, load, in_turn):
    """`load` is that of the busier side."""
    senders, receivers = ends
    random = np.random.default_rng(4)
    count = 60_000
    rate = load * min(senders, receivers)  # transfers of mean 1
    starts = np.repeat(np.cumsum(random.exponential(batch / rate, count // batch)), batch)
    wires = random.choice([0.5, 1.0, 2.5], count, p=[0.5, 0.3, 0.2])
    wires = wires / 1.05
    sources = np.repeat(random.integers(0, senders, count // batch), batch)
    targets = random.integers(0, receivers, count)
    if in_turn:
        targets = np.arange(count) % receivers
    rows = (x.tolist() for x in (starts, wires, sources, targets))
    waited = transfers(*rows)
    scv = float((wires**2).mean() / wires.mean() ** 2 - 1)
    found = hop_wait(
        rate / senders,
        rate / receivers,
        1.0,
        scv,
        float(batch),
        senders,
        receivers,
        in_turn=in_turn,
    )
    assert float(found.mean_s) == pytest.approx(
        waited.mean(), rel=0.25 if in_turn else 0.15, abs=0.1 if in_turn else 0.05
    )
