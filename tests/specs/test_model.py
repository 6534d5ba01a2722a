import csv
import json
from pathlib import Path

import pytest

from pdplan.errors import SpecError
from pdplan.specs.base import validate
from pdplan.specs.catalog import bundled_root, names
from pdplan.specs.model import AttentionLayers, ModelSpec, load_model
from pdplan.specs.source import parse_yaml

LITERATURE = Path(__file__).parents[1] / "literature"
SHARED = Path(__file__).parents[2].parent / "shared" / "facts"
MODELS = sorted(path.stem for path in (bundled_root() / "models").glob("*.yaml"))
# Counts in the facts that leave out a part: the norms and gates of the cross-attention of Mllama.
LEFT_OUT = {"llama-3.2-11b-vision", "llama-3.2-90b-vision"}


def literature(name: str) -> list[dict[str, str]]:
    with (LITERATURE / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def facts() -> dict[str, dict]:
    found = {}
    for path in sorted((SHARED / "models").glob("*.json")):
        found[path.stem.lower()] = json.loads(path.read_text(encoding="utf-8"))
    return found


needs_facts = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no facts at {SHARED}")

BEYOND = {"ep-alm-opt-2.7b", "ep-alm-opt-6.7b", "opt-6.7b"}
"""Models that the facts do not list; other tests hold their totals."""


def test_there_are_models():
    assert len(MODELS) >= 68
    assert set(MODELS) <= set(names("model"))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_loads(name):
    model = load_model(name)
    assert model.name.lower() == name
    counts = model.parameters()
    assert counts is model.parameters()
    assert 0 < counts.flop_params_per_token <= counts.active_per_token + counts.head_matmul
    assert counts.active_per_token <= counts.language <= counts.total
    if model.published is not None and not model.published.tolerance_percent:
        assert counts.total == model.published.parameters


@pytest.mark.parametrize("row", literature("model_parameters.csv"), ids=lambda row: row["model"])
def test_totals_are_those_published(row):
    published = int(row["parameters"])
    tolerance = float(row["tolerance_percent"]) / 100 * published
    total = load_model(row["model"]).parameters().total
    assert total == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize("row", literature("kv_bytes_per_token.csv"), ids=lambda row: row["model"])
def test_cache_is_that_published(row):
    model = load_model(row["model"])
    assert model.kv_bytes_per_token(2) == int(row["all_layers"])
    assert model.kv_bytes_per_token(2, unbounded_only=True) == int(row["unbounded_layers"])


@needs_facts
def test_every_fact_has_a_model():
    assert set(facts()) == set(MODELS) - BEYOND


@needs_facts
@pytest.mark.parametrize("name", sorted(set(MODELS) - BEYOND))
def test_counts_are_the_facts(name):
    fact, model = facts()[name], load_model(name)
    counts = model.parameters()
    assert counts.total == fact["params_total_formula"]
    assert model.kv_bytes_per_token(2) == fact["kv_bytes_per_token_bf16_all_layers"]
    if "flop_params_per_token" not in fact:  # MiniMax-M2.5: a short entry, whose active count
        rel = 1e-4  # leaves out the norms
        assert counts.active_per_token == pytest.approx(fact["params_active_incl_embed"], rel=rel)
        return
    rel = 3e-7 if name in LEFT_OUT else 0
    flops = fact["flop_params_per_token"]
    assert counts.flop_params_per_token == pytest.approx(flops, rel=rel, abs=0)
    assert counts.language == fact["params_lm_formula"]
    assert counts.active_per_token == fact["params_active_incl_embed"]
    unbounded = fact["kv_bytes_per_token_bf16_unbounded_layers"]
    assert model.kv_bytes_per_token(2, unbounded_only=True) == unbounded
    encoder = fact.get("encoder", {})
    expected = sum(encoder.get(key, 0) for key in ("params_tower", "params_proj", "audio_params"))
    assert counts.vision + counts.projector + counts.audio == expected


def test_state_of_linear_layers():
    model = load_model("qwen3-next-80b-a3b")
    linear = next(group for group in model.attention if group.kind == "linear")
    assert linear.state_values == 524_288
    assert linear.conv_values == 24_576
    assert 36 * 4 * linear.state_values == 72 * 2**20  # 72 MiB of fp32 per sequence
    assert model.state_bytes_per_sequence == 36 * linear.state_bytes
    assert linear.cache_values_per_token == 0
    assert load_model("llama-3.1-8b").state_bytes_per_sequence == 0


def test_latent_cache_is_576_values():
    (group,) = load_model("deepseek-v3").attention
    assert group.cache_values_per_token == 576


@pytest.mark.parametrize(
    ("name", "megabytes"), [("llama-3.2-11b-vision", 210), ("llama-3.2-90b-vision", 525)]
)
def test_image_cache_of_cross_attention(name, megabytes):
    model = load_model(name)
    assert model.vision is not None
    tokens = model.vision.image_work(1000, 800).cross_tokens
    values = sum(group.layers * group.cross_values_per_token for group in model.attention)
    assert 2 * tokens * values == pytest.approx(megabytes * 1e6, rel=3e-3)
    assert model.cross_layers == sum(g.layers for g in model.attention if g.kind == "cross")


def test_tied_head_is_multiplied_all_the_same():
    counts = load_model("bloom-176b").parameters()
    assert counts.lm_head == 0
    assert counts.head_matmul == 250_880 * 14_336


def test_published_active_counts():
    """gpt-oss counts the head and not the embedding: 5.13B and 3.61B."""
    assert load_model("gpt-oss-120b").parameters().flop_params_per_token / 1e9 == pytest.approx(
        5.13, abs=0.005
    )
    assert load_model("gpt-oss-20b").parameters().flop_params_per_token / 1e9 == pytest.approx(
        3.61, abs=0.005
    )


TINY = """\
name: tiny
layers: 2
hidden: 8
vocab: 16
tied_embeddings: false
max_position: 32
attention:
  - {kind: full, layers: 2, heads: 2, kv_heads: 1, qk_dim: 4, v_dim: 4}
ffn: {layers: 2, width: 16}
source: by hand
"""


def read(text: str) -> ModelSpec:
    return validate(parse_yaml(text, "tiny.yaml"), ModelSpec)


def test_a_count_by_hand():
    counts = read(TINY).parameters()
    assert counts.embedding == counts.lm_head == 16 * 8
    assert counts.attention == 2 * (8 * 8 + 2 * 8 * 4 + 8 * 8)
    assert counts.dense_ffn == 2 * 3 * 8 * 16
    assert counts.norms == 2 * 2 * 8 + 8
    assert counts.flop_params_per_token == counts.total - 16 * 8 - 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "ffn: {layers: 2",
            "ffn: {layers: 3",
            "tiny.yaml:1: ffn and moe: 3 layers in all; expected the model's 2",
        ),
        (
            "layers: 2, heads",
            "layers: 1, heads",
            "tiny.yaml:7: attention: 1 layers in all; expected the model's 2",
        ),
        ("kind: full", "kind: window", "tiny.yaml:8: attention[0]: kind 'window' needs window"),
        (
            "kind: full",
            "window: 4, kind: full",
            "tiny.yaml:8: attention[0]: kind 'full' has no window",
        ),
        (
            "kv_heads: 1",
            "kv_heads: 3",
            "tiny.yaml:8: attention[0]: heads 2 is not a multiple of kv_heads 3",
        ),
        ("hidden: 8", "hiden: 8", "tiny.yaml:3: hiden: unknown key; did you mean 'hidden'?"),
        (
            "ffn: {layers: 2, width: 16}",
            "moe: {layers: 2, experts: 4, topk: 5, expert_width: 8}",
            "tiny.yaml:9: moe: topk 5 is more than the 4 experts",
        ),
    ],
)
def test_errors(old, new, message):
    with pytest.raises(SpecError) as caught:
        read(TINY.replace(old, new))
    assert message in str(caught.value).splitlines()


def test_latent_dimensions_must_agree():
    with pytest.raises(ValueError, match="qk_dim 192 is not qk_nope_dim"):
        AttentionLayers(
            kind="latent",
            layers=1,
            heads=2,
            kv_heads=2,
            qk_dim=192,
            v_dim=128,
            kv_lora_rank=512,
            qk_nope_dim=128,
            qk_rope_dim=32,
        )


def test_unknown_model_is_suggested():
    with pytest.raises(SpecError) as caught:
        load_model("lama-3.1-70b")
    assert str(caught.value) == "unknown model 'lama-3.1-70b'; did you mean 'llama-3.1-70b'?"
