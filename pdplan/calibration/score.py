"""How far predictions are from measurements, by group."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.calibration.numbers import Numbers
from pdplan.physics.roofline import Floats


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one output over one group; all relative to what was measured."""

    output: str
    group: tuple[str, ...]
    points: int
    mape: float
    """Mean absolute percentage error, as a share."""
    median: float
    """Median of the absolute errors."""
    bias: float
    """Mean error; positive where predictions are too large."""
    worst: float
    rank: float
    """Spearman's rank correlation; nan for fewer than three distinct values."""


def scores(
    data: Numbers,
    predicted: Floats,
    by: Sequence[str] = (),
    kept: NDArray[np.bool_] | None = None,
) -> list[Score]:
    """Score each output by the named columns; without any, over everything.

    `kept` are the numbers that count; the default is all.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for place, (i, label) in enumerate(zip(data.index, data.labels, strict=True)):
        if kept is None or kept[place]:
            groups[label, tuple(data.said(i, column) for column in by)].append(place)
    return [
        _score(label, group, predicted[places], data.values[places])
        for (label, group), places in sorted(groups.items())
    ]


def _score(name: str, group: tuple[str, ...], predicted: Floats, measured: Floats) -> Score:
    error = predicted / measured - 1
    return Score(
        output=name,
        group=group,
        points=len(error),
        mape=float(np.abs(error).mean()),
        median=float(np.median(np.abs(error))),
        bias=float(error.mean()),
        worst=float(error[np.abs(error).argmax()]),
        rank=_rank_correlation(predicted, measured),
    )


def _rank_correlation(predicted: Floats, measured: Floats) -> float:
    from scipy.stats import rankdata

    if min(len(set(predicted.tolist())), len(set(measured.tolist()))) < 3:
        return float("nan")
    return float(np.corrcoef(rankdata(predicted), rankdata(measured))[0, 1])
