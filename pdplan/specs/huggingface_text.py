"""Decoders of Hugging Face configurations.

Beware the fields that lie: Qwen3-MoE's `intermediate_size` is unused, Llama-4's is that of the
experts, Qwen2's `sliding_window` counts only with `use_sliding_window`.
"""

from collections.abc import Mapping
from typing import Any

from pdplan.specs.huggingface_config import Config, Family

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def decoder(config: Config, family: Family, root: Config) -> dict[str, Any]:
    """Keys of a model spec that describe the decoder."""
    bloom, opt = family.old == "bloom", family.old == "opt"
    layers = config.number("num_hidden_layers", *(("n_layer",) if bloom else ()))
    hidden = config.number("hidden_size", *(("n_embed",) if bloom else ()))
    known = config if "vocab_size" in config.data else root
    mapping: dict[str, Any] = {"name": config.name, "layers": layers, "hidden": hidden}
    mapping["vocab"] = known.number("vocab_size")
    if "cross_attention_layers" in config.data:
        mapping["embedding_rows"] = mapping["vocab"] + 8
    nearest = config if "tie_word_embeddings" in config.data else root
    mapping["tied_embeddings"] = nearest.flag("tie_word_embeddings", default=family.tied)
    if bloom:
        mapping["max_position"] = config.optional("seq_length") or 2048
        if not config.optional("seq_length"):
            config.assume("seq_length", 2048, "of the BLOOM release")
    else:
        mapping["max_position"] = config.number("max_position_embeddings")
    mapping["checkpoint_dtype"] = _dtype(config, root)
    if family.old:
        mapping["norm"] = "layer"
    if bloom:
        mapping["embedding_norm"] = True
    if opt:
        mapping["learned_positions"] = mapping["max_position"] + 2
    if family.norms_per_layer != 2:
        mapping["norms_per_layer"] = family.norms_per_layer
    predicted = config.optional("num_nextn_predict_layers") or (
        config.optional("num_mtp_modules") if config.data.get("use_mtp") else 0
    )
    if predicted:
        mapping["mtp_layers"] = predicted
    elif family.hybrid:
        config.unknown.append("mtp_layers: not in config.json; the Qwen3-Next release has 1")
    mapping["attention"] = _attention(config, family, layers, hidden)
    mapping.update(_feed_forward(config, family, layers, hidden))
    return mapping


def _dtype(config: Config, root: Config) -> str:
    for part in (root, config):
        method = part.data.get("quantization_config")
        if isinstance(method, Mapping):
            kind = str(method.get("quant_method", ""))
            if kind in ("fp8", "mxfp4"):
                return kind
            if method.get("bits") in (4, 8):
                return f"int{method['bits']}"
            part.assume("checkpoint_dtype", "bf16", f"quantization '{kind}' is not known")
            return "bf16"
    stated = [p.data.get(k) for p in (root, config) for k in ("torch_dtype", "dtype")]
    known = [_DTYPES[value] for value in stated if isinstance(value, str) and value in _DTYPES]
    if not known:
        root.assume("checkpoint_dtype", "bf16", "no torch_dtype")
    return known[0] if known else "bf16"


def _option(config: Config, value: bool | str) -> bool:
    return value if isinstance(value, bool) else config.flag(value, default=False)


def _attention(config: Config, family: Family, layers: int, hidden: int) -> list[dict[str, Any]]:
    heads = config.number("num_attention_heads", *(("n_head",) if family.old == "bloom" else ()))
    if family.latent:
        return [_latent(config, layers, heads)]
    kv_heads = heads if family.old else config.number("num_key_value_heads")
    dim = config.optional("head_dim")
    if not dim:
        dim = config.number("head_dim") if family.head_dim_key else hidden // heads
    base: dict[str, Any] = {"heads": heads, "kv_heads": kv_heads, "qk_dim": dim, "v_dim": dim}
    options: dict[str, Any] = {}
    if _option(config, family.qkv_bias):
        options["qkv_bias"] = True
    if _option(config, family.output_bias):
        options["output_bias"] = True
    norm: str = family.qk_norm
    if norm == "use_qk_norm":
        norm = "head" if config.flag("use_qk_norm", default=False) else "none"
    if norm != "none":
        options["qk_norm"] = norm
    options |= dict.fromkeys(family.extra, True)
    groups = []
    for kind, number in _kinds(config, family, layers).items():
        if not number:
            continue
        group: dict[str, Any] = {"kind": kind, "layers": number}
        if kind == "linear":
            group |= _linear(config)
        elif kind == "window":
            key = "attention_chunk_size" if family.windows == "chunked" else "sliding_window"
            group |= base | {"window": config.number(key)} | options
        else:
            group |= base | options | ({"qk_norm": "head"} if kind == "cross" else {})
        groups.append(group)
    return groups


