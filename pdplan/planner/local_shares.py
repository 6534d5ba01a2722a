"""Share of later turns that decode instances prefill themselves: which are tried, which is taken.

In a steady state a router that sends each prompt where it is served best settles at a share; of
the shares tried the one is taken whose fleet is cheapest, then the one that scores best.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pdplan.errors import SpecError
from pdplan.placement import Placement
from pdplan.planner.turns import LATER, turn_weights
from pdplan.pools.demand import Demand, demand_with
from pdplan.pools.local_turns import score
from pdplan.queueing import sojourn_mean_s
from pdplan.specs.options import Options
from pdplan.specs.options.local_prefill import LocalPrefill

if TYPE_CHECKING:
    from pdplan.planner.place import Placed

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""Those tried where the share is searched; closer where few turns are local."""
EXACT = 1e-9


def local_shares(options: Options, placement: Placement, *, sessions: bool) -> list[Options]:
    """Options with each share to try; without the option where it would change nothing."""
    option = options.local_prefill
    if option is None:
        return [options]
    if not sessions or not placement.decode_apart:
        return [options.model_copy(update={"local_prefill": None})]
    shares = SHARES if option.share == "auto" else (option.share,)
    return [
        options.model_copy(update={"local_prefill": option.model_copy(update={"share": share})})
        for share in shares
    ]


def with_share(work: Demand, placement: Placement, share: float | None) -> Demand:
    """Demand of a fleet that was given, with the share that its decode pool says, if it does.

    Raises SpecError where nothing says it.
    """
    option = work.options.local_prefill
    if option is None and share is None:
        return work
    option = LocalPrefill() if option is None else option
    if share is None and option.share == "auto":
        message = (
            "options.local_prefill.share: 'auto' is for a search; say it here, or as local_prefill "
            "among the options of the pool that decodes"
        )
        raise SpecError(message)
    said = option if share is None else option.model_copy(update={"share": share})
    options = work.options.model_copy(update={"local_prefill": said})
    sessions = bool(work.traffic.earlier_turns.any())
    (found,) = local_shares(options, placement, sessions=sessions)
    return work if found == work.options else demand_with(work, found)


def preferred(tried: Sequence["Placed"]) -> "Placed":
    """Take the least objective; of several with local turns the one that scores best.

    Scores are against the smallest share among them: see `pools.local_turns.score`.
    """
    best = min(tried, key=lambda placed: placed.objective)
    equal = [p for p in tried if p.objective <= best.objective * (1 + EXACT)]
    option = best.context.demand.options.local_prefill
    if option is None or len(equal) < 2 or not np.isfinite(best.objective):
        return best
    paces = [_paces(placed) for placed in equal]
    first = paces[0]
    scores = [
        score(*pace, *first, ttft_weight=option.ttft_weight, tpot_weight=option.tpot_weight)
        for pace in paces
    ]
    return equal[int(np.argmax(scores))]


def _paces(placed: "Placed") -> tuple[float, float]:
    """Mean TTFT of later turns, and mean TPOT."""
    program, choice = placed.program, placed.choice
    assert program is not None
    assert choice is not None
    assert choice.columns is not None
    chain = program.chain
    found = np.array([choice.columns], np.int64)
    way, weight = chain.sojourn(found), turn_weights(chain.demand)[LATER]
    ttft = sojourn_mean_s(weight / weight.sum(), way.fixed_s, way.probabilities, way.tail_means_s)
    position, decoder = chain.table("D")
    pace = decoder.tpot_mean_s[chain.column(found, position)]
    return float(np.ravel(ttft)[0]), float(pace[0])
