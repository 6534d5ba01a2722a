"""What `calibrate --measure` times: few enough for a minute, far enough apart to tell constants."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product, zip_longest
from typing import TypeVar

from pdplan.specs.hardware import HardwareSpec

T = TypeVar("T")
TOWERS = ("qwen2-vl-7b", "qwen2.5-vl-7b", "internvl3-8b", "llava-onevision-7b")
"""Models whose vision towers are timed: Qwen2-VL, Qwen2.5-VL, InternViT-300M, SigLIP."""
TOKENS = (1, 16, 128, 512, 2048, 8192)
PRODUCTS = ((4096, 1024), (4096, 6144), (14336, 4096), (4096, 28672))
"""Inputs and outputs: those of an 8B model, and a small one that the floor is told by."""
LEAST_FP8_TOKENS = 16
"""Below it some libraries have no fp8 product."""
HEADS = ((32, 8), (8, 1))
"""Query and KV heads of one accelerator's shard."""
HEAD_DIM = 128
LENGTHS = (128, 512, 1024, 2048, 4096, 8192, 16384)
BATCHES = (1, 8, 64)
CONTEXTS = (1024, 8192, 32768)
CACHE_SHARE = 0.15
"""Of device memory that the cache of one decode case may take."""
COPIES = (2**28, 2**30)
IMAGES = ((1, 448, 448), (1, 1024, 768), (1, 1920, 1080), (8, 448, 448))
"""Images at once, width, height."""
RANKS = (2, 4, 8)
MESSAGES = (2**13, 2**17, 2**20, 2**23, 2**26, 2**28)


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel to time, or one tower's forward pass."""

    kernel: str
    dtype: str
    sizes: dict[str, int]
    model: str = ""

    def __str__(self) -> str:
        said = (f"{name}={value}" for name, value in self.sizes.items())
        return " ".join((self.kernel, self.dtype, *filter(None, (self.model,)), *said))


def cases(spec: HardwareSpec, *, fp8: bool, devices: int) -> list[Case]:
    """Cases for an accelerator, kinds in turn, so that a budget cuts all of them alike."""
    half = "bf16" if spec.compute.bf16 else "fp16"
    kinds = [
        list(_products(half)) + (list(_products("fp8")) if fp8 else []),
        list(_prefills(half)),
        list(_decodes(half, spec)),
        list(_towers(half)),
        [Case("copy", half, {"size_bytes": size}) for size in COPIES],
        list(_reduces(half, spec, devices)),
    ]
    turns = zip_longest(*(_spread(kind) for kind in kinds))
    return [case for turn in turns for case in turn if case is not None]


def _spread(kind: list[T]) -> list[T]:
    """The same in an order whose beginning covers small and large.

    >>> _spread([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    [1, 4, 7, 10, 3, 6, 9, 2, 5, 8]
    """
    return [kind[i] for i in sorted(range(len(kind)), key=lambda i: (i * 7 % 10, i))]


def _products(dtype: str) -> Iterator[Case]:
    for tokens, (inputs, outputs) in product(TOKENS, PRODUCTS):
        if dtype != "fp8" or tokens >= LEAST_FP8_TOKENS:
            yield Case("gemm", dtype, {"tokens": tokens, "inputs": inputs, "outputs": outputs})


def _prefills(dtype: str) -> Iterator[Case]:
    for new, (heads, kv_heads) in product(LENGTHS, HEADS):
        sizes = {"batch": 1, "new_tokens": new, "heads": heads, "kv_heads": kv_heads}
        yield Case("prefill_attention", dtype, sizes | {"head_dim": HEAD_DIM})


def _decodes(dtype: str, spec: HardwareSpec) -> Iterator[Case]:
    for batch, context, (heads, kv_heads) in product(BATCHES, CONTEXTS, HEADS):
        cache = 4 * kv_heads * HEAD_DIM * batch * context
        if cache <= CACHE_SHARE * spec.memory.capacity:
            sizes = {"batch": batch, "context_tokens": context, "heads": heads}
            sizes |= {"kv_heads": kv_heads, "head_dim": HEAD_DIM}
            yield Case("decode_attention", dtype, sizes)


def _towers(dtype: str) -> Iterator[Case]:
    for (images, width, height), model in product(IMAGES, TOWERS):
        yield Case("encoder", dtype, {"images": images, "width": width, "height": height}, model)


def _reduces(dtype: str, spec: HardwareSpec, devices: int) -> Iterator[Case]:
    domain = spec.scale_up.domain if spec.scale_up is not None else 1
    for ranks, size in product(RANKS, MESSAGES):
        if ranks <= min(devices, domain):
            yield Case("all_reduce", dtype, {"ranks": ranks, "size_bytes": size})
