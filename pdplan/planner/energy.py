"""Energy of fleets for every token of prompts and answers."""

from collections.abc import Sequence

import numpy as np

from pdplan.physics.energy import AT_REST, active_j, energy_per_token_j
from pdplan.placement import Chain
from pdplan.planner.fleet import Fleets
from pdplan.pools.request_energy import request_work
from pdplan.specs.options import Options

FOLLOWED = {
    *("sharing", "media_engine", "kv_transfer", "embedding_transfer"),
    *("node_affinity", "local_prefill", "grouping", "gateway"),
}
"""Options under which a request's arithmetic and traffic are those of the plain stages."""


def energy_j_per_token(fleets: Fleets, chains: Sequence[Chain]) -> float | None:
    """Energy of all accelerators over all tokens of prompts and answers [J].

    Board power at rest all the time, and what arithmetic and traffic of every request add; hosts,
    network and cooling are not counted. None where a board power is unknown, a pool has no steady
    state, or an option changes what a request computes.
    """
    board = fleets.power_w
    if board is None or any(_changed(fleet.demand.options) for fleet in fleets.groups):
        return None
    spent, tokens, rate = 0.0, 0.0, 0.0
    for fleet, chain in zip(fleets.groups, chains, strict=True):
        demand = fleet.demand
        if not all(bool(table.stable[0]) for table in chain.tables):
            return None
        for member, table in zip(fleet.members, chain.tables, strict=True):
            shape = member.pool.shape
            power = fleet.hardware[shape.hardware].power
            if power is None or len(shape.parts) > 1:
                return None
            work = request_work(table, demand, member.discipline.scheduler)
            spent += demand.rate_rps * float(active_j(power.board, *work))
        outputs = demand.traffic.output_mean
        tokens += demand.rate_rps * (float(demand.mean(demand.prompt_tokens)) + outputs)
        rate += demand.rate_rps
    found = float(energy_per_token_j(AT_REST * board, spent / rate, rate, tokens / rate))
    return found if np.isfinite(found) else None


def _changed(options: Options) -> bool:
    """Whether an option is given that changes what a request computes."""
    return any(value is not None and name not in FOLLOWED for name, value in options)
