"""Prefixes and sessions as request points: hand-made numbers, exact means."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.specs.histories import histories
from pdplan.specs.points import Points
from pdplan.specs.traffic import traffic
from pdplan.specs.workload import WorkloadSpec

WIDE = {"lognormal": {"mean": 400, "cv": 1.2}}


def build(**keys):
    return traffic(WorkloadSpec.model_validate({"isl": 100, "osl": 50} | keys), 2.0, Path())


def test_three_turns_by_hand():
    found = build(session={"turns": 3, "think": "20 s"})
    assert found.weight == pytest.approx(np.full(3, 1 / 3))
    assert found.text_tokens.tolist() == [100, 250, 400]
    assert found.cached_tokens.tolist() == found.kept_tokens.tolist() == [0, 150, 300]
    assert found.earlier_turns.tolist() == [0, 1, 2]
    assert found.think_s.tolist() == [0, 20, 20]
    assert found.idle_tokens_s == pytest.approx(20 * (150 + 300) / 3)


def test_turns_that_differ():
    found = build(
        session={"turns": {"histogram": {"values": [1, 3], "weights": [1, 1]}}, "think": "1 s"}
    )
    assert found.weight == pytest.approx([2 / 4, 1 / 4, 1 / 4])  # of (1 + 3) requests, 2 are first
    assert found.text_tokens.tolist() == [100, 250, 400]


def test_half_of_the_history_is_found():
    found = build(session={"turns": 2, "think": "10 s", "cached": 0.5}, prefix={"tokens": 40})
    assert found.text_tokens.tolist() == [140, 290]
    assert found.cached_tokens.tolist() == [40, 115]
    assert found.kept_tokens.tolist() == [0, 75]
    assert found.idle_tokens_s == pytest.approx(10 * 75 / 2)


@given(
    lengths=st.lists(st.tuples(st.integers(1, 60), st.floats(0.1, 5)), min_size=1, max_size=5),
    growth=st.floats(10, 1e4),
    cv=st.floats(0, 3),
)
def test_mean_history_is_exact(lengths, growth, cv):
    sizes = sorted({n for n, _ in lengths})
    weights = np.array([sum(w for n, w in lengths if n == size) for size in sizes])
    turns = Points(np.array(sizes, float), weights / weights.sum())
    found = histories(turns, growth, (cv * growth) ** 2)
    earlier = (turns.second_moment - turns.mean) / (2 * turns.mean)
    assert found.points.weights.sum() == pytest.approx(1, rel=1e-12)
    for few in (found, found.coarse(5), found.coarse(2)):
        assert few.points.mean == pytest.approx(growth * earlier, rel=1e-9)
        assert few.points.weights @ few.earlier_turns == pytest.approx(earlier, rel=1e-9)
        assert few.points.weights[few.earlier_turns == 0].sum() == pytest.approx(1 / turns.mean)


def test_spread_of_a_history_is_that_of_independent_turns():
    found = histories(Points(np.array([9.0]), np.ones(1)), 100.0, 120.0**2)
    last = found.earlier_turns == 8
    weight = found.points.weights[last] / found.points.weights[last].sum()
    values = found.points.values[last]
    mean = weight @ values
    assert mean == pytest.approx(800)
    assert weight @ values**2 - mean**2 == pytest.approx(8 * 120.0**2, rel=1e-3)


def test_long_sessions_of_wide_lengths_stay_within_the_budget():
    turns = {"lognormal": {"mean": 6, "cv": 1}}
    found = build(isl=WIDE, osl=WIDE, session={"turns": turns, "think": "20 s"})
    assert found.weight.size <= 128
    assert found.weight.sum() == pytest.approx(1, rel=1e-12)
    history = float(found.weight @ found.kept_tokens)
    assert history == pytest.approx(800 * found.weight @ found.earlier_turns, rel=1e-9)
    assert found.weight @ found.text_tokens == pytest.approx(400 + history, rel=1e-9)


def test_endless_sessions_end():
    turns = {"lognormal": {"mean": 900, "cv": 20}}
    found = build(session={"turns": turns, "think": "1 s"})
    assert found.earlier_turns.max() <= 999
    assert build(session={"turns": 1, "think": "1 s"}).text_tokens.tolist() == [100]


def test_hits_are_a_share_or_a_number_of_tokens():
    found = build(isl=WIDE, prefix={"hit": 0.6})
    assert found.weight @ found.cached_tokens == pytest.approx(0.6 * 400, rel=1e-9)
    assert not found.kept_tokens.any()
    assert found.idle_tokens_s == 0
    system = build(
        isl={"histogram": {"values": [100, 800], "weights": [1, 1]}}, prefix={"tokens": 300}
    )
    assert system.text_tokens.tolist() == [100, 800]
    assert system.cached_tokens.tolist() == [99, 300]


def test_all_but_one_token_at_most_is_cached():
    assert build(isl=1, prefix={"hit": 1.0}).cached_tokens.tolist() == [0]
    assert build(prefix={"hit": 1.0}).cached_tokens.tolist() == [99]


def test_classes_keep_their_own():
    kinds = [
        {"name": "a", "share": 0.5, "isl": 100, "osl": 50, "session": {"turns": 2, "think": "4 s"}},
        {"name": "b", "share": 0.5, "isl": 10, "osl": 5},
    ]
    found = traffic(WorkloadSpec.model_validate({"classes": kinds}), 1.0, Path())
    assert found.class_index.tolist() == [0, 0, 1]
    assert found.text_tokens.tolist() == [100, 250, 10]
    assert found.cached_tokens.tolist() == [0, 150, 0]
    assert found.weight == pytest.approx([0.25, 0.25, 0.5])


def test_a_trace_tells_how_much_a_turn_adds(tmp_path):
    (tmp_path / "t.csv").write_text("isl,osl\n10,30\n30,10\n", "utf-8")
    trace = {"trace": "t.csv"}
    keys = {"isl": trace, "osl": trace, "session": {"turns": 2, "think": "1 s"}}
    found = traffic(WorkloadSpec.model_validate(keys), 1.0, tmp_path)
    assert sorted(found.text_tokens) == [10, 30, 50, 70]  # always 40 tokens a turn
