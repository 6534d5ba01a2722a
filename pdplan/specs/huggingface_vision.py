"""Vision towers of Hugging Face configurations.

Limits of image preprocessors are not in `config.json`: they are those of the release, and listed
as assumed.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pdplan.specs.huggingface_config import Config

Tower = dict[str, Any]
_RELEASE = "preprocessor of the release; not in config.json"


def _native(root: Config, factor: int, limits: tuple[int, int]) -> Tower:
    for key, value in zip(("min_pixels", "max_pixels"), limits, strict=True):
        root.assume(f"vision.tokens.{key}", f"{value} px", _RELEASE)
    area = factor**2
    root.assume("vision.video", "limits of qwen-vl-utils", "not in config.json")
    return {
        "tokens": {
            "rule": "native",
            "factor": factor,
            "min_pixels": f"{limits[0]} px",
            "max_pixels": f"{limits[1]} px",
        },
        "video": {
            "rule": "frame_pairs",
            "factor": factor,
            "frame_min_pixels": f"{128 * area} px",
            "frame_max_pixels": f"{768 * area} px",
            "video_max_pixels": f"{115_200 * area} px",
            "min_frames": 4,
            "max_frames": 768,
        },
    }


def _tower(name: str, layers: int, hidden: int, heads: int, width: int) -> Tower:
    return {
        "name": name,
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "head_dim": hidden // heads,
        "mlp_width": width,
    }


def _qwen2_vl(root: Config, tower: Config, decoder: Config) -> Tower:
    """In this family `hidden_size` is the output width and `embed_dim` that of the tower."""
    hidden, out = tower.number("embed_dim"), tower.number("hidden_size")
    patch, merge = tower.number("patch_size"), tower.number("spatial_merge_size")
    joined = hidden * merge**2
    width = hidden * tower.number("mlp_ratio")
    found = _tower("Qwen2-VL ViT", tower.number("depth"), hidden, tower.number("num_heads"), width)
    found["other_parameters"] = 3 * tower.number("temporal_patch_size") * patch**2 * hidden
    found["patch"] = patch
    mixed = 2 * hidden + joined * (joined + 1) + (joined + 1) * out
    found["projector"] = {"parameters": mixed, "merge": merge**2}
    found["output_width"] = out
    return found | _native(root, patch * merge, (3136, 12_845_056))


def _qwen25_vl(root: Config, tower: Config, decoder: Config) -> Tower:
    hidden, out = tower.number("hidden_size"), tower.number("out_hidden_size")
    patch, merge = tower.number("patch_size"), tower.number("spatial_merge_size")
    joined, layers = hidden * merge**2, tower.number("depth")
    width, heads = tower.number("intermediate_size"), tower.number("num_heads")
    found = _tower("Qwen2.5-VL ViT", layers, hidden, heads, width)
    found |= {"gated": True, "norm": "rms"}
    found["other_parameters"] = 3 * tower.number("temporal_patch_size") * patch**2 * hidden
    found["patch"] = patch
    full = tower.data.get("fullatt_block_indexes")
    if not isinstance(full, list):
        tower.number("fullatt_block_indexes")
        full = []
    found["full_attention_layers"] = len(full)
    found["window_positions"] = (tower.number("window_size") // patch) ** 2
    mixed = hidden + joined * (joined + 1) + (joined + 1) * out
    found["projector"] = {"parameters": mixed, "merge": merge**2}
    found["output_width"] = out
    return found | _native(root, patch * merge, (3136, 12_845_056))


def _qwen3_vl(root: Config, tower: Config, decoder: Config) -> Tower:
    hidden, out = tower.number("hidden_size"), tower.number("out_hidden_size")
    patch, merge = tower.number("patch_size"), tower.number("spatial_merge_size")
    joined, layers = hidden * merge**2, tower.number("depth")
    width, heads = tower.number("intermediate_size"), tower.number("num_heads")
    levels = tower.data.get("deepstack_visual_indexes")
    if not isinstance(levels, list):
        tower.number("deepstack_visual_indexes")
        levels = []
    found = _tower("Qwen3-VL ViT", layers, hidden, heads, width)
    stem = (3 * tower.number("temporal_patch_size") * patch**2 + 1) * hidden
    found["other_parameters"] = stem + tower.number("num_position_embeddings") * hidden
    found["patch"] = patch
    mixed = joined * (joined + 1) + (joined + 1) * out
    parameters = (1 + len(levels)) * mixed + 2 * hidden + 2 * joined * len(levels)
    found["projector"] = {"parameters": parameters, "merge": merge**2}
    found |= {"output_width": out, "deepstack_levels": len(levels)}
    return found | _native(root, patch * merge, (65_536, 16_777_216))


def _internvl(root: Config, tower: Config, decoder: Config) -> Tower:
    hidden, out = tower.number("hidden_size"), decoder.number("hidden_size")
    heads, image = tower.number("num_attention_heads"), tower.number("image_size")
    patch, width = tower.number("patch_size"), tower.number("intermediate_size")
    ratio = root.data.get("downsample_ratio")
    if not isinstance(ratio, float | int) or not 0 < ratio <= 1:
        root.number("downsample_ratio")
        ratio = 0.5
    merge, patches = round(1 / ratio**2), (image // patch) ** 2
    found = _tower("InternViT", tower.number("num_hidden_layers"), hidden, heads, width)
    if tower.data.get("norm_type") == "rms_norm":
        found["norm"] = "rms"
    found["attention_biases"] = 4 if tower.flag("qkv_bias", default=True) else 1
    if tower.data.get("qk_normalization") is True:
        found["qk_norm"] = True
    found["layer_scale"] = True
    found["other_parameters"] = (3 * patch**2 + 1) * hidden + (patches + 2) * hidden
    found["patch"] = patch
    joined = hidden * merge
    mixed = 2 * joined + (joined + 1) * out + (out + 1) * out
    found["projector"] = {"parameters": mixed, "merge": merge}
    found["output_width"] = out
    found["tokens"] = {
        "rule": "aspect_tiles",
        "tile": image,
        "max_tiles": root.number("max_dynamic_patch"),
        "thumbnail": root.flag("use_thumbnail", default=True),
        "tokens_per_tile": max(patches // merge, 1),
        "positions_per_tile": patches + 1,
    }
    frame = {"tokens_per_frame": max(patches // merge, 1), "positions_per_frame": patches + 1}
    return found | {"video": {"rule": "frames"} | frame}


def _llava(root: Config, tower: Config, decoder: Config) -> Tower:
    hidden, out = tower.number("hidden_size"), decoder.number("hidden_size")
    heads, layers = tower.number("num_attention_heads"), tower.number("num_hidden_layers")
    patch, width = tower.number("patch_size"), tower.number("intermediate_size")
    patches = (tower.number("image_size") // patch) ** 2
    found = _tower("CLIP ViT", layers, hidden, heads, width)
    feature = root.data.get("vision_feature_layer")
    if not isinstance(feature, int):
        feature = -2
        root.assume("vision_feature_layer", feature)
    if feature < -1:
        found["layers_used"] = layers + 1 + feature
    found["other_parameters"] = (3 * patch**2 + patches + 2 + 4) * hidden
    found["patch"] = patch
    found["projector"] = {"parameters": (hidden + 1) * out + (out + 1) * out, "merge": 1}
    found["output_width"] = out
    return found | {"tokens": {"rule": "fixed", "tokens": patches, "positions": patches + 1}}


def _gemma3(root: Config, tower: Config, decoder: Config) -> Tower:
    hidden, out = tower.number("hidden_size"), decoder.number("hidden_size")
    heads, layers = tower.number("num_attention_heads"), tower.number("num_hidden_layers")
    patch, width = tower.number("patch_size"), tower.number("intermediate_size")
    patches, tokens = (
        (tower.number("image_size") // patch) ** 2,
        root.number("mm_tokens_per_image"),
    )
    found = _tower("SigLIP", layers, hidden, heads, width)
    found["other_parameters"] = (3 * patch**2 + 1 + patches + 2) * hidden
    found["patch"] = patch
    merge = max(patches // tokens, 1)
    found["projector"] = {"parameters": hidden * out + hidden, "merge": merge}
    found["output_width"] = out
    return found | {"tokens": {"rule": "fixed", "tokens": tokens, "positions": patches}}


def _mllama(root: Config, tower: Config, decoder: Config) -> Tower:
    hidden, out = tower.number("hidden_size"), decoder.number("hidden_size")
    heads, width = tower.number("attention_heads"), tower.number("intermediate_size")
    gated, tiles = tower.number("num_global_layers"), tower.number("max_num_tiles")
    patch = tower.number("patch_size")
    positions = (tower.number("image_size") // patch) ** 2 + 1
    ratios = tower.data.get("supported_aspect_ratios")
    if not isinstance(ratios, list):
        tower.number("supported_aspect_ratios")
        ratios = []
    rows = (len(ratios) + 1) * tiles
    found = _tower("Mllama ViT", tower.number("num_hidden_layers") + gated, hidden, heads, width)
    found["attention_biases"] = 0
    weights = 3 * patch**2 + 1 + 4 + positions + rows * positions + 2 * rows
    found["other_parameters"] = weights * hidden + 3 + 2 * gated
    found["patch"] = patch
    joined = tower.number("vision_output_dim")
    found["projector"] = {"parameters": (joined + 1) * out, "merge": 1}
    found["output_width"] = out
    return found | {"tokens": {"rule": "canvas", "tokens": 1, "cross_tokens": tiles * positions}}


TOWERS: Mapping[str, Callable[[Config, Config, Config], Tower]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen25_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl,
    "internvl_chat": _internvl,
    "llava": _llava,
    "gemma3": _gemma3,
    "mllama": _mllama,
}
