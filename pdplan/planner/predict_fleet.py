"""What a fleet delivers: percentiles, attainment and the terms of the first token."""

from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement import Chain
from pdplan.placement.latency import Sojourn
from pdplan.plan import LEVELS, ClassPrediction, Prediction, Spread, Target, TtftTerms
from pdplan.planner.fleet import Fleet
from pdplan.planner.goals import Goal
from pdplan.pools.demand import Demand
from pdplan.pools.load import tpot_quantiles_s
from pdplan.pools.table import PoolTable
from pdplan.queueing import sojourn_mean_s, sojourn_quantile_s

QUANTILES = np.array(LEVELS) / 100
TPOT_EDGES = np.array(
    [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88, 0.92, 0.94, 0.96, 0.98, 0.99, 0.995, 1]
)
TPOT_SHARES = np.diff(TPOT_EDGES)
TPOT_NODES = (TPOT_EDGES[:-1] + TPOT_EDGES[1:]) / 2
"""Levels at which TPOT stands for its distribution inside E2E, fine in the tail."""
E2E_POINTS = 400
TPOT_GRID = np.concatenate([np.linspace(0.0025, 0.9975, 200), [0.999, 0.9999]])


@dataclass(frozen=True, slots=True, eq=False)
class _Fleet:
    """A fleet under load and the distributions that all classes share."""

    chain: Chain
    demand: Demand
    ttft: Sojourn
    after: Sojourn
    """Up to the first decode step: what E2E counts, even if the first token comes earlier."""
    decoder: PoolTable
    tpot_grid: Floats
    tpot_s: Spread


def predict_fleet(fleet: Fleet, chain: Chain) -> Prediction:
    """Predict latencies and attainment of a fleet at its workload's rate."""
    choice = np.zeros((1, len(chain.tables)), np.int64)
    whole = Chain(chain.placement, chain.tables, chain.demand, chain.kv_dtypes, "decode")
    decoder = chain.table("D")[1]
    paces = tpot_quantiles_s(decoder, fleet.demand, np.concatenate([QUANTILES, TPOT_GRID]))[0]
    state = _Fleet(
        chain=chain,
        demand=fleet.demand,
        ttft=chain.sojourn(choice),
        after=whole.sojourn(choice),
        decoder=decoder,
        tpot_grid=paces[len(QUANTILES) :],
        tpot_s=Spread(float(decoder.tpot_mean_s[0]), *map(float, paces[: len(QUANTILES)])),
    )
    weight = fleet.demand.weight()
    traffic = fleet.demand.traffic
    targets = tuple(_target(state, goal) for goal in fleet.goals)
    classes = []
    for i, kind in enumerate(traffic.classes):
        mine = np.where(traffic.class_index == i, weight, 0.0) / max(kind.share, 1e-12)
        mine = mine / mine.sum()
        classes.append(
            ClassPrediction(
                name=kind.name,
                share=kind.share,
                attainment=_attainment(state, kind.ttft_s, kind.tpot_s, mine),
                ttft_s=_ttft(state, mine),
                tpot_s=state.tpot_s,
                e2e_s=_e2e(state, mine),
            )
        )
    attainment = float(sum(c.share * c.attainment for c in classes))
    rate = fleet.demand.rate_rps
    output = float((weight[:, None] * traffic.output_weight * traffic.output_tokens).sum())
    return Prediction(
        rate_rps=rate,
        goodput_rps=rate * attainment,
        attainment=attainment,
        output_tokens_per_s_per_gpu=rate * output / fleet.gpus,
        ttft_s=_ttft(state, weight) if len(classes) > 1 else classes[0].ttft_s,
        tpot_s=state.tpot_s,
        e2e_s=_e2e(state, weight) if len(classes) > 1 else classes[0].e2e_s,
        ttft_terms_s=_terms(state),
        classes=tuple(classes),
        targets=targets,
    )


def _ttft(state: _Fleet, weight: Floats) -> Spread:
    return Spread(state.ttft.mean_s(weight), *map(float, state.ttft.quantiles_s(QUANTILES, weight)))


