"""P/D-Device: the equations against figures of the abstract and derived ones (arXiv 2508.09035)."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pdplan.stages.handoff import fewest_tokens, gap_s, ready_s, upload_s


def test_headline_case():
    alone = float(ready_s(8192, 0, 800.0))
    assert alone == pytest.approx(10.24)
    assert 1 - 1.0 / alone == pytest.approx(0.902, abs=0.0005)
    sent = float(fewest_tokens(8192, 1.0, 800.0, 0.050))
    assert sent == 190
    assert 1000 / sent == pytest.approx(5.3, abs=0.05)
    # TTFT falls by at least 60 %: so it does while the fleet takes less than 4 s.
    assert 1 - 4.0 / alone >= 0.60


def test_fifteen_times_the_throughput():
    sent = float(fewest_tokens(4096, 1.0, 1000.0, 0.050))
    assert sent <= 67
    assert 1000 / sent >= 15


def test_a_shorter_prompt_can_cost_more_tokens():
    whole = fewest_tokens(2048, 1.0, 1600.0, 0.050)
    half = fewest_tokens(2048, 1.0, 1600.0, 0.050, start_s=1.0, kept=0.5)
    assert [float(whole), float(half)] == [6, 13]


def test_text_goes_up_and_no_cache_comes_down():
    assert float(upload_s(8192, 0.0, 1.25e6)) * 1.25e6 == pytest.approx(32_768)
    assert float(upload_s(8192, 0.050, 1.25e6)) == pytest.approx(0.0762, abs=1e-4)
    assert pytest.approx(1.07e9, rel=0.01) == 8192 * 131_072  # bytes of the same prompt's cache


prompts = st.floats(1, 1e5)
speeds = st.floats(50, 1e4)
paces = st.floats(0.021, 0.2)
firsts = st.floats(0, 10)


@given(prompts, speeds, paces, firsts, st.floats(1, 3))
def test_monotone(prompt, speed, pace, first, more):
    assume(pace * speed > 1.001)
    here = fewest_tokens(prompt, first, speed, pace)
    assert fewest_tokens(prompt, first, speed * more, pace) <= here
    assert fewest_tokens(prompt * more, first, speed, pace) >= here
    assert fewest_tokens(prompt, first, speed, pace * more) <= here
    assert fewest_tokens(prompt, first * more, speed, pace) <= here


@given(prompts, speeds, paces, firsts)
def test_nobody_waits_with_as_many_and_somebody_does_with_one_less(prompt, speed, pace, first):
    assume(pace * speed > 1.01)
    sent = float(fewest_tokens(prompt, first, speed, pace))
    assert float(gap_s(prompt, sent, first, speed, pace)) <= 1e-6
    if sent > 1:
        assert float(gap_s(prompt, sent - 1, first, speed, pace)) > 0


@given(st.floats(100, 1e5), st.floats(100, 1e4), st.floats(0.0, 5.0), st.floats(0.1, 0.99))
def test_refinement_helps_only_where_it_saves_more_than_it_waits(prompt, speed, first, kept):
    pace = 0.05
    whole = float(fewest_tokens(prompt, first, speed, pace))
    less = float(fewest_tokens(prompt, first, speed, pace, start_s=first, kept=kept))
    saved = (1 - kept) * prompt / speed
    if less < whole:
        assert saved > first - 1e-9
    if saved < first:
        assert less >= whole


def test_a_device_that_cannot_catch_up():
    assert math.isinf(float(fewest_tokens(8192, 1.0, 20.0, 0.050)))
    assert math.isinf(float(fewest_tokens(8192, 1.0, 10.0, 0.050)))
    # It need not where it is ready before the fleet's first token has come.
    assert float(fewest_tokens(10, 5.0, 10.0, 0.050)) == 1
    found = fewest_tokens(np.array([100.0, 8192.0]), 1.0, 800.0, 0.050)
    assert found.tolist() == [1, 190]
