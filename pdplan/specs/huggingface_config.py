"""What a Hugging Face configuration says, and what only the code of its `model_type` does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MISSING = "missing from config.json; it cannot be derived"


@dataclass(frozen=True, slots=True)
class Config:
    """Part of a configuration; notes what is missing, and what is assumed."""

    data: Mapping[str, Any]
    at: str
    """Where the part is, for example `text_config.`."""
    name: str
    unknown: list[str]
    missing: list[str] = field(default_factory=list)

    def part(self, key: str) -> "Config":
        """Read the mapping below a key; what it misses is noted here too."""
        below = self.data.get(key)
        data = below if isinstance(below, Mapping) else {}
        return Config(data, f"{self.at}{key}.", self.name, self.unknown, self.missing)

    def number(self, *keys: str) -> int:
        """Whole number under the first key that is present; noted as missing where none is."""
        for key in keys:
            value = self.data.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        if self.at + keys[0] not in self.missing:
            self.missing.append(self.at + keys[0])
        return 1

    def optional(self, key: str) -> int:
        """Whole number under a key, 0 where absent or null."""
        value = self.data.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def flag(self, key: str, *, default: bool) -> bool:
        """Truth under a key; the family's default is noted as assumed where it is absent."""
        value = self.data.get(key)
        if isinstance(value, bool):
            return value
        self.assume(key, default)
        return default

    def assume(self, key: str, value: object, why: str = "the family's default") -> None:
        """Note that a value was not in the configuration."""
        shown = str(value).lower() if isinstance(value, bool) else value
        self.unknown.append(f"{self.at}{key}: assumed {shown} ({why})")


@dataclass(frozen=True, slots=True)
class Family:
    """What the code of a `model_type` fixes and its configuration does not say."""

    qkv_bias: bool | str = False
    """A string is the key that says it."""
    output_bias: bool | str = False
    qk_norm: Literal["none", "head", "width", "use_qk_norm"] = "none"
    tied: bool = False
    """Where `tie_word_embeddings` is left out."""
    head_dim_key: bool = False
    """`head_dim` must be given; elsewhere its absence means hidden size / heads."""
    norms_per_layer: int = 2
    windows: Literal["none", "all", "use_sliding_window", "even", "pattern", "chunked"] = "none"
    moe: Literal["none", "all", "qwen", "deepseek", "llama4"] = "none"
    latent: bool = False
    hybrid: bool = False
    old: Literal["", "opt", "bloom"] = ""
    extra: tuple[str, ...] = ()
    """Options of attention that every layer has."""


_LLAMA = Family(qkv_bias="attention_bias", output_bias="attention_bias")
_QWEN2 = Family(qkv_bias=True, windows="use_sliding_window")
_QWEN3 = Family(
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    qk_norm="head",
    head_dim_key=True,
    windows="use_sliding_window",
)
_DEEPSEEK = Family(moe="deepseek", latent=True)
_QWEN3_MOE = Family(qk_norm="head", head_dim_key=True, windows="use_sliding_window", moe="qwen")
_GEMMA3 = Family(qk_norm="head", tied=True, head_dim_key=True, norms_per_layer=4, windows="pattern")
_LLAMA4 = Family(head_dim_key=True, windows="chunked", moe="llama4")

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "internlm2": Family(qkv_bias="bias", output_bias="bias"),
    "mistral": Family(windows="all"),
    "mixtral": Family(windows="all", moe="all"),
    "qwen2": _QWEN2,
    "qwen2_moe": Family(qkv_bias=True, windows="use_sliding_window", moe="qwen"),
    "qwen2_vl": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen3": _QWEN3,
    "qwen3_moe": _QWEN3_MOE,
    "qwen3_vl": _QWEN3,
    "qwen3_vl_text": _QWEN3,
    "qwen3_vl_moe": _QWEN3_MOE,
    "qwen3_vl_moe_text": _QWEN3_MOE,
    "qwen3_next": Family(
        qk_norm="head", head_dim_key=True, moe="qwen", hybrid=True, extra=("output_gate",)
    ),
    "gemma2": Family(tied=True, head_dim_key=True, norms_per_layer=4, windows="even"),
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "phi3": Family(windows="all"),
    "opt": Family(qkv_bias=True, output_bias=True, tied=True, old="opt"),
    "bloom": Family(qkv_bias=True, output_bias=True, tied=True, old="bloom"),
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "gpt_oss": Family(
        qkv_bias=True,
        output_bias=True,
        head_dim_key=True,
        windows="even",
        moe="all",
        extra=("sinks",),
    ),
    "glm4_moe": Family(
        qkv_bias="attention_bias", qk_norm="use_qk_norm", head_dim_key=True, moe="deepseek"
    ),
    "minimax_m2": Family(qk_norm="width", head_dim_key=True, moe="all"),
    "llama4": _LLAMA4,
    "llama4_text": _LLAMA4,
    "mllama": Family(),
    "mllama_text_model": Family(),
}