def _kinds(config: Config, family: Family, layers: int) -> dict[str, int]:
    """How many layers there are of each kind."""
    types = config.data.get("layer_types")
    cross = config.data.get("cross_attention_layers")
    window = 0
    if isinstance(cross, list):
        return {"full": layers - len(cross), "cross": len(cross)}
    if family.hybrid:
        linear = layers - layers // config.number("full_attention_interval")
        if isinstance(types, list):
            linear = types.count("linear_attention")
        return {"full": layers - linear, "linear": linear}
    unused = {
        "none": True,
        "all": not config.optional("sliding_window"),
        "use_sliding_window": config.data.get("use_sliding_window") is not True,
    }
    if unused.get(family.windows, False):
        window = 0
    elif isinstance(types, list):
        window = types.count("sliding_attention") + types.count("chunked_attention")
    elif family.windows == "all":
        window = layers
    elif family.windows == "use_sliding_window":
        window = max(layers - config.number("max_window_layers"), 0)
    elif family.windows == "even":
        config.assume("layer_types", "every second layer sliding")
        window = (layers + 1) // 2
    elif family.windows == "pattern":
        window = layers - layers // config.number("sliding_window_pattern")
    elif family.windows == "chunked":
        rope = config.data.get("no_rope_layers")
        interval = config.optional("no_rope_layer_interval") or 4
        window = sum(rope) if isinstance(rope, list) and rope else layers - layers // interval
    return {"full": layers - window, "window": window}


def _latent(config: Config, layers: int, heads: int) -> dict[str, Any]:
    nope, rope = config.number("qk_nope_head_dim"), config.number("qk_rope_head_dim")
    group: dict[str, Any] = {"kind": "latent", "layers": layers, "heads": heads}
    group |= {"kv_heads": heads, "qk_dim": nope + rope, "v_dim": config.number("v_head_dim")}
    group["kv_lora_rank"] = config.number("kv_lora_rank")
    if "q_lora_rank" not in config.data:
        config.number("q_lora_rank")  # null means none, absence nothing
    if config.optional("q_lora_rank"):
        group["q_lora_rank"] = config.optional("q_lora_rank")
    return group | {"qk_nope_dim": nope, "qk_rope_dim": rope}


def _linear(config: Config) -> dict[str, Any]:
    return {
        "heads": config.number("linear_num_value_heads"),
        "kv_heads": config.number("linear_num_key_heads"),
        "qk_dim": config.number("linear_key_head_dim"),
        "v_dim": config.number("linear_value_head_dim"),
        "conv_kernel": config.number("linear_conv_kernel_dim"),
    }


def _feed_forward(config: Config, family: Family, layers: int, hidden: int) -> dict[str, Any]:
    if family.old == "bloom":
        return {"ffn": {"layers": layers, "width": 4 * hidden, "gated": False, "bias": True}}
    if family.old == "opt":
        width = config.number("ffn_dim")
        return {"ffn": {"layers": layers, "width": width, "gated": False, "bias": True}}
    if family.moe == "none":
        return {"ffn": {"layers": layers, "width": config.number("intermediate_size")}}
    dense, moe = _experts(config, family, layers)
    if "sinks" in family.extra:
        moe |= {"bias": True, "router_bias": True}
    found: dict[str, Any] = {}
    if dense:
        key = "intermediate_size_mlp" if family.moe == "llama4" else "intermediate_size"
        found["ffn"] = {"layers": dense, "width": config.number(key)}
    if layers - dense:
        found["moe"] = {"layers": layers - dense} | moe
    return found


def _experts(config: Config, family: Family, layers: int) -> tuple[int, dict[str, Any]]:
    """Dense layers, and what the others have."""
    topk = config.number("num_experts_per_tok", "experts_per_token")
    if family.moe == "deepseek":
        width, shared = config.number("moe_intermediate_size"), config.optional("n_shared_experts")
        moe = {"experts": config.number("n_routed_experts"), "topk": topk, "expert_width": width}
        if config.optional("moe_layer_freq") > 1:
            config.unknown.append("moe_layer_freq: is not followed; every later layer has experts")
        first = config.data.get("first_k_dense_replace")
        if not isinstance(first, int):
            first = config.number("first_k_dense_replace")
        return first, moe | ({"shared_width": shared * width} if shared else {})
    if family.moe == "qwen":
        moe = {"experts": config.number("num_experts"), "topk": topk}
        moe["expert_width"] = config.number("moe_intermediate_size")
        shared = config.optional("shared_expert_intermediate_size")
        if shared:
            moe |= {"shared_width": shared, "shared_gate": True}
        listed, step = config.data.get("mlp_only_layers"), config.optional("decoder_sparse_step")
        step = max(step, 1)
        only = {i for i in listed if isinstance(i, int)} if isinstance(listed, list) else set()
        skipped = sum(0 <= i < layers and (i + 1) % step == 0 for i in only)
        return layers - layers // step + skipped, moe
    width = config.number("intermediate_size")
    moe = {"experts": config.number("num_local_experts"), "topk": topk, "expert_width": width}
    if family.moe == "llama4":
        sparse_layers = layers // config.number("interleave_moe_layer_step")
        return layers - sparse_layers, moe | {"shared_width": width}
    return 0, moe
