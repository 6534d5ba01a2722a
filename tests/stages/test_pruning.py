"""Which layers are left out where, and what cannot be left out."""

import pytest
from pydantic import ValidationError

from pdplan.errors import SpecError, UnfitError
from pdplan.specs.model import load_model
from pdplan.specs.options.prune import Prune
from pdplan.stages.pruning import (
    check_pruning,
    model_of,
    sent_model,
    trimmed_layers,
    uneven,
    with_layers_removed,
    with_trimmed_cache,
)

LLAMA = load_model("llama-3.1-8b")


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ({"prefill_layers": [3], "decode_layers": [4]}, "prefill_layers", "layer 3"),
        ({"prefill_layers": 2, "decode_layers": 1}, "prefill_layers", "only 1 of decode"),
        ({"prefill_layers": 1}, "prefill_layers", "only 0 of decode"),
        ({"decode_layers": [1, 1]}, "decode_layers", "named twice"),
        ({"kv_layers_trimmed": 4}, "kv_layers_trimmed", "needs first_tokens or last_tokens"),
        ({"first_tokens": 4}, "first_tokens and", "need kv_layers_trimmed"),
        (
            {"decode_layers": [1], "kv_layers_trimmed": [1, 2], "last_tokens": 1},
            "kv_layers_trimmed",
            "left out of decode altogether",
        ),
        ({"kv_share": 0.2, "last_tokens": 1}, "kv_share", "takes the place of"),
        ({"accuracy_drop": 1.5}, "less than or equal", "1"),
    ],
)
def test_what_contradicts_itself_is_refused(keys, key, words):
    with pytest.raises(ValidationError) as caught:
        Prune.model_validate(keys)
    text = str(caught.value)
    assert key in text
    assert words in text


@pytest.mark.parametrize(
    ("prune", "words"),
    [
        (Prune(decode_layers=32), "32 layers left out; model 'Llama-3.1-8B' has 32"),
        (Prune(decode_layers=(32,)), "decode_layers: layer 32; the last of 'Llama-3.1-8B' is 31"),
        (
            Prune(decode_layers=20, kv_layers_trimmed=13, last_tokens=1),
            "kv_layers_trimmed: 13 layers; 12 of those that decode keeps",
        ),
    ],
)
def test_layers_that_the_model_has_not_are_refused(prune, words):
    with pytest.raises(SpecError, match=r"^options\.prune") as caught:
        check_pruning(LLAMA, prune)
    assert words in str(caught.value)


def test_accuracy_is_capped_and_never_guessed():
    check_pruning(LLAMA, Prune(decode_layers=4, accuracy_drop=0.01, max_accuracy_drop=0.01))
    check_pruning(LLAMA, Prune(max_accuracy_drop=0.0))
    with pytest.raises(UnfitError, match=r"2\.00% of accuracy would be lost; 1\.00% is allowed"):
        check_pruning(LLAMA, Prune(decode_layers=4, accuracy_drop=0.02, max_accuracy_drop=0.01))
    with pytest.raises(UnfitError, match="not stated"):
        check_pruning(LLAMA, Prune(decode_layers=4, max_accuracy_drop=0.01))


def test_every_stage_runs_its_own_layers():
    prune = Prune(prefill_layers=2, decode_layers=6)
    layers = {stages: model_of(LLAMA, prune, stages).layers for stages in ("E", "P", "D", "PD")}
    assert layers == {"E": 32, "P": 30, "D": 26, "PD": 30}
    assert model_of(LLAMA, prune, "EP").layers == model_of(LLAMA, prune, "EPD").layers == 30
    assert model_of(LLAMA, None, "D") is LLAMA
    assert with_layers_removed(LLAMA, 0) is LLAMA
    assert sent_model(LLAMA, Prune()) is LLAMA


def test_pipelines_divide_what_is_left():
    prune = Prune(prefill_layers=2, decode_layers=4)
    assert uneven(LLAMA, prune, 2, "P") is None
    assert uneven(LLAMA, prune, 4, "D") is None
    assert uneven(LLAMA, prune, 4, "P") == "pp=4 does not divide the 30 layers that pruning leaves"
    assert uneven(LLAMA, None, 3, "P") is None


def test_only_layers_that_cache_everything_are_trimmed():
    gemma = load_model("gemma-3-27b")
    trimmed = with_trimmed_cache(gemma, 4, 100.0)
    kept = trimmed_layers(trimmed)
    assert kept is not None
    assert [(g.kind, g.layers, g.window) for g in kept.attention] == [("full", 4, None)]
    windows = [(g.layers, g.window) for g in trimmed.attention if g.kind == "window"]
    assert windows == [(g.layers, g.window) for g in gemma.attention if g.kind == "window"]
    assert trimmed_layers(gemma) is None
    with pytest.raises(SpecError, match="10 of those"):
        with_trimmed_cache(gemma, 11, 100.0)


def test_a_report_can_say_what_was_left_out():
    assert Prune(prefill_layers=(7,), decode_layers=(7, 9), accuracy_drop=0.012).words() == (
        "1 layer of prefill, 2 layers of decode; accuracy lost: 1.20% (given)"
    )
    assert Prune(kv_share=0.25).words() == "75.0% of the KV on its way; accuracy lost: not stated"
