"""Scores of predictions that are no single passes, in groups."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Pair:
    """One measured number and its prediction, in the same unit."""

    label: str
    group: str
    measured: float
    predicted: float
    what: str = ""
    """Which point of the group it is."""

    @property
    def error(self) -> float:
        """Relative error; positive where the prediction is too large."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Errors of one number over one group, as shares of what was measured."""

    label: str
    group: str
    points: int
    mape: float
    bias: float
    worst: float


def grouped(pairs: Iterable[Pair], group: str | None = None) -> list[GroupScore]:
    """Score every label in every group, or in one group of that name."""
    found: dict[tuple[str, str], list[float]] = {}
    for pair in pairs:
        found.setdefault((pair.label, group or pair.group), []).append(pair.error)
    return [_score(*key, np.array(errors)) for key, errors in sorted(found.items())]


def _score(label: str, group: str, errors: np.ndarray) -> GroupScore:
    return GroupScore(
        label,
        group,
        len(errors),
        float(np.abs(errors).mean()),
        float(errors.mean()),
        float(errors[np.abs(errors).argmax()]),
    )