def _e2e(state: _Fleet, weight: Floats) -> Spread:
    """End-to-end latency: the way to decode plus (o - 1) TPOT, over support points and TPOT nodes.

    TPOT and TTFT are taken as independent; points are merged into a few hundred per kind of
    request, each with its conditional mean.
    """
    traffic = state.demand.traffic
    points = np.flatnonzero(weight > 0)
    steps = np.maximum(traffic.output_tokens[points] - 1, 0.0)
    joint = weight[points, None] * traffic.output_weight[points]
    pace = np.interp(TPOT_NODES, TPOT_GRID, state.tpot_grid)
    mean_pace = float(state.decoder.tpot_mean_s[0])
    pace = pace * (mean_pace / (TPOT_SHARES @ pace)) if np.isfinite(mean_pace) else pace
    total = state.after.fixed_s[0][points, None, None] + steps[:, :, None] * pace
    share = joint[:, :, None] * TPOT_SHARES
    media = state.demand.media.present[points][:, None, None] & np.ones_like(total, bool)
    kept_weight, kept_s, source = [], [], []
    for kind in (False, True):
        rows = media == kind
        if share[rows].sum() > 0:
            w, t = _merged(share[rows], total[rows])
            kept_weight.append(w)
            kept_s.append(t)
            is_media = state.demand.media.present
            source.append(
                np.full(len(w), int(np.flatnonzero((is_media == kind) & (weight > 0))[0]))
            )
    weights, offsets, origin = map(np.concatenate, (kept_weight, kept_s, source))
    probabilities = state.after.probabilities[0][origin]
    means = state.after.tail_means_s[0][origin]
    values = sojourn_quantile_s(QUANTILES, weights, offsets, probabilities, means)
    mean = float(sojourn_mean_s(weights, offsets, probabilities, means))
    return Spread(mean, *map(float, np.asarray(values)))


def _merged(weight: Floats, value: Floats) -> tuple[Floats, Floats]:
    """Points sorted by value and merged to at most E2E_POINTS, keeping the mean."""
    order = np.argsort(value, kind="stable")
    weight, value = weight[order], value[order]
    bins = np.minimum(
        (np.cumsum(weight) - weight / 2) / weight.sum() * E2E_POINTS, E2E_POINTS - 1
    ).astype(np.int64)
    mass = np.asarray(np.bincount(bins, weight, E2E_POINTS), float)
    moment = np.asarray(np.bincount(bins, weight * value, E2E_POINTS), float)
    kept = mass > 0
    return mass[kept], moment[kept] / mass[kept]


def _target(state: _Fleet, goal: Goal) -> Target:
    if goal.metric == "ttft":
        predicted = float(
            state.ttft.quantiles_s(np.array([goal.level]), goal.weight / goal.weight.sum())[0]
        )
    else:
        predicted = float(
            tpot_quantiles_s(state.decoder, state.demand, np.array([goal.level]))[0, 0]
        )
    return Target(goal.request_class, goal.metric, goal.percentile, goal.limit_s, predicted)


def _attainment(state: _Fleet, ttft_s: float | None, tpot_s: float | None, weight: Floats) -> float:
    """Share of requests within both objectives; the two are taken as independent."""
    first = 1.0
    if ttft_s is not None:
        first = float(state.ttft.attainment(ttft_s, weight)[0])
    pace = 1.0
    if tpot_s is not None:
        grid = state.tpot_grid
        if not np.isfinite(grid).all():
            pace = 0.0
        else:
            pace = float(np.interp(tpot_s, grid, TPOT_GRID, left=0.0, right=1.0))
    return first * pace


def _terms(state: _Fleet) -> TtftTerms:
    """Mean of every part of the time to first token; they sum to its mean."""
    choice = np.zeros((1, len(state.chain.tables)), np.int64)
    demand, chain = state.demand, state.chain
    late = chain.placement.decode_apart and chain.first_token_from == "prefill"
    found = dict.fromkeys(TtftTerms.__dataclass_fields__, 0.0)
    moved, cached = chain.transfers_s(choice)
    found["embed_transfer"] = float(demand.mean(moved)[0])
    found["kv_transfer"] = 0.0 if late else float(demand.mean(cached)[0])
    for table in chain.tables:
        found["encode"] += float(demand.mean(table.encode_s)[0])
        found["prefill"] += float(demand.mean(table.prefill_s)[0])
    for name, wait in chain.waits(choice):
        share = demand.media_share if name == "encode" else 1.0
        if name == "decode" and late:
            continue
        found[f"{name}_wait"] += float(np.asarray(wait.mean_s)[0]) * share
    return TtftTerms(**found)
