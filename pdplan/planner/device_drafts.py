"""How many tokens devices may draft, where that is left to the search."""

from dataclasses import replace

import numpy as np

from pdplan.errors import InfeasibleError
from pdplan.specs.dtypes import DTYPE_BYTES
from pdplan.specs.options import Options
from pdplan.specs.options.device_draft import AUTO, MOST_DRAFTED
from pdplan.specs.scenario import Scenario
from pdplan.stages.device_draft import Rounds, rounds_of, uplink_share
from pdplan.stages.speculation import mean_steps

LONGEST = 8
"""A check under load, waiting for the running pass included, over one that reads the weights."""


def drafts(options: Options, scenario: Scenario) -> list[Options]:
    """Options with each number of drafted tokens that may be best and that users can send.

    First comes what is quickest for a user alone whose drafts are checked in the time that one
    accelerator takes to read the weights, so that of fleets as good the one with quicker answers
    is found. Raises InfeasibleError where users' cell cannot carry what they would send.
    """
    option, model = options.device_draft, scenario.model
    rounds = rounds_of(option, model.vocab)
    if option is None or rounds is None:
        return [options]
    tried = [rounds]
    if option.draft_tokens == AUTO:
        tried = [replace(rounds, draft_tokens=g) for g in range(1, MOST_DRAFTED + 1)]
        weights = model.parameters().active_per_token * DTYPE_BYTES.get(model.checkpoint_dtype, 2.0)
        check = min(weights / choice.spec.memory.bandwidth for choice in scenario.hardware)
        tried = _worth(tried, check)
    ways = {one.draft_tokens: _with(options, one.draft_tokens) for one in tried}
    loads = {one.draft_tokens: _cell_load(ways[one.draft_tokens], scenario, one) for one in tried}
    if min(loads.values()) >= 1:
        message = (
            f"options.device_draft: users would send {min(loads.values()):.0%} of what "
            "cell_uplink carries"
        )
        raise InfeasibleError(message)
    return [way for g, way in ways.items() if loads[g] < 1]


def _worth(tried: list[Rounds], check_s: float) -> list[Rounds]:
    """Numbers that may be best, quickest for a user alone first.

    Fewer drafts take less of the fleet for each token, (g + 1) / E, so a number is of use only if
    it is quicker than every smaller one for a check of check_s, or of LONGEST times that; the time
    of a token, (Z + check) / E, is linear in between.
    """
    found: list[Rounds] = []
    for one in tried:
        times = [
            [float(x.round_s(check)) / x.tokens for check in (check_s, LONGEST * check_s)]
            for x in (one, *found)
        ]
        if all(min(a - b for a, b in zip(times[0], t, strict=True)) < 0 for t in times[1:]):
            found.append(one)
    return sorted(found, key=lambda one: float(one.round_s(check_s)) / one.tokens)


def _with(options: Options, draft_tokens: int) -> Options:
    option = options.device_draft
    if option is None or option.draft_tokens == draft_tokens:
        return options
    changed = option.model_copy(update={"draft_tokens": draft_tokens})
    return options.model_copy(update={"device_draft": changed})


def _cell_load(options: Options, scenario: Scenario, rounds: Rounds) -> float:
    """Share of what users can send together that they send."""
    if options.device_draft is None or options.device_draft.cell_uplink is None:
        return 0.0
    traffic = scenario.traffic
    steps = mean_steps(rounds.speculation, np.maximum(traffic.output_tokens - 1, 0.0))
    mean = float(traffic.weight @ (steps * traffic.output_weight).sum(axis=1))
    prompt = float(traffic.weight @ traffic.text_tokens)
    return uplink_share(options.device_draft, scenario.model.vocab, traffic.rate_rps, mean, prompt)
