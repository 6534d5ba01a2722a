"""A calibration as a profile that says where it comes from."""

from collections.abc import Collection, Sequence

import numpy as np
import yaml

from pdplan.calibration.calibrate import Calibration
from pdplan.calibration.held_out import HeldOut
from pdplan.calibration.profile import profile_text
from pdplan.calibration.score import Score, scores
from pdplan.errors import SpecError
from pdplan.specs.base import validate
from pdplan.specs.catalog import plain_name
from pdplan.specs.engine import EngineSpec
from pdplan.specs.engine_checks import problems
from pdplan.specs.source import Document

MOST_FILES = 5
"""Files that a profile names as its source."""


def fitted_profile(
    found: Calibration, apart: Sequence[HeldOut], *, name: str, files: Sequence[str], note: str = ""
) -> EngineSpec:
    """Give each calibrated generation its source, errors, accelerators and intervals."""
    held = {each.generation: each for each in apart}
    generations = dict(found.engine.generations)
    for generation in found.identified:
        generations[generation] = generations[generation].model_copy(
            update=_facts(found, generation, held.get(generation), files, note)
        )
    description = f"Calibrated from {found.base.name}. {found.base.description}"
    update = {"name": name, "description": description, "generations": generations}
    return found.engine.model_copy(update=update)


def _facts(
    found: Calibration, generation: str, held: HeldOut | None, files: Sequence[str], note: str
) -> dict[str, object]:
    data = found.data
    own = np.array([data.said(int(i), "generation") == generation for i in data.index])
    points = len(set(data.index[own & found.kept].tolist()))
    outliers = int((own & ~found.kept).sum())
    left = f"{outliers} of {int(own.sum())} numbers left out as outliers. " if outliers else ""
    kept = f"Constants without an interval are those of {found.base.name}."
    by = f" Held out: {held.by}." if held is not None else ""
    return {
        "origin": "fitted",
        "source": f"pdplan calibrate: {points} measurements in {_listed(files)}; "
        f"base profile: {found.base.name}",
        "points": points,
        "error": " ".join(filter(None, (left + kept + by, note))),
        "in_sample": _shares(scores(data, found.after, (), own & found.kept)),
        "held_out": _shares(held.errors) if held is not None else {},
        "measured": tuple(
            sorted(
                {plain_name(data.said(int(i), "hardware")) for i in data.index[own & found.kept]}
            )
        ),
        "intervals": {
            path: (each.low, each.high)
            for full, each in found.estimates.items()
            for g, _, path in [full.partition(":")]
            if g == generation
        },
    }


def _listed(files: Sequence[str]) -> str:
    more = len(files) - MOST_FILES
    return ", ".join(files[:MOST_FILES]) + (f" and {more} more" if more > 0 else "")


def _shares(found: Collection[Score]) -> dict[str, float]:
    return {score.output: round(score.mape, 4) for score in found}


def checked_text(engine: EngineSpec, path: str) -> str:
    """Text of a profile that reads back as one; raises SpecError."""
    text = profile_text(engine)
    document = Document(path, yaml.safe_load(text))
    wrong = [document.problem(*each) for each in problems(validate(document, EngineSpec))]
    if wrong:
        raise SpecError(*wrong)
    return text
