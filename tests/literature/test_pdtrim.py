"""PDTrim (arXiv 2509.04467): what its rules give for KV sent, KV held and the layers that run."""

import pytest

from pdplan.specs.model import load_model
from pdplan.specs.options.prune import Prune
from pdplan.stages.pruning import sent_bytes, with_layers_removed

LLAMA = load_model("llama-3.1-8b")
WORKED = Prune(decode_layers=4, kv_layers_trimmed=20, first_tokens=4, last_tokens=124)


def sent(prune, tokens, model=LLAMA):
    return float(sent_bytes(model, prune, "bf16", tokens, 0))


def test_the_worked_example_sends_144_7_of_536_9_mb():
    assert sent(None, 4096) / 1e6 == pytest.approx(536.9, abs=0.05)
    assert sent(WORKED, 4096) / 1e6 == pytest.approx(144.7, abs=0.05)
    assert sent(None, 4096) / sent(WORKED, 4096) == pytest.approx(3.71, abs=0.005)
    assert sent(None, 512) / sent(WORKED, 512) == pytest.approx(2.46, abs=0.005)
    assert sent(None, 10**8) / sent(WORKED, 10**8) == pytest.approx(32 / 8, rel=1e-4)


def test_4_95_times_needs_6_46_of_32_layers_sent_whole():
    whole_layers = 32 / 4.95
    assert whole_layers == pytest.approx(6.46, abs=0.005)
    whole = {n: Prune(kv_layers_trimmed=32 - n, last_tokens=1) for n in (6, 7)}
    ratio = {n: sent(None, 10**8) / sent(prune, 10**8) for n, prune in whole.items()}
    assert ratio[7] < 4.95 < ratio[6]


@pytest.mark.parametrize("tokens", [1, 64, 128, 512, 4096, 100_000])
@pytest.mark.parametrize(
    "prune",
    [
        WORKED,
        Prune(decode_layers=(1, 5, 9), kv_layers_trimmed=(0, 2), first_tokens=16),
        Prune(prefill_layers=2, decode_layers=8),
    ],
)
def test_kv_sent_is_the_formula(prune, tokens):
    """X' = kv / L ((L - |R_D| - |S|) l + |S| min(l, n_first + n_last)), exactly."""
    removed = len(prune.decode_layers) if isinstance(prune.decode_layers, tuple) else (
        prune.decode_layers
    )  # fmt: skip
    trimmed = prune.kv_layers_trimmed
    trimmed = len(trimmed) if isinstance(trimmed, tuple) else trimmed
    each = 2 * 8 * 128 * 2
    expected = each * ((32 - removed - trimmed) * tokens + trimmed * min(tokens, prune.end_tokens))
    assert sent(prune, tokens) == expected


def test_the_share_is_of_transfer_only():
    share = Prune(kv_share=1 / 4.95)
    assert sent(None, 4096) / sent(share, 4096) == pytest.approx(4.95)
    bandwidth, published_s = 10e9, 0.067  # KV of PPD's fourth case, 670 MB at 10 GB/s
    tokens = published_s * bandwidth / LLAMA.kv_bytes_per_token(2)
    assert sent(None, tokens) / bandwidth == pytest.approx(0.067)
    assert sent(share, tokens) / bandwidth == pytest.approx(0.0135, abs=5e-5)


def test_blocks_left_out_take_their_weights_with_them():
    """W' = W_emb + (L - |R|) W_blk."""
    whole = LLAMA.parameters()
    block = (whole.language - whole.embedding - whole.lm_head - LLAMA.hidden) / 32
    for removed in (0, 1, 8, 31):
        left = with_layers_removed(LLAMA, removed).parameters()
        expected = whole.embedding + whole.lm_head + LLAMA.hidden + (32 - removed) * block
        assert left.language == expected


def test_layers_of_several_kinds_are_left_out_in_proportion_and_nested():
    gemma = load_model("gemma-3-27b")
    before = {group.kind: group.layers for group in gemma.attention}
    last = before
    for count in range(gemma.layers):
        left = with_layers_removed(gemma, count)
        now = dict.fromkeys(before, 0) | {group.kind: group.layers for group in left.attention}
        assert sum(now.values()) == left.layers == gemma.layers - count
        for kind, layers in now.items():
            gone = before[kind] - layers
            assert abs(gone - count * before[kind] / gemma.layers) <= 1
            assert layers <= last[kind]
        last = now
    assert sent(None, 4096, gemma) == sent(Prune(), 4096, gemma)
