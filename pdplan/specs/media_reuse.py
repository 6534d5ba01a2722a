"""Media that were encoded before, as request points: those found need no encoding.

Symbols: m media of a request, each found with probability h, independently.
"""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from pdplan.specs.points import Array
from pdplan.specs.traffic import Traffic


def encoded_part(hit: float, media: Array) -> tuple[Array, Array]:
    """Share f of a request's media that is encoded, and probability 1 - q that any is.

    The number to encode is binomial; two points, nothing with probability q and f m otherwise,
    have its mean m (1 - h) and its second moment: f = 1 - h + h / m,  1 - q = (1 - h) / f.

    *Exact* for m = 1. *Limits*: h = 0 gives f = 1, q = 0; m -> inf gives f = 1 - h, q -> 0.

    >>> share, some = encoded_part(0.5, np.array([1.0, 4.0]))
    >>> share.tolist(), some.tolist()
    ([1.0, 0.625], [0.5, 0.8])
    """
    share = 1 - hit + hit / np.maximum(media, 1.0)
    return share, (1 - hit) / share


def partly_encoded(traffic: Traffic, hit: float) -> Traffic:
    """Traffic of which a share of the media is found encoded: each point with media in two.

    Traffic that is so already stays as it is.
    """
    if hit == traffic.media_hit:
        return traffic
    media = traffic.images + (traffic.audio_s > 0) + (traffic.video_frames > 0)
    share, some = encoded_part(hit, media)
    seen = np.flatnonzero(media > 0)
    if not seen.size:
        return traffic
    rows = np.concatenate([np.arange(media.size), seen])
    arrays: dict[str, Array] = {
        field.name: value[rows]
        for field in fields(traffic)
        if isinstance(value := getattr(traffic, field.name), np.ndarray)
    }
    found = np.arange(rows.size) >= media.size
    with_media = media[rows] > 0
    arrays["weight"] = arrays["weight"] * np.where(
        with_media, np.where(found, 1 - some[rows], some[rows]), 1.0
    )
    arrays["to_encode"] = np.where(with_media, np.where(found, 0.0, share[rows]), 1.0)
    order = np.lexsort((found, rows))
    kept = order[arrays["weight"][order] > 0]
    chosen: dict[str, Any] = {name: value[kept] for name, value in arrays.items()}
    return replace(traffic, media_hit=hit, **chosen)
