"""Models as their makers publish them: the architecture is stated, never inferred."""

from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import Count, Spec, validate
from pdplan.specs.catalog import bundled, find
from pdplan.specs.encoder import AudioEncoder, Video, VisionEncoder
from pdplan.specs.injection import LateInjection
from pdplan.specs.parameters import ParameterCounts, count
from pdplan.specs.source import load_yaml

Confidence = Literal["high", "medium", "low"]
Source = Annotated[str, Field(min_length=3)]
Dtype = Literal["fp32", "bf16", "fp16", "fp8", "int8", "mxfp4", "nvfp4", "int4"]
Number = Annotated[int, Field(ge=0, le=10**12, strict=True)]


class AttentionLayers(Spec):
    """A group of layers with the same attention."""

    kind: Literal["full", "window", "linear", "cross", "latent"]
    """`window`: sliding or chunked; `latent`: MLA; `cross`: reads image tokens, not the text."""
    layers: Count
    heads: Count
    """Query heads; value heads of a linear layer."""
    kv_heads: Count
    """Key heads of a linear layer."""
    qk_dim: Count
    v_dim: Count
    window: Count | None = None
    """Tokens a position of a `window` layer can see."""
    kv_lora_rank: Count | None = None
    q_lora_rank: Count | None = None
    """None where the query is projected at once."""
    qk_nope_dim: Count | None = None
    qk_rope_dim: Count | None = None
    conv_kernel: Count | None = None
    """Taps of the causal convolution of a `linear` layer."""
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: Literal["none", "head", "width"] = "none"
    """Learned norm of queries and keys: per head, or over their whole width."""
    output_gate: bool = False
    """The output is gated by a projection as wide as the queries."""
    sinks: bool = False
    """One learned attention sink per head."""

    @model_validator(mode="after")
    def _kind_has_its_keys(self) -> "AttentionLayers":
        needed = {
            "window": ("window",),
            "linear": ("conv_kernel",),
            "latent": ("kv_lora_rank", "qk_nope_dim", "qk_rope_dim"),
        }.get(self.kind, ())
        allowed = (*needed, "q_lora_rank") if self.kind == "latent" else needed
        for key in needed:
            if getattr(self, key) is None:
                message = f"kind '{self.kind}' needs {key}"
                raise ValueError(message)
        for key in ("window", "conv_kernel", *_LATENT):
            if getattr(self, key) is not None and key not in allowed:
                message = f"kind '{self.kind}' has no {key}"
                raise ValueError(message)
        if self.kind == "latent" and (self.qk_nope_dim or 0) + (self.qk_rope_dim or 0) != (
            self.qk_dim
        ):
            message = f"qk_dim {self.qk_dim} is not qk_nope_dim + qk_rope_dim"
            raise ValueError(message)
        if self.heads % self.kv_heads:
            message = f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}"
            raise ValueError(message)
        return self

    @property
    def cache_values_per_token(self) -> int:
        """Elements that one layer caches per text token; 0 for linear and cross layers."""
        if self.kind == "latent":
            return (self.kv_lora_rank or 0) + (self.qk_rope_dim or 0)
        return 0 if self.kind in ("linear", "cross") else self.kv_heads * (self.qk_dim + self.v_dim)

    @property
    def cross_values_per_token(self) -> int:
        """Elements that one cross layer caches per image token; 0 for the other kinds."""
        return self.kv_heads * (self.qk_dim + self.v_dim) if self.kind == "cross" else 0

    @property
    def state_values(self) -> int:
        """Elements of the recurrent state of one linear layer, per sequence."""
        return self.heads * self.qk_dim * self.v_dim if self.kind == "linear" else 0

    @property
    def conv_values(self) -> int:
        """Elements of the convolution state of one linear layer, per sequence."""
        width = 2 * self.kv_heads * self.qk_dim + self.heads * self.v_dim
        return width * ((self.conv_kernel or 1) - 1) if self.kind == "linear" else 0

    @property
    def state_bytes(self) -> int:
        """Bytes per sequence of one linear layer: fp32 recurrent state and bf16 convolution."""
        return 4 * self.state_values + 2 * self.conv_values


_LATENT = ("kv_lora_rank", "q_lora_rank", "qk_nope_dim", "qk_rope_dim")


class DenseFfn(Spec):
    """Feed-forward layers that every token passes."""

    layers: Count
    width: Count
    gated: bool = True
    """Three matrices (SwiGLU, GeGLU) instead of two."""
    bias: bool = False


class Moe(Spec):
    """Feed-forward layers of which every token passes a few experts."""

    layers: Count
    experts: Count
    topk: Count
    expert_width: Count
    gated: bool = True
    bias: bool = False
    shared_width: Number = 0
    """Width of all shared experts together; 0 where there are none."""
    shared_gate: bool = False
    """The shared expert's output is scaled by a learned gate."""
    router_bias: bool = False

    @model_validator(mode="after")
    def _few_of_many(self) -> "Moe":
        if self.topk > self.experts:
            message = f"topk {self.topk} is more than the {self.experts} experts"
            raise ValueError(message)
        return self


