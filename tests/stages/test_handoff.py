"""Answers that devices finish: who decodes what, and the keys that say it."""

import numpy as np
import pytest

from pdplan.errors import SpecError
from pdplan.specs.base import validate
from pdplan.specs.options.handoff import Handoff
from pdplan.specs.source import Document
from pdplan.stages.handoff import decoded, handed_over, refusal

KEYS = {"device_prefill": 800, "device_decode": "40 ms", "rtt": "0 s"}


def option(**keys):
    return validate(Document("option.yaml", {**KEYS, **keys}), Handoff)


PROMPTS = np.array([512.0, 2048.0, 8192.0])


def test_the_network_is_the_least_that_a_first_token_takes():
    found = handed_over(option(rtt="50 ms", uplink="10 Mbit/s"), PROMPTS)
    assert found.first_s == pytest.approx(0.050 + 4 * PROMPTS / 1.25e6)
    # Any later first token lets the device be ready in time too.
    for later in (0.0, 0.3, 5.0):
        shown = found.first_s + later + found.sent * 0.050
        assert (shown >= found.ready_s - 1e-9).all()
    told = handed_over(option(cloud_ttft="1 s"), PROMPTS)
    assert told.sent[-1] == 190
    assert (told.sent <= found.sent).all()


def test_a_number_that_is_too_small_makes_users_wait():
    few = handed_over(option(tokens=100, cloud_ttft="1 s"), PROMPTS)
    assert few.gap_s[-1] == pytest.approx((8192 + 100) / 800 - (1 + 100 * 0.05))
    assert few.gap_s[0] == 0


def test_refinement_is_chosen_where_it_saves_tokens():
    long = handed_over(option(refinement="auto", quality_floor=0.5), PROMPTS)
    assert long.kept == 0.5
    short = handed_over(
        option(refinement="auto", quality_floor=0.5, cloud_ttft="1 s", device_prefill=1600),
        np.array([2048.0]),
    )
    assert (short.kept, short.sent.tolist()) == (1.0, [6.0])
    forced = option(refinement=0.5, cloud_ttft="1 s", device_prefill=1600)
    assert handed_over(forced, np.array([2048.0])).sent.tolist() == [13.0]
    slower = option(refinement=0.5, cloud_ttft="1 s", device_prefill=1600, refine="0.1 s")
    assert handed_over(slower, np.array([2048.0])).sent.tolist() == [15.0]


def test_the_fleet_decodes_no_more_than_it_sends():
    outputs = np.array([[10.0, 100.0, 1000.0]] * 2)
    weight = np.array([[0.2, 0.3, 0.5]] * 2)
    sent = np.array([50.0, 5000.0])
    cut, same = decoded(outputs, weight, sent, 1.0)
    assert cut.tolist() == [[10, 50, 50], [10, 100, 1000]]
    assert same is weight
    both, shares = decoded(outputs, weight, sent, 0.25)
    mean = (both * shares).sum(axis=1)
    whole = (outputs * weight).sum(axis=1)
    assert mean == pytest.approx(0.75 * whole + 0.25 * (cut * weight).sum(axis=1))
    assert shares.sum(axis=1) == pytest.approx(1)
    assert decoded(outputs, weight, np.full(2, 1000.0), 0.5) == (outputs, weight)
    assert decoded(outputs, weight, sent, 0.0)[0] is outputs


@pytest.mark.parametrize(
    ("keys", "tpot_s", "words"),
    [
        ({"device_prefill": 20}, None, "never catches up"),
        ({"pace": "60 ms"}, 0.050, "tokens are shown every 60 ms; the TPOT objective is 50 ms"),
        ({"device_decode": "80 ms"}, 0.050, "devices decode a token in 80 ms"),
        ({"device_memory": "4 GB"}, None, "devices have 4.00 GB of memory, the model takes 16.00"),
        ({"device_memory": "4 GB", "device_weights": "5 GB"}, None, "takes 5.00 GB"),
        ({"device_memory": "4 GB", "device_weights": "3 GB"}, 0.050, ""),
        ({"device_prefill": 20, "capable": 0.0}, None, ""),
        ({}, 0.050, ""),
    ],
)
def test_devices_that_cannot(keys, tpot_s, words):
    one = option(**keys)
    said = refusal(one, handed_over(one, PROMPTS), tpot_s, 16e9)
    assert words in said
    assert bool(words) == bool(said)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"refinement": "auto"}, "needs quality_floor"),
        ({"refinement": 0.5, "quality_floor": 0.6}, "below the quality_floor of 0.6"),
        ({"device_prefill": 0}, "device_prefill"),
        ({"device_decode": "0 s"}, "device_decode"),
        ({"tokens": 0}, "tokens"),
        ({"capable": 1.5}, "capable"),
    ],
)
def test_wrong_keys_are_told(keys, message):
    with pytest.raises(SpecError, match=message):
        option(**keys)
