"""What a file does not say, from the user's flags; what it lacks and contradicts, by name."""

import math
from collections.abc import Mapping, Sequence

from pdplan.calibration.formats.format import TOTAL_OUTPUT
from pdplan.calibration.formats.model_names import Models
from pdplan.calibration.formats.row import Measured
from pdplan.errors import Problem
from pdplan.planner.points import NEEDED, PREDICT_INPUTS
from pdplan.specs.source import shown

_SAME = 0.01
"""Relative difference up to which a number in a flag is the one in the file."""
_ONE_OF = {"rate": "concurrency", "concurrency": "rate"}


class Completion:
    """Completes measurements one by one; gathers what is wrong with them."""

    def __init__(self, hints: Mapping[str, str], models: Models) -> None:
        self.hints = {name: str(value).strip() for name, value in hints.items()}
        self.models = models
        known = models.match(self.hints.get("model", ""))
        if known is not None:
            self.hints["model"] = known[0]
        self.problems: list[Problem] = []

    def __call__(self, found: Measured, needs: Sequence[str]) -> Measured:
        """Fill the row; the outcome is of use only while there are no problems."""
        row = {name: text for name, text in found.row.items() if text}
        self._name_model(found, row)
        for name in PREDICT_INPUTS:
            hint = self.hints.get(name, "")
            if hint and row.setdefault(name, hint) != hint and not _same(row[name], hint):
                self._contradiction(found, name, row[name], hint)
        for name, other in _ONE_OF.items():
            if self.hints.get(name) and found.row.get(other) and not found.row.get(name):
                message = f"the file says {shown(found.row[other])}; leave --{name} out"
                self._wrong(found, other, message)
        phase = row.get("phase", "prefill")
        for name in ("model", "hardware", *NEEDED.get(phase, ()), *needs):
            if name not in row:
                self._wrong(found, name, f"the file does not say; give {_flag(name)}")
        if phase == "serve" and not row.keys() & {"rate", "concurrency"}:
            self._wrong(found, "rate", "the file does not say; give --rate or --concurrency")
        return Measured(row, self._values(found, row), found.source, found.line)

    def _name_model(self, found: Measured, row: dict[str, str]) -> None:
        """Put the catalogue's name for the model and the number format its name says."""
        name, hint = row.get("model", ""), self.hints.get("model", "")
        match = self.models.match(name) if name else None
        if match is not None:
            row["model"] = match[0]
            if match[1]:
                row.setdefault("weight_dtype", match[1])
            if hint not in self.models.ids:
                row["model"] = hint or match[0]  # a file of the user's own
        elif name and hint:
            row["model"] = hint
        elif name:
            near = self.models.nearest(name)
            self._wrong(found, "model", f"{shown(name)} is not known{near}; give --model")

    def _values(self, found: Measured, row: Mapping[str, str]) -> dict[str, float]:
        """Positive outputs; a zero is how a benchmark writes what it did not measure."""
        values = {name: value for name, value in found.values.items() if 0 < value < math.inf}
        total = values.pop(TOTAL_OUTPUT, None)
        if total is not None:
            values["output_tokens_per_s_per_gpu"] = total / _accelerators(row)
        if not values:
            self._wrong(found, "", "has no measured value")
        return values

    def _contradiction(self, found: Measured, name: str, said: str, hint: str) -> None:
        message = f"the file says {shown(said)}, {_flag(name)} {shown(hint)}; leave the flag out"
        self._wrong(found, name, message)

    def _wrong(self, found: Measured, key: str, message: str) -> None:
        self.problems.append(Problem(found.source, found.line, key, message))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _same(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=_SAME)
    except ValueError:
        return False


def _accelerators(row: Mapping[str, str]) -> float:
    """Accelerators of the instance; what is no number is for `predict` to refuse."""
    count = 1.0
    for name in ("tp", "pp", "dp"):
        try:
            size = float(row.get(name, "1"))
        except ValueError:
            size = 1.0
        count *= size if math.isfinite(size) and size >= 1 else 1.0
    return count
