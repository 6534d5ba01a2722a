"""What users see of answers that the fleet begins and their devices finish.

The fleet's own TPOT is what its pools deliver; of answers handed over, tokens are shown at a pace,
the device's too, so their TPOT is max(pace, device's step, the fleet's own).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.planner.paces import GRID, LENGTHS, SHARES, Paces, Steps, share_within
from pdplan.pools.demand import Demand
from pdplan.pools.itl import itl_mean_s, itl_quantiles_s
from pdplan.pools.table import PoolTable
from pdplan.queueing import Outputs, mixed_quantiles_s
from pdplan.specs.options.handoff import Handoff
from pdplan.stages.handoff import HandedOver, handed_over

Indices = Any
"""Whole numbers."""


def _handed(demand: Demand) -> tuple[Handoff, HandedOver, Floats] | None:
    """The option, what it sends, and the share of each answer that devices finish [S, O]."""
    option = demand.options.handoff
    if option is None:
        return None
    found = handed_over(option, demand.prompt_tokens)
    over = np.asarray(option.capable * (demand.traffic.output_tokens > found.sent[:, None]), float)
    return (option, found, over) if (over * demand.traffic.output_weight).any() else None


def shown_s(option: Handoff, found: HandedOver, tokens: Floats) -> Floats:
    """Time per token of answers [S, O] that devices finish, the wait for the device in it."""
    pace = max(option.pace, option.device_decode)
    return np.asarray(pace + found.gap_s[:, None] / np.maximum(tokens - 1, 1.0))


def shown(steps: Steps, pace: Paces, demand: Demand, weight: Floats) -> Paces:
    """TPOT as users see it, of requests at points of given weights [S].

    Answers that the fleet finishes keep its pace; of others it is the slowest of what is shown and
    the fleet's own. Unchanged where no answer is handed over.
    """
    handed = _handed(demand)
    if handed is None:
        return pace
    option, found, over = handed
    tokens = demand.traffic.output_tokens
    each = weight[:, None] * demand.traffic.output_weight
    share = float((each * over).sum() / each[tokens > 1].sum()) if (tokens > 1).any() else 0.0
    if share <= 0:
        return pace
    slow = Outputs.of(shown_s(option, found, tokens), each * over, LENGTHS)
    stay = Outputs.of((tokens - 1) / demand.tokens_per_step, each * (1 - over), LENGTHS)
    sent = float((each * over * (found.sent[:, None] - 1)).sum() / (each * over).sum())
    first = Outputs(np.array([max(sent / demand.tokens_per_step, 1.0)]), np.ones(1))
    rows = np.maximum(steps.fine.tpot_s(first)[0], slow.steps[:, None])
    kept = (1 - share) > 1e-12
    weights = np.concatenate([(1 - share) * stay.weight, share * slow.weight])
    lengths = np.concatenate([stay.steps, np.full(len(slow.steps), first.steps[0])])
    nodes = np.concatenate([steps.fine.tpot_s(stay)[0], rows])
    if not kept:
        weights, lengths, nodes = slow.weight, lengths[len(stay.steps) :], rows
    before = steps.before_s / np.maximum(lengths * demand.tokens_per_step, 1.0)
    return replace(
        pace,
        outputs=Outputs(lengths, weights),
        steps_s=nodes,
        step_means_s=nodes @ SHARES,
        before_s=before,
        quantiles_s=np.array([_smallest(nodes, before, weights, p) for p in steps.levels]),
    )


def shown_answers(
    demand: Demand, points: Indices, joint: Floats, tokens: Floats, paced: Floats
) -> tuple[Floats, Floats, Floats]:
    """Weights [X, O], tokens after the first [X, O] and times per token [X, O, L] as shown.

    Of answers at support points [X]; twice as many where only some devices take part.
    """
    handed = _handed(demand)
    if handed is None:
        return joint, tokens, paced
    option, found, over = handed
    slow = np.maximum(
        paced, shown_s(option, found, demand.traffic.output_tokens)[points][..., None]
    )
    over = over[points]
    return (
        np.concatenate([joint * (1 - over), joint * over], axis=1),
        np.concatenate([tokens, tokens], axis=1),
        np.concatenate([paced, slow], axis=1),
    )


def gap_quantiles_s(decoder: PoolTable, demand: Demand, levels: Floats) -> Floats:
    """Percentiles of the gaps between tokens as users see them, of a pool's columns [K, L]."""
    handed = _handed(demand)
    if handed is None:
        return itl_quantiles_s(decoder, demand, levels)
    option, found, over = handed
    fleet = itl_quantiles_s(decoder, demand, GRID)
    share, waits, wait = _gap_shares(demand, found, over)
    pace = max(option.pace, option.device_decode)
    weight = np.concatenate([(1 - share) * SHARES, (share - waits) * SHARES, waits * SHARES])
    shown = np.repeat([pace, pace + wait], len(GRID))
    return np.stack([
        mixed_quantiles_s(np.concatenate([row, shown]), weight, levels) for row in fleet
    ])  # fmt: skip


def gap_mean_s(decoder: PoolTable, demand: Demand) -> Floats:
    """Mean gap between tokens as users see them [K]."""
    own = itl_mean_s(decoder, demand)
    handed = _handed(demand)
    if handed is None:
        return own
    option, found, over = handed
    share, waits, wait = _gap_shares(demand, found, over)
    pace = max(option.pace, option.device_decode)
    return np.asarray((1 - share) * own + share * pace + waits * wait)


def gaps_of(demand: Demand) -> float:
    """Mean gaps between tokens that a request's user sees, in decode steps."""
    if demand.options.handoff is None:
        return demand.decode_steps
    traffic = demand.traffic
    later = traffic.output_weight * np.maximum(traffic.output_tokens - 1, 0.0)
    return float(demand.weight() @ later.sum(axis=1)) / demand.tokens_per_step


def _gap_shares(demand: Demand, found: HandedOver, over: Floats) -> tuple[float, float, float]:
    """Share of gaps in answers handed over, of those of them that wait for the device, how long."""
    traffic = demand.traffic
    each = demand.weight()[:, None] * traffic.output_weight
    later = each * np.maximum(traffic.output_tokens - 1, 0.0)
    total, handed = float(later.sum()), float((each * over).sum())
    wait = float((each * over).sum(1) @ found.gap_s) / max(handed, 1e-300)
    return float((later * over).sum()) / total, handed / total if wait > 0 else 0.0, wait


def _smallest(steps_s: Floats, before_s: Floats, weight: Floats, level: float) -> float:
    """Percentile of TPOT by bisection: the smallest limit that enough requests keep to."""
    low, high = 0.0, float((steps_s[:, -1] + before_s).max())
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        enough = share_within(steps_s, before_s, weight, middle) >= level
        low, high = (low, middle) if enough else (middle, high)
    return high
