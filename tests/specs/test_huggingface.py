import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.errors import SpecError
from pdplan.specs.base import validate
from pdplan.specs.huggingface import dump_yaml, from_huggingface, known_types
from pdplan.specs.model import ModelSpec, load_model
from pdplan.specs.source import parse_yaml

LLAMA = {
    "model_type": "llama",
    "attention_bias": False,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "v_head_dim": 128,
    "vocab_size": 129280,
}
KIMI = DEEPSEEK | {
    "model_type": "kimi_k2",
    "first_k_dense_replace": 1,
    "max_position_embeddings": 131072,
    "n_routed_experts": 384,
    "num_attention_heads": 64,
    "num_nextn_predict_layers": 0,
    "vocab_size": 163840,
}
DEEPSEEK_LITE = DEEPSEEK | {
    "model_type": "deepseek_v2",
    "first_k_dense_replace": 1,
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 27,
    "num_nextn_predict_layers": 0,
    "q_lora_rank": None,
    "quantization_config": None,
    "vocab_size": 102400,
}
QWEN3_MOE = {
    "model_type": "qwen3_moe",
    "attention_bias": False,
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,  # unused
    "max_position_embeddings": 40960,
    "max_window_layers": 48,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3_NEXT = QWEN3_MOE | {
    "model_type": "qwen3_next",
    "full_attention_interval": 4,
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "max_position_embeddings": 262144,
    "moe_intermediate_size": 512,
    "num_attention_heads": 16,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "num_key_value_heads": 2,
    "shared_expert_intermediate_size": 512,
}
GPT_OSS = {
    "model_type": "gpt_oss",
    "head_dim": 64,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "quantization_config": {"quant_method": "mxfp4"},
    "sliding_window": 128,
    "tie_word_embeddings": False,
    "vocab_size": 201088,
}
GEMMA2 = {
    "model_type": "gemma2",
    "head_dim": 256,
    "hidden_size": 3584,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 16,
    "num_hidden_layers": 42,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
    "vocab_size": 256000,
}
MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32000,
}
MISTRAL = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32000,
}
GLM = {
    "model_type": "glm4_moe",
    "attention_bias": True,
    "first_k_dense_replace": 3,
    "head_dim": 128,
    "hidden_size": 5120,
    "intermediate_size": 12288,
    "max_position_embeddings": 131072,
    "moe_intermediate_size": 1536,
    "n_routed_experts": 160,
    "n_shared_experts": 1,
    "num_attention_heads": 96,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 92,
    "num_key_value_heads": 8,
    "num_nextn_predict_layers": 1,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_qk_norm": True,
    "vocab_size": 151552,
}
MINIMAX = {
    "model_type": "minimax_m2",
    "head_dim": 128,
    "hidden_size": 3072,
    "intermediate_size": 1536,
    "max_position_embeddings": 196608,
    "num_attention_heads": 48,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 62,
    "num_key_value_heads": 8,
    "num_local_experts": 256,
    "num_mtp_modules": 3,
    "quantization_config": {"quant_method": "fp8"},
    "tie_word_embeddings": False,
    "use_mtp": True,
    "vocab_size": 200064,
}
OPT = {
    "model_type": "opt",
    "ffn_dim": 20480,
    "hidden_size": 5120,
    "max_position_embeddings": 2048,
    "num_attention_heads": 40,
    "num_hidden_layers": 40,
    "torch_dtype": "float16",
    "vocab_size": 50272,
}
BLOOM = {
    "model_type": "bloom",
    "n_embed": 14336,
    "n_layer": 70,
    "num_attention_heads": 112,
    "seq_length": 2048,
    "torch_dtype": "bfloat16",
    "vocab_size": 250880,
}
QWEN25_VL = {
    "model_type": "qwen2_5_vl",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 128000,
    "max_window_layers": 28,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "sliding_window": 32768,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vision_config": {
        "depth": 32,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
    },
    "vocab_size": 152064,
}
QWEN2_VL = QWEN25_VL | {
    "model_type": "qwen2_vl",
    "max_position_embeddings": 32768,
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "hidden_size": 3584,  # the output, not the tower
        "mlp_ratio": 4,
        "num_heads": 16,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}
