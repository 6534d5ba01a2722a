"""Fitting and scoring of kernel laws: constants by robust log residuals, errors held out."""

import csv
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from scipy.optimize import least_squares

from pdplan.physics.roofline import Floats
from pdplan.specs.hardware import HardwareSpec, load_hardware

SHARED = Path(__file__).parents[1].parent / "shared"
SYSTEMS = {"a100_sxm": "a100-80gb-sxm"}
"""Names of the tables that are not hardware ids with underscores."""
FAMILIES = {
    "a100_sxm": "ampere",
    "h100_sxm": "hopper",
    "h200_sxm": "hopper",
    "b200_sxm": "blackwell",
    "gb200": "blackwell",
    "b300_sxm": "blackwell ultra",
    "gb300": "blackwell ultra",
    "l40s": "ada",
    "rtx_pro_6000_server": "rtx blackwell",
}
"""Systems whose constants are shares of the datasheet that should carry over to each other."""
SPREAD = 0.1
"""Log residual beyond which a point counts linearly: 10 %."""


class Timed(Protocol):
    """A measurement."""

    @property
    def measured_s(self) -> float:
        """What was measured [s]."""


R = TypeVar("R", bound=Timed)


@dataclass(frozen=True)
class Law(Generic[R]):
    """A closed form with named positive constants: (start, least, most) each."""

    constants: dict[str, tuple[float, float, float]]
    predict: Callable[[Sequence[R], Floats], Floats]
    """Seconds of some rows with constants in the order of their names."""

    def fit(self, rows: Sequence[R]) -> dict[str, float]:
        """Constants that describe the rows best."""
        start, least, most = np.log(np.array(list(self.constants.values()))).T
        measured = np.array([r.measured_s for r in rows])
        found = least_squares(
            lambda x: np.log(self.predict(rows, np.exp(x)) / measured),
            start,
            loss="soft_l1",
            f_scale=SPREAD,
            bounds=(least, most),
        )
        return dict(zip(self.constants, np.exp(found.x).tolist(), strict=True))

    def error(self, rows: Sequence[R], constants: dict[str, float]) -> float:
        """Mean absolute relative error of constants on rows."""
        return float(np.mean(self._misses(rows, constants)))

    def held_out_error(self, rows: Sequence[R], by: Callable[[R], Hashable]) -> float:
        """Mean error on each group of rows, with constants fitted to the other groups."""
        misses = []
        for group in dict.fromkeys(by(r) for r in rows):
            kept = [r for r in rows if by(r) != group]
            if len(kept) > 2 * len(self.constants):
                held = [r for r in rows if by(r) == group]
                misses.append(self._misses(held, self.fit(kept)))
        return float(np.mean(np.concatenate(misses))) if misses else float("nan")

    def _misses(self, rows: Sequence[R], constants: dict[str, float]) -> Floats:
        predicted = self.predict(rows, np.array(list(constants.values())))
        misses: Floats = np.abs(predicted / [r.measured_s for r in rows] - 1)
        return misses


def table(path: str) -> Iterator[dict[str, str]]:
    """Rows of a csv file below `shared`."""
    with (SHARED / path).open(newline="") as lines:
        yield from csv.DictReader(lines)


@cache
def hardware(system: str) -> HardwareSpec:
    """Datasheet of a system as the tables of facts name it."""
    return load_hardware(SYSTEMS.get(system, system.replace("_", "-")))


def column(rows: Sequence[R], name: str) -> Floats:
    """One field of all rows."""
    return np.array([getattr(r, name) for r in rows], float)
