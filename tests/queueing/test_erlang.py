import csv
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from pdplan.queueing import erlang_b, erlang_c

LITERATURE = Path(__file__).parent.parent / "literature" / "erlang_c.csv"
with LITERATURE.open(newline="") as file:
    ROWS = list(csv.DictReader(file))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["source"])
def test_erlang_c_matches_literature(row):
    found = erlang_c(int(row["servers"]), float(row["offered_load"]))
    assert found == pytest.approx(float(row["value"]), rel=float(row["rtol"]))


def erlang_b_by_recursion(servers, offered_load):
    """B_n = a B_{n-1} / (n + a B_{n-1}) in 40 digits."""
    with localcontext() as context:
        context.prec = 40
        load, blocking = Decimal(offered_load), Decimal(1)
        for n in range(1, servers + 1):
            blocking = load * blocking / (n + load * blocking)
        return float(blocking)


@pytest.mark.parametrize(
    ("servers", "offered_load"),
    [(1, 0.5), (3, 100), (64, 60), (1000, 950), (5000, 5000), (20_000, 19_900), (20_000, 25_000)],
)
def test_erlang_b_against_forty_digits(servers, offered_load):
    expected = erlang_b_by_recursion(servers, offered_load)
    assert erlang_b(servers, offered_load) == pytest.approx(expected, rel=1e-11)  # rounding only


def test_erlang_c_at_1000_servers_against_scipy():
    blocking = poisson.pmf(1000, 950) / poisson.cdf(1000, 950)
    expected = blocking / (1 - 0.95 * (1 - blocking))
    assert erlang_c(1000, 950.0) == pytest.approx(expected, rel=1e-10)  # scipy's own rounding


def test_limits():
    assert erlang_b(4, 0.0) == 0
    assert erlang_b(0, 3.0) == 1
    assert erlang_b(20_000, 10.0) == 0  # underflows gracefully
    assert erlang_c(2, 2.0) == 1
    assert erlang_c(2, 5.0) == 1
    assert erlang_c(3, 0.0) == 0


def test_arrays_equal_scalars():
    servers, load = np.array([[1], [7], [300]]), np.array([0.3, 5.0, 280.0])
    for formula in (erlang_b, erlang_c):
        table = formula(servers, load)
        for i, c in enumerate(servers[:, 0]):
            for j, a in enumerate(load):
                assert table[i, j] == formula(c, a)


@given(servers=st.integers(1, 200), utilization=st.floats(0.01, 0.99))
def test_pooling_and_load(servers, utilization):
    here = erlang_c(servers, servers * utilization)
    assert 0 <= here <= 1
    assert erlang_c(2 * servers, 2 * servers * utilization) <= here + 1e-12
    assert erlang_c(servers, servers * utilization * 1.01) >= here - 1e-12
