"""Rounds of drafts on devices: yields, bytes, times, and the keys that say them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.errors import SpecError
from pdplan.specs.base import validate
from pdplan.specs.options.device_draft import DeviceDraft
from pdplan.specs.source import Document
from pdplan.specs.speculation import Speculation
from pdplan.stages.device_draft import (
    Rounds,
    acceptance_of,
    best_draft_tokens,
    drafted,
    rounds_of,
    told,
    uplink_share,
)

VOCAB = 50272
KEYS = {"acceptance": 0.7, "draft_step": "10 ms", "draft_tokens": 4}


def option(**keys):
    return validate(Document("option.yaml", {**KEYS, **keys}), DeviceDraft)


@given(st.floats(0.0, 0.97), st.integers(1, 16))
def test_accept_rates_read_back(acceptance, tokens):
    whole = sum(acceptance**i for i in range(tokens + 1))
    assert acceptance_of((whole - 1) / tokens, tokens) == pytest.approx(acceptance, abs=1e-6)


@pytest.mark.parametrize("acceptance", [0.3, 0.7, 0.9])
def test_yield_and_rejections_of_rounds_drawn_at_random(acceptance):
    held = np.random.default_rng(5).random((200_000, 6)) < acceptance
    in_a_row = np.cumprod(held, axis=1).sum(axis=1)
    found = Rounds("split", 6, acceptance, 0.01, 0.0, np.inf, np.inf, VOCAB)
    assert found.tokens == pytest.approx(1 + in_a_row.mean(), rel=0.01)
    assert found.rejection == pytest.approx((in_a_row < 6).mean(), rel=0.01)
    down = np.where(in_a_row < 6, 4 + 2 * VOCAB, 8).mean()
    assert found.down_bytes == pytest.approx(down, rel=0.01)


def test_a_round_is_its_parts():
    found = rounds_of(option(uplink="10 Mbit/s", downlink="20 Mbit/s", rtt="30 ms"), VOCAB)
    up, down = found.up_bytes / 1.25e6, found.down_bytes / 2.5e6
    assert found.away_s == pytest.approx(4 * 0.010 + 0.030 + up + down, rel=1e-12)
    assert float(found.round_s(0.02)) == pytest.approx(found.away_s + 0.02, rel=1e-12)
    free = rounds_of(option(rtt="0 s"), VOCAB)
    assert free.away_s == pytest.approx(0.040)


def test_modes_in_the_order_of_what_goes_up():
    each = [rounds_of(option(mode=mode), VOCAB).up_bytes for mode in ("split", "dsd_topk", "dsd")]
    assert each == [4 * (4 + 2), 4 * (4 + 48), 4 * (4 + 2 * VOCAB)]
    assert rounds_of(option(mode="ar_cloud"), VOCAB) is None
    assert rounds_of(None, VOCAB) is None


@given(st.floats(0.05, 0.95), st.floats(0.001, 0.3), st.floats(0.0, 2.0))
def test_no_number_of_drafts_is_quicker_than_the_best(acceptance, share, network):
    def speed(g):
        return sum(acceptance**i for i in range(g + 1)) / (g * share + 1 + network)

    best = best_draft_tokens(acceptance, share, network)
    assert speed(best) >= max(speed(g) for g in range(1, 17)) * (1 - 1e-12)


def test_the_fleet_checks_what_devices_draft():
    found = drafted(option(), VOCAB, None)
    assert (found.draft_tokens, found.acceptance) == (4, 0.7)
    assert found.tokens_per_step == rounds_of(option(), VOCAB).tokens
    assert told(found) is None
    own = Speculation(3, 0.6, "ngram")
    assert drafted(None, VOCAB, own) is own
    assert told(own) == own.text()
    assert drafted(None, VOCAB, found) is None
    assert drafted(option(draft_tokens=7), VOCAB, found).draft_tokens == 7
    with pytest.raises(SpecError, match="give one of them"):
        drafted(option(), VOCAB, own)


def test_what_users_send_does_not_depend_on_the_length_of_rounds():
    near = option(mode="dsd", rtt="0 s", cell_uplink="1 Gbit/s")
    far = option(mode="dsd", rtt="1 s", cell_uplink="1 Gbit/s")
    sent = 5.0 * (50 * 4 * (4 + 2 * VOCAB) + 4 * 200)
    for one in (near, far):
        assert uplink_share(one, VOCAB, 5.0, 50.0, 200.0) == pytest.approx(sent / 1.25e8)
    assert uplink_share(option(), VOCAB, 5.0, 50.0, 200.0) == 0.0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"acceptance": None}, "either acceptance or accept_rate"),
        ({"accept_rate": 0.3}, "either acceptance or accept_rate"),
        ({"draft_step": "0 s"}, "needs the time in which a device drafts"),
        ({"acceptance": None, "accept_rate": 0.3, "draft_tokens": "auto"}, "measured_draft_tokens"),
        ({"device_memory": "1 GB"}, "needs draft_weights"),
        ({"device_memory": "1 GB", "draft_weights": "2 GB"}, "2.00 GB do not fit into 1.00 GB"),
        ({"draft_tokens": 65}, "draft_tokens"),
        ({"mode": "magic"}, "mode"),
        ({"uplink": "0 b/s"}, "uplink"),
    ],
)
def test_wrong_keys_are_told(keys, message):
    with pytest.raises(SpecError, match=message):
        option(**keys)
