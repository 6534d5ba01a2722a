"""Several fleets side by side, each for its own classes: one prediction of them all.

A request meets one fleet only, so the latency of any request is a mixture: means add up by the
fleets' shares of the requests (of the gaps, for ITL), percentiles come from the mixture's own
distribution and never from averaged percentiles.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement import Chain
from pdplan.placement.latency import Sojourn
from pdplan.plan import LEVELS, Prediction, Spread, TtftTerms
from pdplan.planner import answers
from pdplan.planner.fleet import Fleets
from pdplan.planner.handed import gap_quantiles_s, gaps_of, shown_answers
from pdplan.planner.paces import GRID, SHARES, Paces
from pdplan.planner.predict_fleet import _Fleet, predict_fleet
from pdplan.planner.turns import turn_weights, turns_of_fleets
from pdplan.queueing import mixed_quantiles_s

QUANTILES = np.array(LEVELS) / 100
LATENCIES = ("ttft_s", "tpot_s", "itl_s", "e2e_s")
Points = tuple[Sojourn, Floats]
"""A sojourn and the weights of its points."""


def predict_fleets(fleets: Fleets, chains: Sequence[Chain]) -> Prediction:
    """Predict the latencies and the attainment of all requests, and of each class."""
    parts = [predict_fleet(f, c) for f, c in zip(fleets.groups, chains, strict=True)]
    if len(parts) == 1:
        return parts[0]
    rates = np.array([part.rate_rps for part in parts])
    shares = rates / rates.sum()
    order = [kind.name for kind in fleets.demand.traffic.classes]
    classes = [
        replace(kind, share=kind.share * float(share))
        for share, part in zip(shares, parts, strict=True)
        for kind in part.classes
    ]
    targets = [target for part in parts for target in part.targets]
    goodput = sum(part.goodput_rps for part in parts)
    output = sum(
        part.output_tokens_per_s_per_gpu * fleet.gpus
        for part, fleet in zip(parts, fleets.groups, strict=True)
    )
    terms = {
        field.name: float(shares @ [getattr(part.ttft_terms_s, field.name) for part in parts])
        for field in fields(TtftTerms)
    }
    return replace(
        parts[0],
        rate_rps=float(rates.sum()),
        goodput_rps=goodput,
        attainment=goodput / float(rates.sum()),
        output_tokens_per_s_per_gpu=output / fleets.gpus,
        ttft_terms_s=TtftTerms(**terms),
        classes=tuple(sorted(classes, key=lambda kind: order.index(kind.name))),
        targets=tuple(sorted(targets, key=lambda target: order.index(target.request_class))),
        **_spreads(fleets, chains, shares, parts),
        **_by_turn(fleets, chains, shares),
    )


def _spreads(
    fleets: Fleets, chains: Sequence[Chain], shares: Floats, parts: Sequence[Prediction]
) -> dict[str, Any]:
    """Latencies of all requests together."""
    firsts, wholes, paces, gaps = [], [], [], []
    for fleet, chain in zip(fleets.groups, chains, strict=True):
        state, weight = _Fleet.of(fleet, chain), fleet.demand.weight()
        pace = state.paces(weight)
        firsts.append((state.ttft, weight))
        wholes.append(_answers(state, pace, weight))
        paces.append(state.shown(pace, weight))
        gaps.append(gap_quantiles_s(chain.table("D")[1], fleet.demand, GRID))
    paced = np.array([pace.none for pace in paces])
    steps = np.array([gaps_of(fleet.demand) for fleet in fleets.groups])
    weights = {
        "ttft_s": shares,
        "tpot_s": shares * (1 - paced) / (shares @ (1 - paced)),
        "itl_s": shares * steps / (shares @ steps),
        "e2e_s": shares,
    }
    percentiles = {
        "ttft_s": sojourn_percentiles(firsts, shares),
        "tpot_s": pace_percentiles(
            [pace.steps_s + pace.before_s[:, None] for pace in paces],
            [pace.outputs.weight[:, None] * SHARES for pace in paces],
            weights["tpot_s"],
        ),
        "itl_s": pace_percentiles(gaps, [SHARES[None]] * len(gaps), weights["itl_s"]),
        "e2e_s": sojourn_percentiles(wholes, shares),
    }
    return {
        name: Spread(
            float(weights[name] @ [getattr(part, name).mean for part in parts]),
            *percentiles[name],
        )
        for name in LATENCIES
    }


def _by_turn(fleets: Fleets, chains: Sequence[Chain], shares: Floats) -> dict[str, Any]:
    """TTFT of first and of later turns over all fleets, where requests are turns of sessions."""
    demands = [fleet.demand for fleet in fleets.groups]
    if not any(turn_weights(demand) for demand in demands):
        return {}
    states = [_Fleet.of(f, c).ttft for f, c in zip(fleets.groups, chains, strict=True)]
    found = {}
    for name, (parts, mine) in turns_of_fleets(
        list(zip(states, demands, strict=True)), shares
    ).items():
        means = [sojourn.mean_s(weight) for sojourn, weight in parts]
        found[name] = Spread(float(mine @ means), *sojourn_percentiles(parts, mine))
    return found


def _answers(state: _Fleet, pace: Paces, weight: Floats) -> Points:
    """Whole answers as a sojourn, as `answers_s` puts them together."""
    way, traffic, media = state.after, state.demand.traffic, state.demand.media.present
    tokens = np.maximum(traffic.output_tokens - 1, 0.0)
    paced = answers._paces_at(pace, state.demand, tokens)
    joint = weight[:, None] * traffic.output_weight
    every = np.arange(len(weight))
    joint, tokens, paced = shown_answers(state.demand, every, joint, tokens, paced)
    total = way.fixed_s[0][:, None, None] + tokens[:, :, None] * paced
    share = joint[:, :, None] * answers.SHARES
    merged, chances, tails = [], [], []
    for kind in (False, True):
        rows = np.flatnonzero((media == kind) & (weight > 0))
        if rows.size:
            merged.append(answers._merged(share[rows].ravel(), total[rows].ravel()))
            size = len(merged[-1][0])
            chance = weight[rows] / weight[rows].sum() @ way.probabilities[0][rows]
            chances.append(np.tile(chance, (size, 1)))
            tails.append(np.tile(way.tail_means_s[0][rows[0]], (size, 1)))
    whole = replace(
        way,
        fixed_s=np.concatenate([value for _, value in merged])[None],
        probabilities=np.concatenate(chances)[None],
        tail_means_s=np.concatenate(tails)[None],
    )
    return whole, np.concatenate([mass for mass, _ in merged])


def sojourn_percentiles(parts: Sequence[Points], shares: Floats) -> list[float]:
    """Percentiles of a mixture of sojourns: all their points beside each other.

    Where some fleets are overloaded, their share of the requests waits for ever.
    """
    ending = [i for i, (sojourn, _) in enumerate(parts) if _ends(sojourn)]
    mass = float(shares[ending].sum())
    reached = mass * (1 - 1e-12) > QUANTILES
    found = np.full(len(QUANTILES), np.inf)
    if reached.any():
        together, weight = union([parts[i] for i in ending], shares[ending] / mass)
        found[reached] = together.quantiles_s(QUANTILES[reached] / mass, weight)
    return [float(value) for value in found]


def _ends(sojourn: Sojourn) -> bool:
    waits = np.where(sojourn.probabilities > 0, sojourn.tail_means_s, 0.0)
    return bool(np.isfinite(waits).all() and np.isfinite(sojourn.fixed_s).all())


def union(parts: Sequence[Points], shares: Floats) -> Points:
    """One sojourn over the points of several; a wait that a fleet does not have never happens.

    Waits that follow one another stay together; else their order does not matter.
    """
    chains = [_chains(sojourn) for sojourn, _ in parts]
    lengths = {len(chain) for each in chains for chain in each}
    layout: list[int] = []
    for length in sorted(lengths, reverse=True):
        layout += [length] * max(sum(len(c) == length for c in each) for each in chains)
    starts = np.cumsum([0, *layout])

    def placed(values: Floats, own: list[list[int]]) -> Floats:
        found, left = np.zeros((*values.shape[:2], int(starts[-1]))), list(own)
        for start, length in zip(starts, layout, strict=False):
            chain = next((c for c in left if len(c) == length), None)
            if chain is not None:
                left.remove(chain)
                found[..., start : start + length] = values[..., chain]
        return found

    each = [(s, own) for (s, _), own in zip(parts, chains, strict=True)]
    together = Sojourn(
        np.concatenate([s.fixed_s for s, _ in each], axis=1),
        np.concatenate([placed(s.probabilities, own) for s, own in each], axis=1),
        np.concatenate([placed(s.tail_means_s, own) for s, own in each], axis=1),
        tuple(i > 0 for length in layout for i in range(length)),
    )
    return together, np.concatenate(
        [share * w for share, (_, w) in zip(shares, parts, strict=True)]
    )


def _chains(sojourn: Sojourn) -> list[list[int]]:
    """Waits that follow one another, together."""
    found: list[list[int]] = []
    for i in range(sojourn.probabilities.shape[2]):
        if i < len(sojourn.follows) and sojourn.follows[i]:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def pace_percentiles(
    values: Sequence[Floats], weights: Sequence[Floats], shares: Floats
) -> list[float]:
    """Percentiles of a mixture of weighted values; those of overloaded fleets are endless.

    >>> even = (np.arange(1000) + 0.5) / 1000
    >>> half, each = np.array([0.5, 0.5]), [np.full(1000, 1e-3)] * 2
    >>> [round(q, 3) for q in pace_percentiles([even, 1 + even], each, half)]
    [1.0, 1.8, 1.9, 1.98]
    """
    ending = [i for i, part in enumerate(values) if np.isfinite(part).all()]
    mass = float(shares[ending].sum())
    reached = mass * (1 - 1e-12) > QUANTILES
    found = np.full(len(QUANTILES), np.inf)
    if reached.any():
        flat = np.concatenate([values[i].ravel() for i in ending])
        weight = np.concatenate([(shares[i] * weights[i]).ravel() for i in ending])
        found[reached] = mixed_quantiles_s(flat, weight, QUANTILES[reached] / mass)
    return [float(value) for value in found]
