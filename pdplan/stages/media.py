"""Media pre-processing: video decoding and image preparation, on CPU cores or video decoders.

Decoders and cores are resources of their own, beside the compute units and the memory bandwidth of
accelerators.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from pdplan.errors import UnfitError
from pdplan.physics.roofline import Floats
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.options.media_engine import MediaEngine
from pdplan.specs.traffic import Traffic
from pdplan.stages.encode import MediaWork
from pdplan.stages.machine import Machines, Shape
from pdplan.stages.memory import DeviceMemory

EPS = 1e-9
PIXEL_BYTES = 3


def decode_s(gops: ArrayLike, gop_s: ArrayLike, engines: ArrayLike = 1.0) -> Floats:
    """Time to decode a clip alone: ceil(G / engines) t_gop [s].

    gops = G, independent groups of pictures [-]; gop_s = t_gop of one engine [s]; engines = K e,
    those of K accelerators together. Valid for: GOPs of one length.
    Source: list scheduling of equal, independent jobs (Graham, 1969); the engine split is that of
    arXiv 2512.17574.

    >>> decode_s(60, 0.05, [1, 5, 10, 20, 40]).round(3).tolist()
    [3.0, 0.6, 0.3, 0.15, 0.1]
    """
    rounds = np.ceil(np.asarray(gops, float) / np.asarray(engines, float) - EPS)
    return np.asarray(rounds * np.asarray(gop_s, float))


def decode_rps(gops: ArrayLike, gop_s: ArrayLike, engines: ArrayLike = 1.0) -> Floats:
    """Clips that engines decode at most: engines / (G t_gop) [1/s], however they are grouped.

    >>> decode_rps(60, 0.05, [5, 40]).round(2).tolist()
    [1.67, 13.33]
    """
    work = np.asarray(gops, float) * np.asarray(gop_s, float)
    return np.asarray(np.asarray(engines, float) / work)


def core_decode_s(frames: ArrayLike, cores: ArrayLike, core_frames_per_s: ArrayLike) -> Floats:
    """Time of CPU cores that share a clip's frames: frames / (cores fps) [s].

    >>> float(core_decode_s(1800, 14, 200.0).round(3))
    0.643
    """
    rate = np.asarray(cores, float) * np.asarray(core_frames_per_s, float)
    return np.asarray(np.asarray(frames, float) / rate)


@dataclass(frozen=True, slots=True, eq=False)
class MediaTimes:
    """What the media of S support points ask of the stage M on C candidates."""

    engine: str
    engines: Floats
    """Video decoders, or CPU cores, of one instance [C]."""
    accelerators: Floats
    """Accelerators of one instance [C]."""
    group: Floats
    """Accelerators that decode a clip together, at most [C]."""
    gops: Floats
    """GOPs of a clip [S]."""
    gop_s: Floats
    """Time of one engine for one of them [S]."""
    host_s: Floats
    """Preparation of images and sound, and of frames on one core [C, S]."""
    frames_s: Floats
    """Part of it that cores share [C, S]."""

    @property
    def queued(self) -> Floats:
        """Support points that occupy engines [S]: 1 or 0."""
        busy = self.gops > 0 if self.engine != "cpu" else (self.host_s > 0).any(axis=0)
        return np.asarray(busy, float)

    def take(self, config: np.ndarray) -> "MediaTimes":
        """Candidates of some columns."""
        names = ("engines", "accelerators", "group", "host_s", "frames_s")
        return replace(self, **{name: getattr(self, name)[config] for name in names})


def media_times(
    option: MediaEngine,
    shapes: tuple[Shape, ...],
    m: Machines,
    hardware: Mapping[str, HardwareSpec],
    work: MediaWork,
    traffic: Traffic,
) -> MediaTimes:
    """Work out what media ask of each candidate's engines.

    Images and sound are prepared by one core each request, as the engine profile says; frames of
    the file are shared by all cores (`cpu`) or decoded by video decoders.
    Raises UnfitError for accelerators without video decoders.
    """
    gpus = np.array([shape.gpus for shape in shapes], float)
    images = m.encoder_item_s * work.items + m.encoder_megapixel_s * work.megapixels
    frames = np.asarray(traffic.video_frames, float) * option.frames_per_sample
    nothing = np.zeros_like(images)
    if option.engine == "cpu":
        each = m.encoder_frame_s
        if option.core_frames_per_s is not None:
            each = np.full_like(m.encoder_frame_s, 1 / option.core_frames_per_s)
        return MediaTimes(
            engine="cpu",
            engines=option.cores * gpus,
            accelerators=gpus,
            group=np.ones_like(gpus),
            gops=np.zeros_like(frames),
            gop_s=np.zeros_like(frames),
            host_s=images + each * frames,
            frames_s=each * frames + nothing,
        )
    each_has = np.array([_decoders(option, hardware[shape.hardware]) for shape in shapes], float)
    nodes = [hardware[shape.hardware].accelerators_per_node for shape in shapes]
    together = np.array([option.gpus or node for node in nodes], float)
    gops = _gops(option, frames)
    gop_s = np.full_like(frames, option.gop_time or 0.0)
    if option.decoder_frames_per_s is not None:
        gop_s = frames / np.where(gops > 0, gops, 1.0) / option.decoder_frames_per_s
    return MediaTimes(
        engine=option.engine,
        engines=each_has * gpus,
        accelerators=gpus,
        group=together if option.engine == "flashcodec" else np.ones_like(gpus),
        gops=gops,
        gop_s=gop_s,
        host_s=images,
        frames_s=nothing,
    )


def _gops(option: MediaEngine, frames: Floats) -> Floats:
    """GOPs of each support point's clip; one where a single decoder takes it whole."""
    if option.gops is not None:
        return np.where(frames > 0, float(option.gops), 0.0)
    if option.gop_frames is None:
        return np.where(frames > 0, 1.0, 0.0)
    return np.ceil(frames / option.gop_frames - EPS)


def _decoders(option: MediaEngine, hardware: HardwareSpec) -> int:
    if option.decoders is not None:
        return option.decoders
    known = hardware.video.decoders if hardware.video is not None else 0
    if known < 1:
        message = (
            f"{hardware.name} has no video decoders that are known; "
            f"options.media_engine.decoders says how many"
        )
        raise UnfitError(message)
    return known


def frame_bytes(option: MediaEngine, traffic: Traffic) -> float:
    """Decoded frames that an instance holds: clips x F H W 3 of the longest clip [B]; 0 for `cpu`.

    F are the frames that the encoder sees; every accelerator of an instance holds them.
    """
    if not option.on_device:
        return 0.0
    pixels = traffic.video_frames * traffic.video_width * traffic.video_height
    return float(np.max(pixels, initial=0.0)) * PIXEL_BYTES * option.clips


def with_frames(memory: DeviceMemory, size_bytes: float) -> DeviceMemory:
    """The same memory beside decoded frames."""
    return replace(memory, activations=memory.activations + size_bytes)
