"""Time to first token of the first turns of sessions, and of the later ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement.latency import Sojourn
from pdplan.plan import LEVELS, Spread
from pdplan.pools.demand import Demand
from pdplan.pools.table import PoolTable

QUANTILES = np.array(LEVELS) / 100
FIRST, LATER = "ttft_first_s", "ttft_later_s"
"""Names in a prediction."""


def turn_weights(demand: Demand) -> dict[str, Floats]:
    """Weights [S] of the support points of first and of later turns; none without sessions."""
    later = demand.traffic.earlier_turns > 0
    if not later.any():
        return {}
    weight = demand.weight()
    return {FIRST: np.where(later, 0.0, weight), LATER: np.where(later, weight, 0.0)}


def ttft_by_turn(ttft: Sojourn, demand: Demand) -> dict[str, Any]:
    """TTFT of first turns and of later ones; requests of classes without sessions are first."""
    found = {}
    for name, mine in turn_weights(demand).items():
        if mine.any():
            share = mine / mine.sum()
            levels = map(float, ttft.quantiles_s(QUANTILES, share))
            found[name] = Spread(ttft.mean_s(share), *levels)
    return found


def prefilled_share(table: PoolTable, demand: Demand) -> float:
    """Share of the requests that a pool prefills, of those that it could."""
    return 1.0 if table.prefilled is None else float(demand.weight() @ table.prefilled)


def prefilled_s(table: PoolTable, demand: Demand) -> float:
    """Mean time over all requests in which a pool's only column prefills them there itself."""
    if table.prefilled is None:
        return 0.0
    return float(demand.weight() @ (table.prefilled * table.prefill_s[0]))


def turns_of_fleets(
    fleets: Sequence[tuple[Sojourn, Demand]], shares: Floats
) -> dict[str, tuple[list[tuple[Sojourn, Floats]], Floats]]:
    """Sojourns of several fleets by turn, and each fleet's share of those requests."""
    found = {}
    for name in (FIRST, LATER):
        parts, rates = [], []
        for (ttft, demand), share in zip(fleets, shares, strict=True):
            first_only = {FIRST: demand.weight()}
            mine = (turn_weights(demand) or first_only).get(name)
            if mine is not None and mine.any():
                parts.append((ttft, mine / mine.sum()))
                rates.append(share * float(mine.sum()))
        if parts:
            found[name] = (parts, np.array(rates) / sum(rates))
    return found if LATER in found else {}