QWEN3_VL = {
    "model_type": "qwen3_vl",
    "text_config": {
        "attention_bias": False,
        "dtype": "bfloat16",
        "head_dim": 128,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "max_position_embeddings": 262144,
        "model_type": "qwen3_vl_text",
        "num_attention_heads": 32,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "vocab_size": 151936,
    },
    "tie_word_embeddings": False,
    "vision_config": {
        "deepstack_visual_indexes": [8, 16, 24],
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "num_position_embeddings": 2304,
        "out_hidden_size": 4096,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}
INTERNVL = {
    "model_type": "internvl_chat",
    "downsample_ratio": 0.5,
    "llm_config": {
        "bias": False,
        "hidden_size": 6144,
        "intermediate_size": 16384,
        "max_position_embeddings": 32768,
        "model_type": "internlm2",
        "num_attention_heads": 48,
        "num_hidden_layers": 48,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
        "vocab_size": 92553,
    },
    "max_dynamic_patch": 12,
    "torch_dtype": "bfloat16",
    "use_thumbnail": True,
    "vision_config": {
        "hidden_size": 3200,
        "image_size": 448,
        "intermediate_size": 12800,
        "norm_type": "rms_norm",
        "num_attention_heads": 25,
        "num_hidden_layers": 45,
        "patch_size": 14,
        "qk_normalization": True,
        "qkv_bias": False,
    },
}
LLAVA = {
    "model_type": "llava",
    "text_config": {
        "attention_bias": False,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "max_position_embeddings": 4096,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
    },
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "vision_config": {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
    },
    "vision_feature_layer": -2,
}
GEMMA3 = {
    "model_type": "gemma3",
    "mm_tokens_per_image": 256,
    "text_config": {
        "head_dim": 128,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "max_position_embeddings": 131072,
        "model_type": "gemma3_text",
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
        "vocab_size": 262208,
    },
    "torch_dtype": "bfloat16",
    "vision_config": {
        "hidden_size": 1152,
        "image_size": 896,
        "intermediate_size": 4304,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
    },
}
MLLAMA = {
    "model_type": "mllama",
    "text_config": {
        "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "model_type": "mllama_text_model",
        "num_attention_heads": 32,
        "num_hidden_layers": 40,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
        "vocab_size": 128256,
    },
    "torch_dtype": "bfloat16",
    "vision_config": {
        "attention_heads": 16,
        "hidden_size": 1280,
        "image_size": 560,
        "intermediate_size": 5120,
        "max_num_tiles": 4,
        "num_global_layers": 8,
        "num_hidden_layers": 32,
        "patch_size": 14,
        "supported_aspect_ratios": [[1, n] for n in range(8)],
        "vision_output_dim": 7680,
    },
}
LLAMA4 = {
    "model_type": "llama4_text",
    "attention_chunk_size": 8192,
    "head_dim": 128,
    "hidden_size": 5120,
    "interleave_moe_layer_step": 2,
    "intermediate_size": 8192,  # of the experts
    "intermediate_size_mlp": 16384,
    "max_position_embeddings": 1048576,
    "num_attention_heads": 40,
    "num_experts_per_tok": 1,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "num_local_experts": 128,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 202048,
}
PHI3 = MISTRAL | {
    "model_type": "phi3",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "num_key_value_heads": 32,
    "sliding_window": 2047,
    "vocab_size": 32064,
}
QWEN25 = {
    "model_type": "qwen2",
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "max_position_embeddings": 131072,
    "max_window_layers": 70,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "sliding_window": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 152064,
}
QWEN3 = QWEN3_VL["text_config"] | {
    "model_type": "qwen3",
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
}

BUNDLED = {
    "llama-3.1-70b": LLAMA,
    "deepseek-v3": DEEPSEEK,
    "deepseek-v2-lite": DEEPSEEK_LITE,
    "kimi-k2": KIMI,
    "qwen3-30b-a3b": QWEN3_MOE,
    "qwen3-next-80b-a3b": QWEN3_NEXT,
    "qwen3-8b": QWEN3,
    "qwen2.5-72b": QWEN25,
    "gpt-oss-20b": GPT_OSS,
    "gemma-2-9b": GEMMA2,
    "gemma-3-27b": GEMMA3,
    "mixtral-8x7b": MIXTRAL,
    "mistral-7b-v0.1": MISTRAL,
    "phi-3-mini": PHI3,
    "glm-4.5": GLM,
    "minimax-m2.5": MINIMAX,
    "opt-13b": OPT,
    "bloom-176b": BLOOM,
    "qwen2-vl-7b": QWEN2_VL,
    "qwen2.5-vl-7b": QWEN25_VL,
    "qwen3-vl-8b": QWEN3_VL,
    "internvl2-26b": INTERNVL,
    "llava-1.5-7b": LLAVA,
    "llama-3.2-11b-vision": MLLAMA,
}


def read(config: dict, name: str = "mine") -> tuple[ModelSpec, list[str]]:
    mapping, unknown = from_huggingface(config, name)
    return validate(parse_yaml(dump_yaml(mapping), f"{name}.yaml"), ModelSpec), unknown


@pytest.mark.parametrize("name", BUNDLED)
def test_import_is_the_bundled_model(name):
    """Counts, caches and encoders agree with the files that come with pdplan."""
    model, unknown = read(BUNDLED[name])
    bundled = load_model(name)
    assert model.parameters() == bundled.parameters()
    assert sorted(model.attention, key=repr) == sorted(bundled.attention, key=repr)
    assert (model.ffn, model.moe) == (bundled.ffn, bundled.moe)
    assert model.checkpoint_dtype == bundled.checkpoint_dtype
    assert model.max_position == bundled.max_position
    stated = model.mtp_layers or any(line.startswith("mtp_layers: ") for line in unknown)
    assert bool(stated) == bool(bundled.mtp_layers)
    if bundled.vision is not None and model.vision is not None:
        same = {"name": "", "video": None}
        imported = model.vision.model_copy(update=same)
        assert imported == bundled.vision.model_copy(update=same)
        assert model.video == bundled.video


def test_llama4_decoder_is_the_bundled_one():
    """The encoder of this family is not read: `llama4_text` is the decoder alone."""
    model, _ = read(LLAMA4)
    bundled = load_model("llama-4-maverick")
    assert model.parameters().language == bundled.parameters().language
    assert model.attention == bundled.attention


def test_encoders_that_are_not_read_are_named():
    whole = {"model_type": "llama4", "text_config": LLAMA4, "vision_config": {"hidden_size": 1408}}
    model, unknown = read(whole)
    assert model.vision is None
    assert "vision, audio: encoders of 'llama4' are not read; this is the text alone" in unknown


def test_what_is_assumed_is_listed():
    _, unknown = read(GEMMA2)
    assert unknown == [
        "published: config.json states no number of parameters",
        "tie_word_embeddings: assumed true (the family's default)",
        "layer_types: assumed every second layer sliding (the family's default)",
    ]
    _, unknown = read(QWEN25_VL)
    assert unknown == [
        "published: config.json states no number of parameters",
        "vision.tokens.min_pixels: assumed 3136 px (preprocessor of the release; not in "
        "config.json)",
        "vision.tokens.max_pixels: assumed 12845056 px (preprocessor of the release; not in "
        "config.json)",
        "vision.video: assumed limits of qwen-vl-utils (not in config.json)",
    ]


def test_missing_keys_are_all_named():
    config = {k: v for k, v in QWEN3_MOE.items() if k not in ("num_key_value_heads", "head_dim")}
    with pytest.raises(SpecError) as caught:
        from_huggingface(config, "mine")
    assert str(caught.value) == (
        "mine: num_key_value_heads: missing from config.json; it cannot be derived\n"
        "mine: head_dim: missing from config.json; it cannot be derived"
    )


def test_missing_keys_of_a_part_have_its_path():
    vision = {k: v for k, v in QWEN25_VL["vision_config"].items() if k != "out_hidden_size"}
    with pytest.raises(SpecError) as caught:
        from_huggingface(QWEN25_VL | {"vision_config": vision}, "mine")
    assert str(caught.value) == (
        "mine: vision_config.out_hidden_size: missing from config.json; it cannot be derived"
    )


def test_unknown_type():
    with pytest.raises(SpecError) as caught:
        from_huggingface(LLAMA | {"model_type": "mixtrall"}, "mine")
    text = "mine: model_type: 'mixtrall' is not known; did you mean 'mixtral'?"
    assert str(caught.value) == text
    with pytest.raises(SpecError) as caught:
        from_huggingface({"model_type": "zzzz"}, "mine")
    known = ", ".join(known_types())
    assert str(caught.value) == f"mine: model_type: 'zzzz' is not known; known: {known}"
    with pytest.raises(SpecError) as caught:
        from_huggingface({}, "mine")
    assert str(caught.value) == f"mine: model_type: missing; known: {known}"


def test_unknown_language_model():
    inner = INTERNVL["llm_config"] | {"model_type": "zzzz"}
    with pytest.raises(SpecError) as caught:
        from_huggingface(INTERNVL | {"llm_config": inner}, "mine")
    assert str(caught.value) == "mine: llm_config.model_type: 'zzzz' is not known"


def test_sliding_window_counts_only_where_it_is_used():
    used, _ = read(QWEN25 | {"use_sliding_window": True})
    assert [(g.kind, g.layers) for g in used.attention] == [("full", 70), ("window", 10)]
    unused, _ = read(MISTRAL | {"sliding_window": None})
    assert [(g.kind, g.layers) for g in unused.attention] == [("full", 32)]


def test_unknown_quantization_is_assumed_bf16():
    model, unknown = read(LLAMA | {"quantization_config": {"quant_method": "quip"}})
    assert model.checkpoint_dtype == "bf16"
    assert "checkpoint_dtype: assumed bf16 (quantization 'quip' is not known)" in unknown
    model, _ = read(LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4}})
    assert model.checkpoint_dtype == "int4"


