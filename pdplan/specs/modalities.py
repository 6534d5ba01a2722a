"""Classes of requests told apart by what they carry."""

from dataclasses import replace

import numpy as np

from pdplan.specs.media_reuse import partly_encoded
from pdplan.specs.options import Options
from pdplan.specs.traffic import RequestClass, Traffic

KINDS = ("text", "media")


def with_options(traffic: Traffic, options: Options) -> Traffic:
    """Traffic as the options have it: media found encoded, classes told apart by modality."""
    if options.encode_cache is not None:
        traffic = partly_encoded(traffic, options.encode_cache.hit)
    if options.grouping is not None and options.grouping.by == "modality":
        traffic = by_modality(traffic)
    return traffic


def by_modality(traffic: Traffic) -> Traffic:
    """Split each class that has both into its requests without and with media.

    Each of the two keeps the objectives and the name of its class, `-text` or `-media` added.
    """
    carries = traffic.media > 0
    classes: list[RequestClass] = []
    index = np.zeros_like(traffic.class_index)
    for i, kind in enumerate(traffic.classes):
        mine = traffic.class_index == i
        shares = [float(traffic.weight[mine & (carries == seen)].sum()) for seen in (False, True)]
        if min(shares) <= 0:
            index[mine] = len(classes)
            classes.append(kind)
            continue
        for seen, share in zip((False, True), shares, strict=True):
            index[mine & (carries == seen)] = len(classes)
            name = f"{kind.name}-{KINDS[seen]}"
            classes.append(replace(kind, name=name, share=share, origin=kind.origin or kind.name))
    return replace(traffic, classes=tuple(classes), class_index=index)
