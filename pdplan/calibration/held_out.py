"""Errors of a calibration on what it did not see."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.calibration.calibrate import QUICK, Calibration, noise
from pdplan.calibration.fit import fit
from pdplan.calibration.numbers import Numbers
from pdplan.calibration.score import Score, scores
from pdplan.physics.roofline import Floats

AXES = (("model",), ("hardware",), ("tp", "pp", "ep", "dp"))
"""What is left out, one value at a time: the first of which there are several."""
FOLDS = 5
LEAST_POINTS = 8


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Errors of one generation where each group was predicted from the others."""

    generation: str
    by: str
    """What was left out at a time: `each model`, `5 folds`, ...; or why there are none."""
    errors: tuple[Score, ...]


def held_out(found: Calibration, progress: Callable[[str], None] = lambda _: None) -> list[HeldOut]:
    """Leave out one model, accelerator or parallelism at a time, else one fold of five."""
    predicted = np.full(len(found.data), np.nan)
    ways = {generation: _groups(found, generation) for generation in found.identified}
    for generation, (by, groups) in ways.items():
        progress(f"held out of {generation}: {by}")
        for group in sorted(set(groups.values())):
            left = np.array([groups.get(int(i)) == group for i in found.data.index])
            others = np.array([groups.get(int(i), group) != group for i in found.data.index])
            predicted[left] = _from_others(found, generation, left, others)
    return [
        HeldOut(generation, by, tuple(_errors(found.data, predicted, found, groups)))
        for generation, (by, groups) in ways.items()
    ]


def _groups(found: Calibration, generation: str) -> tuple[str, dict[int, str]]:
    """How to split a generation's measurements, and the group of each."""
    data = found.data
    kept = sorted(set(data.index[found.kept].tolist()))
    own = [i for i in kept if data.said(i, "generation") == generation]
    for axis in AXES:
        groups = {i: " ".join(data.said(i, column) for column in axis) for i in own}
        if len(set(groups.values())) > 1:
            return f"each {axis[0] if len(axis) == 1 else 'parallelism'}", groups
    if len(own) >= LEAST_POINTS:
        return f"{FOLDS} folds", {i: str(at % FOLDS) for at, i in enumerate(own)}
    return f"none, one model, hardware and parallelism, and fewer than {LEAST_POINTS} points", {}


def _from_others(
    found: Calibration, generation: str, left: NDArray[np.bool_], others: NDArray[np.bool_]
) -> Floats:
    """Predictions of what is left out, from a fit to the others of its generation."""
    rest = found.data.only(found.kept & others)
    fitted = fit(rest, found.base, only=list(found.estimates), noise=noise(rest), rounds=QUICK)
    return found.data.predicted(fitted.engine, generation)[left]


def _errors(
    data: Numbers, predicted: Floats, found: Calibration, own: Collection[int]
) -> list[Score]:
    mine = np.array([int(i) in own for i in data.index]) & found.kept
    return scores(data, predicted, (), mine)
