"""Vision and audio encoding of one request's media on candidate instances."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pdplan.errors import UnfitError
from pdplan.physics.attention import attention_s, padded_head_dim
from pdplan.physics.roofline import Floats, joined_s
from pdplan.specs.encoder import AudioEncoder, VisionEncoder
from pdplan.specs.model import ModelSpec
from pdplan.specs.tokens import EncoderWork
from pdplan.specs.traffic import Traffic
from pdplan.stages.injection import injected_tokens
from pdplan.stages.layers import ACTIVATION_BYTES, NORM_BYTES
from pdplan.stages.llm import Pass, all_reduce_s
from pdplan.stages.machine import Machines


@dataclass(frozen=True, slots=True, eq=False)
class MediaWork:
    """What the media of each support point ask of towers and decoder, each [S]."""

    llm_tokens: Floats
    """Tokens that media add to the prompt."""
    cross_tokens: Floats
    """Encoder positions that cross-attention layers see."""
    items: Floats
    """Images and clips to encode, which the host has to prepare."""
    megapixels: Floats
    """Millions of pixels of those images."""
    frames: Floats
    """Video frames the host has to prepare."""
    pieces: Floats
    """Tiles, video steps and chunks of sound that can be encoded apart."""
    vision: "TowerWork"
    audio: "TowerWork"

    @property
    def any(self) -> bool:
        """Whether any request has media to encode."""
        return bool(self.present.any())

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which support points have media to encode [S]."""
        return np.asarray(self.items + self.frames > 0)


@dataclass(frozen=True, slots=True, eq=False)
class TowerWork:
    """What one tower does for each support point, each [S]."""

    positions: Floats
    """Patches or frames run through the layers."""
    segment_pairs: Floats
    """Pairs of positions that see each other in a full-attention layer."""
    window_pairs: Floats
    """Pairs that see each other in a windowed layer."""
    projected: Floats
    """Positions run through the projector."""

    @classmethod
    def of(cls, items: Sequence[tuple[float, EncoderWork | None]]) -> "TowerWork":
        """Sum up (count, work of one item) per support point."""
        rows = [
            (n * w.positions, n * w.positions * w.segment, n * w.positions * w.window,
             n * w.projector_positions) if w is not None else (0.0,) * 4
            for n, w in items
        ]  # fmt: skip
        return cls(*np.array(rows, float).reshape(-1, 4).T)

    def times(self, share: Floats) -> "TowerWork":
        """A share of the work of each support point [S]."""
        return TowerWork(*(getattr(self, f.name) * share for f in fields(self)))


def media_work(model: ModelSpec, traffic: Traffic) -> MediaWork:
    """Sum the work of every request's images, video and audio; text-only points are all zero.

    Media that were encoded before are tokens, but no work.

    Raises UnfitError where the traffic carries media that the model cannot read.
    """
    images = [_images(model, traffic, i) for i in range(len(traffic.weight))]
    videos = [_video(model, traffic, i) for i in range(len(traffic.weight))]
    clips = [_clip(model, traffic, i) for i in range(len(traffic.weight))]
    everything = list(zip(images, videos, clips, strict=True))
    seen = TowerWork.of(images)
    moving = TowerWork.of(videos)
    new = traffic.to_encode
    return MediaWork(
        llm_tokens=_total(everything, "llm_tokens")
        if model.vision_inject is None
        else injected_tokens(model, traffic),
        cross_tokens=_total(everything, "cross_tokens"),
        items=np.asarray((traffic.images + (traffic.audio_s > 0)) * new, float),
        megapixels=traffic.images * traffic.image_width * traffic.image_height / 1e6 * new,
        frames=np.asarray(traffic.video_frames * new, float),
        pieces=_total(everything, "tiles") * new,
        vision=TowerWork(
            seen.positions + moving.positions,
            seen.segment_pairs + moving.segment_pairs,
            seen.window_pairs + moving.window_pairs,
            seen.projected + moving.projected,
        ).times(new),
        audio=TowerWork.of(clips).times(new),
    )


Item = tuple[float, EncoderWork | None]


def _total(everything: Sequence[tuple[Item, ...]], name: str) -> Floats:
    return np.array(
        [sum(n * getattr(w, name) for n, w in row if w is not None) for row in everything], float
    )


def _images(model: ModelSpec, traffic: Traffic, i: int) -> Item:
    count = float(traffic.images[i])
    if count <= 0:
        return 0.0, None
    if model.vision is None:
        raise _cannot_read(model, "images")
    width, height = round(float(traffic.image_width[i])), round(float(traffic.image_height[i]))
    return count, model.vision.image_work(width, height, max(1, round(count)))


