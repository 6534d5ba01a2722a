"""Vision and audio encoders: what they weigh, and what they do to an image, a video, a clip.

The patches that a tower encodes are not the tokens that the decoder sees: Gemma-3 encodes 4,096
for 256, Mllama 6,404 for one. Special tokens around an image (start, end, tile tags, timestamps)
are text of a handful of tokens and are not counted.
"""

from math import ceil
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.errors import UnfitError
from pdplan.specs.base import Count, PerSecond, Pixels, Seconds, Spec
from pdplan.specs.tiling import native_grid
from pdplan.specs.tokens import EncoderWork, ImageTokens

Number = Annotated[int, Field(ge=0, le=10**12, strict=True)]
ImageWork = EncoderWork


class Projector(Spec):
    """From the tower's width to the decoder's."""

    parameters: Number
    merge: Count = 1
    """Tower positions per position of the projector."""


class Tower(Spec):
    """Bidirectional transformer layers over patches or audio frames."""

    name: str
    layers: Count
    layers_used: Count | None = None
    """Layers that run where the last ones are not needed; they are stored all the same."""
    hidden: Count
    heads: Count
    head_dim: Count
    mlp_width: Count
    gated: bool = False
    norm: Literal["rms", "layer"] = "layer"
    attention_biases: Annotated[int, Field(ge=0, le=4, strict=True)] = 4
    """How many of the projections q, k, v and output have a bias."""
    mlp_bias: bool = True
    qk_norm: bool = False
    layer_scale: bool = False
    other_parameters: Number = 0
    """Weights outside the layers: patch embedding, positions, class token, outer norms."""
    projector: Projector
    output_width: Count
    """Width of one token as the decoder takes it."""

    @property
    def run_layers(self) -> int:
        """Layers that really run."""
        return self.layers_used or self.layers

    @property
    def layer_matmul_parameters(self) -> int:
        """Weights of one layer that every position is multiplied with."""
        attention = 4 * self.hidden * self.heads * self.head_dim
        return attention + (3 if self.gated else 2) * self.hidden * self.mlp_width

    @property
    def matmul_parameters(self) -> int:
        """Weights that every position is multiplied with, at two FLOPs each."""
        return self.run_layers * self.layer_matmul_parameters

    @property
    def tower_parameters(self) -> int:
        """All weights of the tower, without the projector."""
        inner, hidden = self.heads * self.head_dim, self.hidden
        small = self.attention_biases * inner
        small += ((2 if self.gated else 1) * self.mlp_width + hidden) * self.mlp_bias
        small += 2 * hidden * (2 if self.norm == "layer" else 1)
        small += 2 * inner * self.qk_norm + 2 * hidden * self.layer_scale
        return self.layers * (self.layer_matmul_parameters + small) + self.other_parameters

    @property
    def projector_parameters(self) -> int:
        """Weights of the projector; each of its positions is multiplied with all of them."""
        return self.projector.parameters

    @property
    def parameters(self) -> int:
        """Tower and projector."""
        return self.tower_parameters + self.projector_parameters


class FramePairs(Spec):
    """Video in native resolution whose frames are merged in time (Qwen-VL).

    Source: `fetch_video` of qwen-vl-utils; Qwen2-VL report, arXiv 2409.12191, section 2.1.
    """

    rule: Literal["frame_pairs"]
    frames_per_step: Count = 2
    factor: Count
    """Pixels per token along a side."""
    frame_min_pixels: Pixels
    frame_max_pixels: Pixels
    video_max_pixels: Pixels
    """Budget that the merged frames of one video share."""
    min_frames: Count = 4
    max_frames: Count = 768


class Frames(Spec):
    """Video as a row of images of one size each."""

    rule: Literal["frames"]
    tokens_per_frame: Count
    positions_per_frame: Count


Video = Annotated[FramePairs | Frames, Field(discriminator="rule")]


