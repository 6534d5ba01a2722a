"""Options that are searched: which concrete ones a placement is tried with, and who covers them."""

from collections.abc import Sequence

from pdplan.errors import UnfitError
from pdplan.placement import SPLIT_DECODE, Placement
from pdplan.planner.device_drafts import drafts
from pdplan.planner.local_shares import local_shares
from pdplan.planner.media_candidates import media_option
from pdplan.specs.model import ModelSpec
from pdplan.specs.options import Options
from pdplan.specs.options.sharing import concrete
from pdplan.specs.scenario import Scenario

SIMULATED: tuple[str, ...] = ("encode_cache", "grouping")
"""Options that simulation and closed loops follow."""


def affinities(options: Options) -> list[Options]:
    """Options with a node affinity that is left to the search said, in both ways."""
    node = options.node_affinity
    if node is None or node.kind != "auto":
        return [options]
    ways = (node.model_copy(update={"kind": kind}) for kind in ("high", "low"))
    return [options.model_copy(update={"node_affinity": way}) for way in ways]


def alternatives(scenario: Scenario, placement: Placement) -> list[Options]:
    """Options to try a placement with: all that is left to be searched is said, in every way."""
    found = affinities(media_option(scenario.options, placement))
    found = [one for o in found for one in drafts(o, scenario)]
    if any(len(set(unit) - {"M"}) > 1 for unit in placement.units):
        found = [
            o.model_copy(update={"sharing": way}) for o in found for way in concrete(o.sharing)
        ]
    sessions = bool(scenario.traffic.earlier_turns.any())
    return [one for o in found for one in local_shares(o, placement, sessions=sessions)]


def not_simulated(options: Options, placements: Sequence[Placement]) -> str | None:
    """What of a fleet neither simulation nor closed loops follow, if there is anything."""
    given = [name for name, value in options if value is not None and name not in SIMULATED]
    if given:
        return f"option {given[0]}"
    for placement in placements:
        if SPLIT_DECODE in placement.pools:
            return "decode in halves (A-F)"
        if len(placement.devices) < len(placement.pools):
            return f"pools that share devices, as in {placement.text}"
    return None


def refuse_unfollowed(
    what: str, options: Options, placements: Sequence[Placement], model: ModelSpec
) -> None:
    """Raise UnfitError where a simulation or a closed loop would leave out what a plan says."""
    found = not_simulated(options, placements)
    if model.vision_inject is not None and any(p.encode_apart for p in placements):
        found = found or "prefill that begins before encoding ends (vision_inject)"
    if found is not None:
        message = f"{what} does not follow {found}; evaluate the plan without it"
        raise UnfitError(message)
