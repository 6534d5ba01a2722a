"""Bytes of expert weights that a prompt reads: for every chunk again, or once.

Chunked prefill walks all layers with each chunk and reads the experts that it touches every time;
prefill by groups of layers sees every layer once. Either beside decode steps that read some experts
anyway.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats

Touched = Callable[[Floats], Floats]
"""Distinct experts of a layer that so many tokens touch."""


def layer_groups(tokens: ArrayLike, group_tokens: ArrayLike = 512) -> Floats:
    """Groups of layers that a prompt is taken through, one a step: G = max(1, ceil(L / 512)).

    Source: "From Tokens to Layers", arXiv 2510.08055.

    >>> layer_groups([1, 512, 513, 8192]).tolist()
    [1.0, 1.0, 2.0, 16.0]
    """
    share = np.asarray(tokens, float) / np.asarray(group_tokens, float)
    return np.asarray(np.maximum(np.ceil(share - 1e-9), 1.0))


def least_groups(prefill_s: ArrayLike, step_s: ArrayLike, tbt_s: ArrayLike) -> Floats:
    """Fewest groups of layers that keep the time between tokens: ceil(t_pre / (TBT - t_dec)).

    prefill_s = t_pre of the whole prompt, step_s = t_dec, tbt_s = TBT [s]. Infinite where decode
    alone takes longer than TBT.

    >>> least_groups([0.3, 0.01, 0.1], 0.02, [0.05, 0.05, 0.02]).tolist()
    [10.0, 1.0, inf]
    """
    room = np.asarray(tbt_s, float) - np.asarray(step_s, float)
    needed = np.asarray(prefill_s, float) / np.where(room > 0, room, 1.0)
    return np.where(room > 0, np.maximum(np.ceil(needed - 1e-9), 1.0), np.inf)


@dataclass(frozen=True, slots=True)
class ExpertLoads:
    """Expert weights that prompts read beside n decoding requests, in layers' worth of experts.

    All prompts [tokens] broadcast; `experts` is those of a layer, and what is returned has to be
    multiplied with the layers and the bytes of one expert.
    """

    experts: int
    touched: Touched

    def chunked(self, tokens: ArrayLike, chunk_tokens: ArrayLike, beside: ArrayLike) -> Floats:
        """Experts read by the ceil(L / C) steps that carry a prompt, those of decode included.

        n_c D(C + n), the last chunk as short as it is: each chunk reloads (almost) all experts
        (arXiv 2510.08055).
        """
        size, chunk = np.asarray(tokens, float), np.asarray(chunk_tokens, float)
        n = np.asarray(beside, float)
        whole = np.floor(size / chunk)
        rest = size - whole * chunk
        last = np.where(rest > 0, self.touched(rest + n), 0.0)
        return np.asarray(whole * self.touched(chunk + n) + last)

    def layered(self, tokens: ArrayLike, groups: ArrayLike, beside: ArrayLike) -> Floats:
        """Experts read by the G steps that carry a prompt a group of layers at a time.

        D(L + n) + (G - 1) D(n): every layer reads the prompt's experts once, and those of the
        decoding requests in the other steps.
        """
        size, n = np.asarray(tokens, float), np.asarray(beside, float)
        own = self.touched(size + n)
        return np.asarray(own + (np.asarray(groups, float) - 1) * self.touched(n))
