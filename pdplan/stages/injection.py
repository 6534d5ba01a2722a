"""Media that enter the decoder late: their tokens, and prefill that begins without them."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.errors import UnfitError
from pdplan.physics.roofline import Floats
from pdplan.specs.model import ModelSpec
from pdplan.specs.traffic import Traffic


def injected_tokens(model: ModelSpec, traffic: Traffic) -> Floats:
    """Tokens that media add to each prompt [S], in tokens that pass all layers.

    A stream of media is one token (or as many as the model says) in (L - start) of L layers: its
    products, its attention and its cache are those of that share of a token. Raises UnfitError
    where a request has several streams, for which such a model is not made.
    """
    late = model.vision_inject
    assert late is not None
    streams = traffic.images + (traffic.video_frames > 0) + (traffic.audio_s > 0)
    most = float(np.max(streams, initial=0.0))
    if most > 1:
        message = (
            f"model '{model.name}' takes one image or video a request (vision_inject); "
            f"the workload sends {most:g}"
        )
        raise UnfitError(message)
    return np.asarray(streams * late.tokens(model.layers), float)


def beside_s(
    model: ModelSpec, encode_s: ArrayLike, transfer_s: ArrayLike, prefill_s: ArrayLike
) -> Floats:
    """Time that prefill's early layers run beside encoding on other devices.

    TTFT = max(T_E + T_x, e T_P) + (1 - e) T_P with e = start / L of the layers that need no media:
    min(T_E + T_x, e T_P) less than one after the other. Without late injection it is 0.

    >>> from pdplan.specs.model import load_model
    >>> late = load_model("ep-alm-opt-6.7b")
    >>> float(beside_s(late, 0.010, 0.002, 0.016)), float(beside_s(late, 0.004, 0.002, 0.016))
    (0.0095, 0.006)
    """
    late = model.vision_inject
    before = np.asarray(encode_s, float) + transfer_s
    if late is None:
        return np.asarray(0 * before)
    early = late.early_share(model.layers) * np.asarray(prefill_s, float)
    return np.asarray(np.minimum(before, early))
