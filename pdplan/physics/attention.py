"""How many token pairs attention touches, and how long its kernels take over them."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats


def causal_pairs(new_tokens: ArrayLike, prefix_tokens: ArrayLike, window: ArrayLike) -> Floats:
    """Query-key pairs of a causal pass of new tokens over a cached prefix.

    sum over i = 1..n of min(prefix + i, window); without a window n prefix + n^2 / 2.

    new_tokens = n, prefix_tokens [tokens]; window [tokens], inf for full attention.
    Valid for: continuous lengths (the n / 2 of the discrete sum is dropped, below 0.1 % at 512).
    Source: exact integral of the causal mask; the n^2 / 2 is that of Dao, FlashAttention-2, 2023.

    >>> float(causal_pairs(1000, 0, np.inf)), float(causal_pairs(1000, 500, np.inf))
    (500000.0, 1000000.0)
    >>> float(causal_pairs(1000, 0, 100))
    95000.0
    """
    n, prefix = np.asarray(new_tokens, float), np.asarray(prefix_tokens, float)
    window = np.asarray(window, float)
    growing = np.clip(window - prefix, 0, n)
    at_limit = np.where(n > growing, window, 0.0)
    pairs: Floats = growing * prefix + growing**2 / 2 + (n - growing) * at_limit
    return pairs


def mean_window(context_tokens: ArrayLike, window: ArrayLike) -> Floats:
    """Cached tokens a decode step reads in one layer: min(context, window).

    >>> float(mean_window(4096, 1024))
    1024.0
    """
    return np.asarray(np.minimum(np.asarray(context_tokens, float), window))


def attention_s(
    flops: ArrayLike,
    row_flops: ArrayLike,
    bytes_moved: ArrayLike,
    flops_per_s: ArrayLike,
    bytes_per_s: ArrayLike,
    fill_rows: ArrayLike,
    floor_s: ArrayLike,
) -> Floats:
    """Time of attention of many queries: a prefill chunk over its cached prefix, or an encoder.

    t = floor + sqrt((F / R + B / W)^2 + (f fill / R)^2)

    F = flops [FLOP] of all rows (a row is one query of one head); f = row_flops [FLOP] of the
    longest row, which no other can share; B = bytes_moved [B]; R, W = flops_per_s, bytes_per_s
    achieved by many rows; fill = fill_rows that keep the whole accelerator busy; floor_s [s].
    Valid for: fused kernels without split keys, 16 to 16,384 queries, 0 to 16,384 cached tokens,
    1 to 8 sequences, 8 to 64 heads, R at most the peak of the operand type.
    Limits: many rows give roofline rates, few rows the time of the longest one.
    Source: list scheduling, Graham, 1969 (time <= work / machines + longest job), the two terms
    joined by a 2-norm; fitted in validation/kernel_attention.py.

    >>> float(attention_s(8e11, 0.0, 1e9, 4e14, 1e12, 3e4, 1e-5))
    0.00301
    >>> float(attention_s(3e9, 1e6, 0.0, 1e13, 1e12, 4e3, 0.0))
    0.0005
    """
    rate = np.asarray(flops_per_s, float)
    stream_s = np.asarray(bytes_moved, float) / np.asarray(bytes_per_s, float)
    longest_s = np.asarray(row_flops, float) * np.asarray(fill_rows, float) / rate
    joined = np.hypot(np.asarray(flops, float) / rate + stream_s, longest_s)
    return np.asarray(np.asarray(floor_s, float) + joined)


def cached_attention_s(
    flops: ArrayLike,
    bytes_moved: ArrayLike,
    flops_per_s: ArrayLike,
    bytes_per_s: ArrayLike,
    floor_s: ArrayLike,
) -> Floats:
    """Time of attention of one query a sequence over its cache: a decode step, GQA or latent.

    t = floor + sqrt((F / R)^2 + (B / W)^2)

    F = flops [FLOP], B = bytes_moved [B] of cache, queries and outputs; R, W = flops_per_s,
    bytes_per_s achieved; floor_s [s] covers launch, the split over keys and its merge.
    Valid for: split-key kernels, 1 to 256 sequences of 32 to 32,768 tokens. A cache that stays
    in L2 is read faster than W; that is not credited, since a model's layers evict each other.
    Source: fitted in validation/kernel_attention.py; split keys (FlashDecoding, 2023) are why no
    term for few sequences is needed.

    >>> round(float(cached_attention_s(3e9, 4e6, 1e13, 1e10, 1e-4)), 6)
    0.0006
    """
    compute_s = np.asarray(flops, float) / np.asarray(flops_per_s, float)
    stream_s = np.asarray(bytes_moved, float) / np.asarray(bytes_per_s, float)
    return np.asarray(np.asarray(floor_s, float) + np.hypot(compute_s, stream_s))


def prefill_bytes(
    new_tokens: ArrayLike, cached_tokens: ArrayLike, query_values: ArrayLike, kv_bytes: ArrayLike
) -> Floats:
    """Bytes that attention of one sequence moves: queries and outputs, and all keys and values.

    B = 4 query_values new + kv_bytes (new + cached)

    query_values = heads x head_dim; queries and outputs in 16 bits; kv_bytes [B/token] of one
    layer's cache.

    >>> float(prefill_bytes(1000, 1000, 4096, 4096))
    24576000.0
    """
    new, cached = np.asarray(new_tokens, float), np.asarray(cached_tokens, float)
    queries = 4 * np.asarray(query_values, float) * new
    return np.asarray(queries + np.asarray(kv_bytes, float) * (new + cached))


def padded_head_dim(head_dim: ArrayLike) -> Floats:
    """Head dimension that kernels compute: the next multiple of 16, the depth of a matrix tile.

    Source: SigLIP's 72 runs at the speed of 80 (within 10 %) on Hopper and Blackwell.

    >>> padded_head_dim([64, 72, 80, 128]).tolist()
    [64.0, 80.0, 80.0, 128.0]
    """
    return np.asarray(16 * np.ceil(np.asarray(head_dim, float) / 16))