def test_yaml_reads_like_the_bundled_files():
    mapping, _ = from_huggingface(LLAMA, "mine")
    assert dump_yaml(mapping) == (
        "name: mine\n"
        "layers: 80\n"
        "hidden: 8192\n"
        "vocab: 128256\n"
        "tied_embeddings: false\n"
        "max_position: 131072\n"
        "checkpoint_dtype: bf16\n"
        "attention:\n"
        "  - {kind: full, layers: 80, heads: 64, kv_heads: 8, qk_dim: 128, v_dim: 128}\n"
        "ffn: {layers: 80, width: 28672}\n"
        "source: 'config.json of mine (Hugging Face, model_type llama)'\n"
        "confidence: medium\n"
    )


@given(st.text(max_size=40))
def test_any_text_survives_the_yaml(text):
    written = dump_yaml({"name": text or "x", "notes": text or "x"})
    read_back = parse_yaml(written, "x.yaml").data
    assert read_back["name"] == (text or "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**15) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(name=st.sampled_from(sorted(BUNDLED)), data=st.data())
def test_broken_configurations_end_in_a_message(name, data):
    config = dict(BUNDLED[name])
    key = data.draw(st.sampled_from(sorted(set(config) - {"model_type"})))
    config[key] = data.draw(JSON)
    with contextlib.suppress(SpecError):
        read(config)
