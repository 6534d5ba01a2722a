"""A system's placement and options laid under what a scenario says itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pdplan.errors import SpecError
from pdplan.placement import without_media
from pdplan.specs.base import validate
from pdplan.specs.options import NO_OPTIONS, Options
from pdplan.specs.scenario import Scenario
from pdplan.specs.source import Document
from pdplan.specs.system import SystemSpec

DEFAULT_ROUTING = "least_loaded"
DEFAULT_FIRST_TOKEN = "decode"
DEFAULT_OBJECTIVE = "cost"


def applied(scenario: Scenario, name: str, system: SystemSpec) -> Scenario:
    """Ask the same question of one system: what the scenario says goes before the system's.

    Where no request carries media, stages that only media need are left out of its placements.
    Raises SpecError where the scenario asks for placements that are none of the system's.
    """
    search = system.search.model_copy(
        update={key: getattr(scenario.search, key) for key in scenario.search.model_fields_set}
    )
    placements = _placements(scenario, name, system)
    return replace(
        scenario,
        system=name,
        options=_laid_under(system.options, scenario.options),
        search=search.model_copy(update={"placements": placements}),
        routing=_unless_said(scenario.routing, DEFAULT_ROUTING, system.routing),
        first_token_from=_unless_said(
            scenario.first_token_from, DEFAULT_FIRST_TOKEN, system.first_token_from
        ),
        objective=_unless_said(scenario.objective, DEFAULT_OBJECTIVE, system.objective),
    )


def _placements(scenario: Scenario, name: str, system: SystemSpec) -> tuple[str, ...]:
    own = system.placement
    asked = scenario.search.placements
    if asked:
        own = tuple(text for text in own if text in asked)
    if not own:
        message = (
            f"system '{name}' is {system.placements}, and the scenario asks for {', '.join(asked)}"
        )
        raise SpecError(message)
    traffic = scenario.traffic
    media = (traffic.images, traffic.video_frames, traffic.audio_s)
    if not any(np.asarray(kind).any() for kind in media):
        own = tuple(dict.fromkeys(without_media(text) for text in own))
    return own


def _unless_said(value: Any, default: str, preset: Any) -> Any:  # noqa: ANN401  (literals)
    """The preset's where the scenario leaves the default."""
    return preset if preset is not None and value == default else value


def _laid_under(preset: Options, own: Options) -> Options:
    """The preset's options with the scenario's own keys laid over them."""
    if own == NO_OPTIONS:
        return preset
    if preset == NO_OPTIONS:
        return own
    together = {"options": _merged(preset.text(), own.text())}
    document = Document("the system and the scenario together", together)
    return validate(document, Options, together["options"], ("options",))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found