class VisionEncoder(Tower):
    """A vision tower and the rule by which images become its patches and the decoder's tokens."""

    patch: Count
    """Pixels per patch along a side."""
    full_attention_layers: Number | None = None
    """Layers whose positions see the whole segment, if not all; the rest see their window."""
    window_positions: Count | None = None
    deepstack_levels: Number = 0
    """Further embeddings per token that go to the decoder's first layers."""
    tokens: ImageTokens
    video: Video | None = None

    @model_validator(mode="after")
    def _windows_are_whole(self) -> "VisionEncoder":
        if (self.full_attention_layers is None) != (self.window_positions is None):
            message = "full_attention_layers and window_positions come together"
            raise ValueError(message)
        if (self.full_attention_layers or 0) > self.layers:
            message = f"full_attention_layers {self.full_attention_layers} of {self.layers} layers"
            raise ValueError(message)
        return self

    @property
    def embedding_width(self) -> int:
        """Values per token handed to the decoder."""
        return self.output_width * (1 + self.deepstack_levels)

    def image_work(
        self,
        width: int,
        height: int,
        images_in_request: int = 1,
        *,
        min_pixels: float | None = None,
        max_pixels: float | None = None,
        max_tiles: int | None = None,
    ) -> EncoderWork:
        """Work of one image [px]; limits that an engine sets differently may be overridden."""
        _positive(self.name, width=width, height=height, images_in_request=images_in_request)
        limits = {"min_pixels": min_pixels, "max_pixels": max_pixels, "max_tiles": max_tiles}
        changed = {key: value for key, value in limits.items() if value is not None}
        unknown = sorted(set(changed) - set(type(self.tokens).model_fields))
        if unknown:
            message = f"{self.name}: the rule '{self.tokens.rule}' has no {', '.join(unknown)}"
            raise UnfitError(message)
        rule = self.tokens.model_copy(update=changed) if changed else self.tokens
        return self._finish(rule.work(width, height, images_in_request, patch=self.patch))

    def video_work(self, frames: int, width: int, height: int) -> EncoderWork:
        """Work of one video of sampled frames [px]."""
        _positive(self.name, frames=frames, width=width, height=height)
        video = self.video
        if video is None:
            message = f"{self.name}: no rule for videos is known"
            raise UnfitError(message)
        if video.rule == "frames":
            tokens, positions = video.tokens_per_frame, video.positions_per_frame
            return self._finish(EncoderWork.of_tiles(frames, tokens, positions))
        kept = min(max(frames, video.min_frames), video.max_frames)
        steps = ceil(kept / video.frames_per_step)
        share = video.video_max_pixels / steps
        most = max(min(video.frame_max_pixels, share), 1.05 * video.frame_min_pixels)
        columns, rows = native_grid(
            width, height, factor=video.factor, min_pixels=video.frame_min_pixels, max_pixels=most
        )
        patches = columns * rows * (video.factor // self.patch) ** 2
        return self._finish(EncoderWork.of_tiles(steps, columns * rows, patches))

    def _finish(self, work: EncoderWork) -> EncoderWork:
        return work.with_tower(window=self.window_positions, merge=self.projector.merge)


class AudioEncoder(Tower):
    """An audio tower that takes clips in chunks of one length, padded."""

    chunk: Seconds
    positions_per_chunk: Count
    tokens_per_s: PerSecond
    max_audio: Seconds | None = None
    """Longer audio is cut here."""

    @property
    def embedding_width(self) -> int:
        """Values per token handed to the decoder."""
        return self.output_width

    def audio_work(self, seconds: float) -> EncoderWork:
        """Work of one clip [s]."""
        if not 0 < seconds < float("inf"):
            message = f"{self.name}: a clip lasts a positive time; got {seconds} s"
            raise UnfitError(message)
        heard = min(seconds, self.max_audio or seconds)
        whole, rest = divmod(heard, self.chunk)
        tokens = int(whole) * ceil(self.chunk * self.tokens_per_s) + ceil(rest * self.tokens_per_s)
        chunks = ceil(heard / self.chunk)
        work = EncoderWork.of_tiles(chunks, 0, self.positions_per_chunk, llm_tokens=tokens)
        return work.with_tower(window=None, merge=self.projector.merge)


def _positive(name: str, **sizes: int) -> None:
    for key, value in sizes.items():
        if value < 1:
            message = f"{name}: {key} must be at least 1; got {value}"
            raise UnfitError(message)
