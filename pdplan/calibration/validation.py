"""A profile scored on measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

from pdplan.calibration.observations import Observations
from pdplan.calibration.predictable import Predictable
from pdplan.calibration.score import Score, scores
from pdplan.errors import Problem
from pdplan.physics.roofline import Floats

TOTAL = "all"


@dataclass(frozen=True, slots=True)
class Validation:
    """Errors by output and group, and of each output over everything."""

    data: Observations
    predicted: Floats
    by: tuple[str, ...]
    groups: tuple[Score, ...]
    totals: tuple[Score, ...]
    unpredicted: tuple[Problem, ...]
    """Rows that could not be predicted, and why."""

    def above(self, most: float) -> list[Score]:
        """Totals whose mean absolute error is above a share."""
        return [score for score in self.totals if score.mape > most]


def validation(found: Predictable, by: Sequence[str]) -> Validation:
    """Score predictions, in groups by columns of `predict` or by generation."""
    return Validation(
        data=found.data,
        predicted=found.predicted,
        by=tuple(by),
        groups=tuple(scores(found.data, found.predicted, by)) if by else (),
        totals=tuple(scores(found.data, found.predicted)),
        unpredicted=found.others,
    )
