"""Number formats: what they weigh and on which unit they multiply."""

from typing import Literal

Dtype = Literal["bf16", "fp16", "fp8", "int8", "int4", "mxfp4", "nvfp4"]
CacheDtype = Literal["bf16", "fp16", "fp8", "int8"]

DTYPE_BYTES: dict[str, float] = {
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.53125,  # groups of 128 with a 16-bit scale and zero point (GPTQ, AWQ)
    "mxfp4": 0.53125,  # blocks of 32 with an 8-bit scale (OCP Microscaling 1.0)
    "nvfp4": 0.5625,  # blocks of 16 with an 8-bit scale (NVIDIA Blackwell)
}
"""Bytes of one stored weight, block scales included."""

COMPUTE_DTYPES: dict[str, tuple[str, ...]] = {
    "bf16": ("bf16", "fp16"),
    "fp16": ("fp16", "bf16"),
    "fp8": ("fp8", "bf16", "fp16"),
    "int8": ("int8", "bf16", "fp16"),
    "int4": ("bf16", "fp16"),
    "mxfp4": ("bf16", "fp16"),
    "nvfp4": ("fp4", "bf16", "fp16"),
}
"""Operand types a weight format is multiplied in, best first: without the unit for it, weights
are widened on the way and multiplied in 16 bits (weight-only quantisation)."""
