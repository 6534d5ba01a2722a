"""Measurements beside what a profile predicts for them, worked out together in arrays."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pdplan.calibration.formats.row import Measured
from pdplan.calibration.limits import limits
from pdplan.errors import PdplanError, Problem, SpecError
from pdplan.physics.roofline import Floats
from pdplan.planner.points import Point, Reader
from pdplan.planner.prediction import outputs
from pdplan.specs.engine import EngineSpec


@dataclass(frozen=True, slots=True)
class _Group:
    """Points of one model, engine, phase and hardware generation."""

    generation: str
    points: list[Point]
    takes: tuple[tuple[str, np.ndarray, np.ndarray], ...]
    """Output column, rows of it, places in the whole."""

    @property
    def percentiles(self) -> bool:
        """Whether any was measured."""
        return any("_p" in name for name, *_ in self.takes)


class Observations:
    """Every measured number of a set of measurements, in a fixed order."""

    def __init__(self, measured: Sequence[Measured], specs_dir: Path | None = None) -> None:
        """Read the points; raises SpecError with every row that cannot be predicted."""
        self._specs_dir = specs_dir
        reader = Reader(specs_dir, {})
        problems: list[Problem] = []
        self.measured: list[Measured] = []
        self.points: list[Point] = []
        for one in measured:
            try:
                self.points.append(reader.point(one.row))
            except PdplanError as error:
                message = "; ".join(str(error).splitlines())
                problems.append(Problem(one.source, one.line, "", message))
                continue
            self.measured.append(one)
        if problems:
            raise SpecError(*problems)
        self.index = np.array(
            [i for i, one in enumerate(self.measured) for _ in one.values], np.intp
        )
        """Measurement of every number [N]."""
        self.names = [name for one in self.measured for name in one.values]
        self.values = np.array([v for one in self.measured for v in one.values.values()], float)
        self.labels = [
            _label(self.points[i].phase, name)
            for i, name in zip(self.index, self.names, strict=True)
        ]
        """What each number is, said more closely than by the name of its column [N]."""
        self._groups = self._grouped()

    def only(self, kept: NDArray[np.bool_]) -> "Observations":
        """Some of the numbers; measurements without any are left out."""
        places = iter(kept.tolist())
        some = [
            replace(one, values={n: v for n, v in one.values.items() if next(places)})
            for one in self.measured
        ]
        return Observations([one for one in some if one.values], self._specs_dir)

    def said(self, i: int, column: str) -> str:
        """What a measurement is in a column of `predict` or by its generation."""
        point = self.points[i]
        if column == "generation":
            return point.hardware.generation
        if column == "phase":
            return point.phase
        default = getattr(point.shape, column, "vllm" if column == "engine" else "")
        return str(self.measured[i].row.get(column) or default)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def generations(self) -> list[str]:
        """Hardware generations that were measured."""
        return sorted({group.generation for group in self._groups})

    def _grouped(self) -> list[_Group]:
        places: dict[int, list[int]] = defaultdict(list)
        for place, i in enumerate(self.index):
            places[int(i)].append(place)
        members: dict[tuple[int, int, str, str], list[int]] = defaultdict(list)
        for i, point in enumerate(self.points):
            key = (id(point.model), id(point.engine), point.phase, point.hardware.generation)
            members[key].append(i)
        groups = []
        for (*_, generation), rows in members.items():
            columns: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for at, i in enumerate(rows):
                for place in places[i]:
                    columns[self.names[place]].append((at, place))
            takes = tuple(
                (name, np.array([a for a, _ in pairs]), np.array([p for _, p in pairs]))
                for name, pairs in columns.items()
            )
            groups.append(_Group(generation, [self.points[i] for i in rows], takes))
        return groups

    def predicted(self, engine: EngineSpec | None = None, generation: str | None = None) -> Floats:
        """Prediction of every number [N] with a profile, by default with those that rows name.

        It is nan outside `generation` where one is named.
        """
        found = np.full(len(self.values), np.nan)
        for group in self._groups:
            if generation in (None, group.generation):
                points = [replace(p, engine=engine or p.engine) for p in group.points]
                columns = outputs(points, percentiles=group.percentiles)
                for name, rows, places in group.takes:
                    found[places] = columns[name][rows]
        return found

    def limits(self) -> Floats:
        """Bound of every number [N] that silicon sets; nan where none is known."""
        bounds = limits(self.points)
        pairs = zip(self.index, self.names, strict=True)
        return np.array([bounds[name][i] if name in bounds else np.nan for i, name in pairs], float)


def _label(phase: str, name: str) -> str:
    """Name of an output beside those of other phases.

    >>> _label("decode", "latency_s"), _label("serve", "latency_s"), _label("serve", "ttft_p99_s")
    ('decode_s', 'e2e_mean_s', 'ttft_p99_s')
    """
    if name != "latency_s":
        return name
    return "e2e_mean_s" if phase == "serve" else f"{phase}_s"
