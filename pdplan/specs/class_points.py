"""Request points of one class: all combinations of its random dimensions, thinned to a budget."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pdplan.specs.histories import NO_HISTORY, Histories, histories
from pdplan.specs.lengths import Length
from pdplan.specs.points import (
    Array,
    Points,
    close_enough,
    coarse,
    fine_points,
    sample_points,
    strata,
)
from pdplan.specs.traces import INPUT_NAMES, OUTPUT_NAMES, read_trace
from pdplan.specs.workload import ClassSpec

PROMPT_POINTS = 32
OUTPUT_POINTS = 8
MEDIA_POINTS = 8
SIZES = 2
"""Place of the image sizes among the axes; they are never joined."""
HISTORY = 5
"""Place of the tokens of earlier turns."""


def class_points(kind: ClassSpec, folder: Path, budget: int) -> dict[str, Array]:
    """All combinations of a class's random dimensions, as few of each as the budget allows."""
    prompt, isl, osl = _lengths(kind, folder)
    images, audio, video = kind.images, kind.audio, kind.video
    sizes = images.variants() if images else ()
    past = _history(kind, folder, prompt, isl, osl)
    size_weight = np.array([size.weight for size in sizes] or [1.0])
    axes = [
        prompt,
        _points(images.count, folder, whole=True) if images else _NONE,
        Points(np.arange(size_weight.size, dtype=float), size_weight / size_weight.sum()),
        _points(audio.seconds, folder) if audio else _NONE,
        _points(video.seconds, folder) if video else _NONE,
        past.points,
        _points(kind.prefix.tokens, folder) if kind.prefix and kind.prefix.tokens else _NONE,
    ]
    counts = _allot(axes, budget)
    bins = strata(prompt, counts[0])
    few = [coarse(axis, count) for axis, count in zip(axes, counts, strict=True)]
    past = past.coarse(counts[HISTORY])
    few[HISTORY] = past.points
    where = [index.ravel() for index in np.indices([axis.values.size for axis in few])]
    own, count, size, sound, film, before, prefix = (
        axis.values[index] for axis, index in zip(few, where, strict=True)
    )
    weight = math.prod(
        (axis.weights[index] for axis, index in zip(few, where, strict=True)), start=kind.share
    )
    variant = size.astype(np.intp)
    output_tokens, output_weight = _outputs(prompt, bins, isl, osl)
    seen = count > 0
    return {
        "weight": np.asarray(weight, dtype=float),
        "to_encode": np.ones(1),
        **_reuse(kind, own, before, prefix, past.earlier_turns[where[HISTORY]]),
        "images": count,
        "image_width": seen * np.array([float(s.width) for s in sizes] or [0.0])[variant],
        "image_height": seen * np.array([float(s.height) for s in sizes] or [0.0])[variant],
        "audio_s": sound,
        "video_frames": np.where(
            film > 0, np.maximum(1.0, film * (video.fps if video else 0)), 0.0
        ),
        "video_width": np.array([float(video.width if video else 0)]),
        "video_height": np.array([float(video.height if video else 0)]),
        "output_tokens": output_tokens[where[0]],
        "output_weight": output_weight[where[0]],
    }


_NONE = Points(np.zeros(1), np.ones(1))


def _reuse(
    kind: ClassSpec, own: Array, before: Array, prefix: Array, earlier: Array
) -> dict[str, Array]:
    """Text tokens of the prompt, and what of them is cached since when."""
    session = kind.session
    if session is None:
        hit = kind.prefix.hit if kind.prefix and kind.prefix.hit is not None else 0.0
        pooled = kind.prefix.shared_hit if kind.prefix else None
        most, nothing = np.maximum(own - 1, 0.0), np.zeros(own.size)
        return {
            "text_tokens": own,
            "cached_alone": np.minimum(prefix + hit * own, most),
            "cached_pooled": np.minimum(prefix + (hit if pooled is None else pooled) * own, most),
        } | dict.fromkeys(_OF_TURNS, nothing)
    kept = session.cached * before
    of_turns = (kept, np.full(own.size, session.cached), earlier, session.think * (earlier > 0))
    return {
        "text_tokens": prefix + before + own,
        "cached_alone": prefix + kept,
        "cached_pooled": prefix + kept,
        **dict(zip(_OF_TURNS, of_turns, strict=True)),
    }


