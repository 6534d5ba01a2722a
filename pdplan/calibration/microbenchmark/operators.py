"""Single kernels through PyTorch: products, attention, copies."""

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from pdplan.calibration.microbenchmark.cases import Case
from pdplan.calibration.microbenchmark.timing import WARM_UP, Work, copies, elapsed_s
from pdplan.specs.dtypes import DTYPE_BYTES

Tensor = Any
BACKENDS = ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION")
"""Fused kernels; the one that is not would count as none of them."""
HALF_BYTES = 2


def tensor_type(torch: ModuleType, dtype: str) -> Any:  # noqa: ANN401  (a torch.dtype)
    """PyTorch's type; MI300's fp8 has no negative zero."""
    if dtype != "fp8":
        return {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    old = torch.version.hip and "gfx94" in torch.cuda.get_device_properties(0).gcnArchName
    return torch.float8_e4m3fnuz if old else torch.float8_e4m3fn


def random(torch: ModuleType, dtype: str, *shape: int) -> Tensor:
    """Values of a normal distribution: zeros would draw less power and run faster."""
    half = "bf16" if dtype == "fp8" else dtype
    drawn = torch.randn(*shape, dtype=tensor_type(torch, half), device="cuda")
    return drawn.to(tensor_type(torch, dtype)) if dtype == "fp8" else drawn


def gemm(torch: ModuleType, case: Case) -> Work:
    """A product with rotating weights."""
    m, k, n = (case.sizes[name] for name in ("tokens", "inputs", "outputs"))
    count = copies(k * n * DTYPE_BYTES[case.dtype])
    weights = [random(torch, case.dtype, n, k).t() for _ in range(count)]
    x = random(torch, case.dtype, m, k)
    if case.dtype == "fp8":
        one = torch.ones((), dtype=torch.float32, device="cuda")
        out = torch.bfloat16

        def call(i: int) -> object:
            weight = weights[i % count]
            return torch._scaled_mm(
                x, weight, scale_a=one, scale_b=one, out_dtype=out, use_fast_accum=True
            )

        return Work(call, count)
    y = torch.empty(m, n, dtype=tensor_type(torch, case.dtype), device="cuda")
    return Work(lambda i: torch.mm(x, weights[i % count], out=y), count)


def prefill_attention(torch: ModuleType, case: Case) -> Work:
    """Causal attention of new tokens over themselves, with grouped queries."""
    batch, new, heads, kv_heads, width = case.sizes.values()
    query = (batch, heads, new, width)
    return _attention(torch, case, query, (batch, kv_heads, new, width), is_causal=True)


def decode_attention(torch: ModuleType, case: Case) -> Work:
    """Attention of one query a sequence over its cache: a group's heads are rows of one query."""
    batch, context, heads, kv_heads, width = case.sizes.values()
    query = (batch, kv_heads, heads // kv_heads, width)
    return _attention(torch, case, query, (batch, kv_heads, context, width), is_causal=False)


def _attention(
    torch: ModuleType,
    case: Case,
    query: tuple[int, ...],
    cache: tuple[int, ...],
    *,
    is_causal: bool,
) -> Work:
    """By the fastest of the fused kernels that take it; RuntimeError where none does."""
    values = cache[0] * cache[1] * cache[2] * cache[3]
    count = copies(2 * values * HALF_BYTES)
    q = random(torch, case.dtype, *query)
    kv = [[random(torch, case.dtype, *cache) for _ in "kv"] for _ in range(count)]
    grouped = {"enable_gqa": True} if query[1] != cache[1] else {}
    attend = torch.nn.functional.scaled_dot_product_attention

    def call(backend: Any, i: int) -> object:  # noqa: ANN401  (an SDPBackend)
        with torch.nn.attention.sdpa_kernel(backend):
            return attend(q, *kv[i % count], is_causal=is_causal, **grouped)

    known = torch.nn.attention.SDPBackend
    calls = [partial(call, getattr(known, name)) for name in BACKENDS if hasattr(known, name)]
    return Work(_fastest(torch, calls), count)


def _fastest(
    torch: ModuleType, calls: Sequence[Callable[[int], object]]
) -> Callable[[int], object]:
    """Which of several ways takes least; those that fail are passed over."""
    timed: list[tuple[float, Callable[[int], object]]] = []
    reason = "no fused kernel"
    for call in calls:
        try:
            call(0)
            timed.append((elapsed_s(torch, lambda: [call(i) for i in range(WARM_UP)]), call))  # noqa: B023
        except RuntimeError as error:
            reason = str(error)
    if not timed:
        raise RuntimeError(reason)
    return min(timed, key=lambda each: each[0])[1]


def copy(torch: ModuleType, case: Case) -> Work:
    """Memory read and written once."""
    size = case.sizes["size_bytes"]
    count = copies(2 * size)
    values = size // HALF_BYTES
    pairs = [[random(torch, case.dtype, values) for _ in "ab"] for _ in range(count)]
    return Work(lambda i: pairs[i % count][0].copy_(pairs[i % count][1]), count)
