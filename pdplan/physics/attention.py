"""How many token pairs attention touches."""

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
