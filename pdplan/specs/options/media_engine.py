"""What decodes video and prepares images before they are encoded."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import Count, PerSecond, Seconds, Spec

Ratio = Annotated[float, Field(ge=1, le=1e6)]


class MediaEngine(Spec):
    """Engine of the stage M: CPU cores, or the fixed-function video decoders of accelerators.

    A clip is a row of GOPs (groups of pictures) that can be decoded apart. Placements without M
    leave media to the host time of the engine profile, a delay that occupies nothing.
    """

    engine: Literal["cpu", "nvdec", "flashcodec"] = "cpu"
    """`cpu`: all cores of an instance work on one clip. `nvdec`: one decoder decodes one clip.
    `flashcodec`: a clip's GOPs are spread over the decoders of several accelerators."""
    cores: Count = 14
    """CPU cores for each accelerator; 14 are those of a DGX H100 (112 for 8)."""
    core_frames_per_s: PerSecond | None = None
    """Frames of the file that one core decodes and prepares; none is what the engine profile's host
    time per frame says."""
    decoders: Count | None = None
    """Video decoders of one accelerator; none is what its data sheet says."""
    decoder_frames_per_s: PerSecond | None = None
    """Frames of the file that one decoder decodes."""
    gop_time: Seconds | None = None
    """Time of one decoder for one GOP, instead of `decoder_frames_per_s`."""
    gops: Count | None = None
    """GOPs of every clip."""
    gop_frames: Count | None = None
    """Frames of the file in a GOP, instead of `gops`."""
    frames_per_sample: Ratio = 1.0
    """Frames of the file for each frame that the encoder sees: 30 where a video of 30 fps is
    sampled once a second."""
    gpus: Count | None = None
    """Accelerators that decode a clip together (`flashcodec`); none is a node's."""
    clips: Count = 2
    """Clips whose frames an instance holds in device memory: one encoded, one decoded."""

    @property
    def on_device(self) -> bool:
        """Whether decoded frames lie in device memory."""
        return self.engine != "cpu"

    @model_validator(mode="after")
    def _agrees(self) -> "MediaEngine":
        if self.gpus is not None and self.engine != "flashcodec":
            message = f"gpus: only flashcodec spreads a clip; the engine is {self.engine}"
            raise ValueError(message)
        if self.engine == "cpu":
            return self
        if (self.gop_time is None) == (self.decoder_frames_per_s is None):
            message = f"engine: {self.engine} needs one of gop_time, decoder_frames_per_s"
            raise ValueError(message)
        if self.gops is not None and self.gop_frames is not None:
            message = "gop_frames: a clip's GOPs are given as gops already; leave one out"
            raise ValueError(message)
        needed = self.engine == "flashcodec" or self.gop_time is not None
        if needed and self.gops is None and self.gop_frames is None:
            message = f"engine: {self.engine} needs the GOPs of a clip: gops or gop_frames"
            raise ValueError(message)
        return self