class Published(Spec):
    """What the maker says of the size; a check on the count, never an input to it."""

    parameters: Annotated[int, Field(gt=0, le=10**14, strict=True)]
    active: Count | None = None
    """Parameters active per token, by the maker's own convention."""
    tolerance_percent: Annotated[float, Field(ge=0, le=10)] = 0.0
    """How far the count may be off: published totals are often rounded."""
    source: Source


class ModelSpec(Spec):
    """One model: everything that work, memory and traffic need to know of it."""

    name: str
    hf_id: str = ""
    layers: Count
    hidden: Count
    vocab: Count
    """Rows of the output matrix, padding included."""
    tied_embeddings: bool
    """Input and output embedding are one matrix: stored once, multiplied all the same."""
    max_position: Count
    checkpoint_dtype: Dtype = "bf16"
    """Type that the weights are published in (of a mix, the experts')."""
    embedding_rows: Count | None = None
    """Rows of the input embedding where they are not `vocab`."""
    learned_positions: Number = 0
    """Rows of a learned position table of the decoder."""
    norm: Literal["rms", "layer"] = "rms"
    norms_per_layer: Annotated[int, Field(ge=0, le=8, strict=True)] = 2
    embedding_norm: bool = False
    """A norm right after the embedding."""
    attention: Annotated[tuple[AttentionLayers, ...], Field(min_length=1)]
    ffn: DenseFfn | None = None
    moe: Moe | None = None
    mtp_layers: Number = 0
    """Multi-token-prediction layers in the checkpoint; they are not in the counts."""
    other_parameters: Number = 0
    """Weights outside decoder and encoders, such as a speech generator."""
    vision: VisionEncoder | None = None
    audio: AudioEncoder | None = None
    vision_inject: LateInjection | None = None
    """Where media enter the decoder's last layers instead of its prompt."""
    published: Published | None = None
    source: Source
    confidence: Confidence = "high"
    notes: str = ""

    @model_validator(mode="after")
    def _layers_add_up(self) -> "ModelSpec":
        found = {
            "attention": sum(group.layers for group in self.attention),
            "ffn and moe": sum(part.layers for part in (self.ffn, self.moe) if part),
        }
        for what, layers in found.items():
            if layers != self.layers:
                message = f"{what}: {layers} layers in all; expected the model's {self.layers}"
                raise ValueError(message)
        for encoder in (self.vision, self.audio):
            if encoder is not None and encoder.output_width != self.hidden:
                widths = f"{encoder.output_width} is not the model's hidden {self.hidden}"
                message = f"{encoder.name}: output_width {widths}"
                raise ValueError(message)
        late = self.vision_inject
        if late is not None and self.vision is None:
            message = "vision_inject: needs a vision encoder"
            raise ValueError(message)
        if late is not None and late.end_layer > self.layers:
            message = f"vision_inject: end_layer {late.end_layer} of {self.layers} layers"
            raise ValueError(message)
        return self

    @cached_property
    def _parameters(self) -> ParameterCounts:
        return count(self)

    def parameters(self) -> ParameterCounts:
        """Weights per component, counted from the stated architecture."""
        return self._parameters

    @property
    def video(self) -> Video | None:
        """How videos become tokens, where known."""
        return self.vision.video if self.vision is not None else None

    @property
    def soft_prompt_tokens(self) -> int:
        """Learned tokens in front of every prompt."""
        return self.vision_inject.soft_prompt_tokens if self.vision_inject is not None else 0

    @property
    def cross_layers(self) -> int:
        """Layers that attend to image tokens kept outside the sequence."""
        return sum(group.layers for group in self.attention if group.kind == "cross")

    @property
    def state_bytes_per_sequence(self) -> int:
        """Bytes of recurrent state of all layers, whatever the length of the sequence."""
        return sum(group.layers * group.state_bytes for group in self.attention)

    def kv_bytes_per_token(self, dtype_bytes: float, *, unbounded_only: bool = False) -> float:
        """Bytes cached per token by all layers, or by those whose cache grows without bound."""
        kinds = ("full", "latent") if unbounded_only else ("full", "latent", "window")
        groups = (group for group in self.attention if group.kind in kinds)
        return dtype_bytes * sum(g.layers * g.cache_values_per_token for g in groups)


@cache
def load_model(name: str, specs_dir: Path | None = None) -> ModelSpec:
    """Read a model by id or path; raises SpecError."""
    path = find("model", name, specs_dir)
    return validate(load_yaml(path), ModelSpec).marked(own=not bundled(path))