_OF_TURNS = ("kept_tokens", "kept_share", "earlier_turns", "think_s")


def _history(
    kind: ClassSpec, folder: Path, prompt: Points, isl: Array | None, osl: Array | Points
) -> Histories:
    """Tokens of earlier turns, each as long as the class says."""
    if kind.session is None:
        return NO_HISTORY
    if isl is not None and isinstance(osl, np.ndarray):
        added = sample_points(isl + osl)
        growth, variance = added.mean, added.second_moment - added.mean**2
    else:
        assert isinstance(osl, Points)
        growth = prompt.mean + osl.mean
        variance = sum(p.second_moment - p.mean**2 for p in (prompt, osl))
    turns = _points(kind.session.turns, folder, whole=True, floor=1.0)
    return histories(turns, growth, max(variance, 0.0))


def _allot(axes: Sequence[Points], budget: int) -> list[int]:
    """Points of each axis within a budget for their product; what is left goes to heavy tails."""
    distinct = [axis.values.size for axis in axes]
    wanted = [PROMPT_POINTS] + [MEDIA_POINTS] * (len(axes) - 1)
    wanted[SIZES] = distinct[SIZES]
    counts = [min(pair) for pair in zip(distinct, wanted, strict=True)]
    thinned = [i for i in range(len(axes)) if i != SIZES]
    while math.prod(counts) > budget:
        widest = max(thinned, key=lambda i: counts[i])
        if counts[widest] <= 2:
            break
        counts[widest] -= 1
    for i in thinned:
        most = budget * counts[i] // math.prod(counts)
        if counts[i] < min(most, distinct[i]):
            counts[i] = close_enough(axes[i], most, start=counts[i])
    return counts


def _points(length: Length, folder: Path, *, whole: bool = False, floor: float = 0.0) -> Points:
    if length.trace is None:
        return fine_points(length, floor=floor, whole=whole)
    (column,) = read_trace(folder / length.trace, [(length.column or "",)], at_least=floor)
    return sample_points(np.array(column))


def _lengths(kind: ClassSpec, folder: Path) -> tuple[Points, Array | None, Array | Points]:
    """Points of the prompt, and either its sample beside that of the output, or output points."""
    isl_names = (kind.isl.column,) if kind.isl.column else INPUT_NAMES
    osl_names = (kind.osl.column,) if kind.osl.column else OUTPUT_NAMES
    if kind.isl.trace is not None and kind.isl.trace == kind.osl.trace:
        pair = read_trace(folder / kind.isl.trace, (isl_names, osl_names))
        isl, osl = (np.array(column) for column in pair)
        return sample_points(isl), isl, osl
    prompt, output = (
        sample_points(np.array(read_trace(folder / length.trace, [names])[0]))
        if length.trace is not None
        else fine_points(length, floor=1.0)
        for length, names in ((kind.isl, isl_names), (kind.osl, osl_names))
    )
    return prompt, None, output


def _outputs(
    prompt: Points, bins: NDArray[np.intp], isl: Array | None, osl: Array | Points
) -> tuple[Array, Array]:
    """Output points in each bin of prompts, `[bins, O]`."""
    if isl is None or not isinstance(osl, np.ndarray):
        assert isinstance(osl, Points)
        rows = [coarse(osl, OUTPUT_POINTS)] * (int(bins.max()) + 1)
    else:
        bin_of = bins[np.searchsorted(prompt.values, isl)]
        order = np.argsort(bin_of, kind="stable")
        cuts = np.searchsorted(bin_of[order], np.arange(1, int(bins.max()) + 1))
        rows = [coarse(sample_points(part), OUTPUT_POINTS) for part in np.split(osl[order], cuts)]
    width = max(row.values.size for row in rows)
    return (
        np.concatenate([widened(row.values[None, :], width) for row in rows]),
        np.concatenate([widened(row.weights[None, :], width, 0.0) for row in rows]),
    )


def widened(rows: Array, width: int, fill: float | None = None) -> Array:
    """Pad rows on the right, with their last value or with `fill`."""
    pad = ((0, 0), (0, width - rows.shape[1]))
    return np.pad(rows, pad, "edge") if fill is None else np.pad(rows, pad, constant_values=fill)
