"""What a fit and its report need of measurements, whether of whole passes or of kernels."""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pdplan.calibration.formats.row import Measured
from pdplan.physics.roofline import Floats
from pdplan.specs.engine import EngineSpec


class Numbers(Protocol):
    """N measured numbers in a fixed order, each of one measurement, with their predictions."""

    measured: list[Measured]
    index: NDArray[np.intp]
    """Measurement of every number [N]."""
    names: list[str]
    """Output of `predict` that each number is [N]."""
    values: Floats
    labels: list[str]
    """What each number is, said more closely [N]."""

    @property
    def generations(self) -> list[str]:
        """Hardware generations that were measured."""

    def __len__(self) -> int:
        """How many numbers there are."""

    def said(self, i: int, column: str) -> str:
        """What measurement `i` is in a column of `predict` or by its generation."""

    def only(self, kept: NDArray[np.bool_]) -> Self:
        """Some of the numbers."""

    def predicted(self, engine: EngineSpec | None = None, generation: str | None = None) -> Floats:
        """Prediction of every number [N]; nan outside `generation` where one is named."""

    def limits(self) -> Floats:
        """Bound of every number [N] that silicon sets; nan where none is known."""


def sources(data: Numbers) -> list[str]:
    """Files that the measurements come from."""
    return sorted({one.source for one in data.measured})