def _video(model: ModelSpec, traffic: Traffic, i: int) -> Item:
    frames = round(float(traffic.video_frames[i]))
    if frames <= 0:
        return 0.0, None
    if model.vision is None:
        raise _cannot_read(model, "video")
    width, height = round(float(traffic.video_width[i])), round(float(traffic.video_height[i]))
    return 1.0, model.vision.video_work(frames, width, height)


def _clip(model: ModelSpec, traffic: Traffic, i: int) -> Item:
    seconds = float(traffic.audio_s[i])
    if seconds <= 0:
        return 0.0, None
    if model.audio is None:
        raise _cannot_read(model, "audio")
    return 1.0, model.audio.audio_work(seconds)


def _cannot_read(model: ModelSpec, media: str) -> UnfitError:
    return UnfitError(f"model '{model.name}' has no encoder for {media}, which the workload sends")


@dataclass(frozen=True, slots=True, eq=False)
class EncodeTimes:
    """Encoding of one request's media, each [C, S]; zero for text-only requests."""

    device_s: Floats
    """Time the accelerator is busy."""
    host_s: Floats
    """Time the host prepares the media before."""
    fixed_s: Floats
    """Part of the device time that every instance takes which encodes any of them: launches."""


def encode_times(model: ModelSpec, m: Machines, work: MediaWork) -> EncodeTimes:
    """Time to encode each support point's media alone on one instance.

    Towers run in 16 bits, sharded over the instance's TP ranks, one request at a time.
    """
    device: Floats = np.zeros((len(m.tp), len(work.items)))
    fixed = device
    for tower, load in ((model.vision, work.vision), (model.audio, work.audio)):
        if tower is not None:
            timed = tower_pass(m, tower, load)
            device = device + timed.total_s
            fixed = fixed + timed.overhead_s
    host = m.encoder_item_s * work.items + m.encoder_frame_s * work.frames
    host = host + m.encoder_megapixel_s * work.megapixels
    return EncodeTimes(device_s=device, host_s=np.asarray(host), fixed_s=fixed)


def tower_pass(m: Machines, tower: VisionEncoder | AudioEncoder, load: TowerWork) -> Pass:
    """One pass of a tower over all positions of a request [C, S]; no time for none.

    Matrix products as in the decoder, in 16 bits; norms, rotation and activation by their bytes;
    attention within segments and windows; launches and all-reduces per layer.
    """
    weights = tower.matmul_parameters + tower.projector_parameters
    flops = tower.matmul_parameters * load.positions + tower.projector_parameters * load.projected
    flops = 2 * flops / m.tp
    moved = weights * ACTIVATION_BYTES / m.tp
    some = load.positions > 0
    layers = tower.run_layers
    compute = flops / m.half_flops_per_s
    memory = np.where(some, moved / m.half_stream_bytes_per_s, 0.0)
    inner = tower.heads * tower.head_dim
    sharded = 8 * inner + (6 if tower.gated else 4) * tower.mlp_width
    traffic = 2 * NORM_BYTES * tower.hidden + sharded / m.tp
    traffic_s = layers * load.positions * traffic / m.elementwise_bytes_per_s
    full = getattr(tower, "full_attention_layers", None)
    full = layers if full is None else full
    pairs = full * load.segment_pairs + (layers - full) * load.window_pairs
    attention: Floats = np.zeros(1)
    head = 4 * padded_head_dim(tower.head_dim)
    for count, seen in ((full, load.segment_pairs), (layers - full, load.window_pairs)):
        attention = attention + count * attention_s(
            tower.heads * head * seen / m.tp,
            head * seen / np.maximum(load.positions, 1.0),
            0.0,
            m.encoder_attention_flops_per_s,
            m.peak_bytes_per_s,
            m.encoder_attention_fill,
            m.encoder_floor_s,
        )
    attention = np.where(some, attention, 0.0)
    size = np.asarray(load.positions * tower.hidden * ACTIVATION_BYTES)
    network = np.where(some, 2 * layers * all_reduce_s(m, size), 0.0)
    overhead = np.where(some, layers * m.encoder_layer_s + m.step_s, 0.0)
    products = joined_s(compute, memory, m.norm)
    roof = (flops + 4 * inner * pairs / m.tp) / m.half_peak_flops_per_s
    return Pass(
        total_s=products + traffic_s + attention + network + overhead,
        compute_s=compute + attention,
        memory_s=memory + traffic_s,
        network_s=network,
        overhead_s=overhead,
        roof_s=np.maximum(roof, np.where(some, moved / m.peak_bytes_per_s, 0.0)),
    )
