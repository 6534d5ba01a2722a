"""What a fleet delivers: percentiles, attainment and the terms of the first token."""

from dataclasses import dataclass, replace

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement import Chain
from pdplan.placement.latency import Sojourn
from pdplan.plan import LEVELS, ClassPrediction, Prediction, Spread, Target, TtftTerms
from pdplan.planner.answers import answers_s
from pdplan.planner.attainment import both_met
from pdplan.planner.fleet import Fleet
from pdplan.planner.goals import Goal
from pdplan.planner.handed import gap_mean_s, gap_quantiles_s, shown
from pdplan.planner.paces import Paces, Steps
from pdplan.planner.turns import prefilled_s, prefilled_share, ttft_by_turn
from pdplan.pools.decode_pool import MEAN
from pdplan.pools.demand import Demand
from pdplan.pools.table import Ints
from pdplan.stages.access import access_s

QUANTILES = np.array(LEVELS) / 100


@dataclass(frozen=True, slots=True, eq=False)
class _Fleet:
    """A fleet under load and the distributions that all classes share."""

    chain: Chain
    demand: Demand
    ttft: Sojourn
    after: Sojourn
    """Up to the first decode step: what E2E counts, even if the first token comes earlier."""
    steps: Steps
    itl_s: Spread
    admission: tuple[int, float]
    """Place of the wait for admission to decode among those of TTFT, and its probability."""

    @classmethod
    def of(cls, fleet: Fleet, chain: Chain) -> "_Fleet":
        """Put the fleet's chain to use."""
        choice = np.zeros((1, len(chain.tables)), np.int64)
        ttft = chain.sojourn(choice)
        after = replace(chain, first_token_from="decode").sojourn(choice)
        decoder, demand = chain.table("D")[1], fleet.demand
        weight = demand.weight()
        late = chain.late
        before = after.mean_s(weight) - ttft.mean_s(weight) if late else 0.0
        levels = sorted({*QUANTILES.tolist(), *(goal.level for goal in fleet.goals)} - {MEAN})
        gaps = map(float, gap_quantiles_s(decoder, demand, QUANTILES)[0])
        return cls(
            chain=chain,
            demand=demand,
            ttft=ttft,
            after=after,
            steps=Steps.of(decoder, demand, np.array(levels), before),
            admission=_admission(chain, choice),
            itl_s=Spread(float(gap_mean_s(decoder, demand)[0]), *gaps),
        )

    def paces(self, weight: Floats) -> Paces:
        """TPOT in decode of the requests at points of given weights."""
        return self.steps.paces(self.demand, weight)

    def shown(self, pace: Paces, weight: Floats) -> Paces:
        """TPOT as their users see it."""
        return shown(self.steps, pace, self.demand, weight)


def predict_fleet(fleet: Fleet, chain: Chain) -> Prediction:
    """Predict latencies and attainment of a fleet at its workload's rate."""
    state = _Fleet.of(fleet, chain)
    weight = fleet.demand.weight()
    traffic = fleet.demand.traffic
    classes, targets = [], []
    for i, kind in enumerate(traffic.classes):
        mine = np.where(traffic.class_index == i, weight, 0.0) / max(kind.share, 1e-12)
        mine = mine / mine.sum()
        pace = state.paces(mine)
        seen = state.shown(pace, mine)
        classes.append(
            ClassPrediction(
                name=kind.name,
                share=kind.share,
                attainment=_attainment(state, seen, kind.ttft_s, kind.tpot_s, mine),
                ttft_s=_ttft(state, mine),
                tpot_s=_tpot(seen),
                itl_s=state.itl_s,
                e2e_s=answers_s(state.after, pace, fleet.demand, mine, QUANTILES),
            )
        )
        own = [goal for goal in fleet.goals if goal.request_class == kind.name]
        targets += [_target(state, classes[-1], seen, goal) for goal in own]
    attainment = float(sum(c.share * c.attainment for c in classes))
    rate = fleet.demand.rate_rps
    output = float((weight[:, None] * traffic.output_weight * traffic.output_tokens).sum())
    whole = classes[0] if len(classes) == 1 else None
    pace = state.paces(weight) if whole is None else pace
    return Prediction(
        rate_rps=rate,
        goodput_rps=rate * attainment,
        attainment=attainment,
        output_tokens_per_s_per_gpu=rate * output / fleet.gpus,
        ttft_s=whole.ttft_s if whole else _ttft(state, weight),
        tpot_s=whole.tpot_s if whole else _tpot(state.shown(pace, weight)),
        itl_s=state.itl_s,
        e2e_s=whole.e2e_s if whole else answers_s(
            state.after, pace, fleet.demand, weight, QUANTILES
        ),
        ttft_terms_s=_terms(state),
        classes=tuple(classes),
        targets=tuple(targets),
        **ttft_by_turn(state.ttft, fleet.demand),
    )  # fmt: skip


def _admission(chain: Chain, choice: Ints) -> tuple[int, float]:
    """Place of the wait for admission among those of TTFT, and its probability; 0 without one."""
    late = chain.late
    for place, (name, wait) in enumerate(chain.waits(choice)):
        if name == "decode" and not late:
            return place, float(np.asarray(wait.probability)[0])
    return 0, 0.0


def _ttft(state: _Fleet, weight: Floats) -> Spread:
    return Spread(state.ttft.mean_s(weight), *map(float, state.ttft.quantiles_s(QUANTILES, weight)))


def _tpot(pace: Paces) -> Spread:
    return Spread(pace.mean_s, *map(pace.at, QUANTILES.tolist()))


def _target(state: _Fleet, found: ClassPrediction, pace: Paces, goal: Goal) -> Target:
    if goal.metric == "tpot":
        predicted = pace.at(goal.level)
    elif goal.level == MEAN or goal.percentile in LEVELS:
        predicted = found.ttft_s.at(goal.percentile)
    else:
        predicted = goal.ttft_s(state.ttft)
    return Target(goal.request_class, goal.metric, goal.percentile, goal.limit_s, predicted)


def _attainment(
    state: _Fleet, pace: Paces, ttft_s: float | None, tpot_s: float | None, weight: Floats
) -> float:
    """Share of requests within both objectives; requests without a TPOT meet it."""
    first = 1.0 if ttft_s is None else float(state.ttft.attainment(ttft_s, weight)[0])
    within = 1.0 if tpot_s is None else pace.within(tpot_s)
    place, waiting = state.admission
    if ttft_s is None or tpot_s is None or not 0 < waiting < 1:
        return first * within
    memory = float(state.steps.fine.memory(pace.outputs)[0])
    return both_met(state.ttft, weight, ttft_s, within, place=place, waiting=waiting, memory=memory)


def _terms(state: _Fleet) -> TtftTerms:
    """Mean of every part of the time to first token; they sum to its mean.

    What is left of the running step in a pool that only decodes belongs to its wait.
    """
    choice = np.zeros((1, len(state.chain.tables)), np.int64)
    demand, chain = state.demand, state.chain
    late = chain.late
    found = dict.fromkeys(TtftTerms.__dataclass_fields__, 0.0)
    moved, cached = chain.transfers_s(choice)
    found["embed_transfer"] = float(demand.mean(moved)[0])
    saved = chain.saved_s(choice, moved)
    if saved is not None:
        found["encode"] -= float(demand.mean(saved)[0])
    found["kv_transfer"] = 0.0 if late else float(demand.mean(cached)[0])
    access = access_s(demand.options, demand.prompt_tokens)
    found["access"] = 0.0 if access is None else float(demand.mean(access))
    read = chain.read_s(choice)
    if read is not None:
        found["kv_transfer"] += float(demand.mean(read)[0])
    for table in chain.tables:
        spent = float(demand.mean(table.prefill_s)[0])
        if table.stages == "D":
            local = prefilled_s(table, demand)
            found["prefill"] += local
            found["decode_wait"] += 0.0 if late else spent - local
        else:
            served = 0.0 if table.served_s is None else float(table.served_s[0])
            served *= prefilled_share(table, demand)
            found["prefill"] += spent + served
            found["prefill_wait"] -= served
        found["encode"] += float(demand.mean(table.encode_s)[0])
    owners = [table for table in chain.tables for _ in table.named_waits]
    for (name, wait), table in zip(chain.waits(choice), owners, strict=True):
        share = demand.media_share if name == "encode" else 1.0
        share *= prefilled_share(table, demand) if name == "prefill" else 1.0
        if name == "decode" and late:
            continue
        found[f"{name}_wait"] += float(np.asarray(wait.mean_s)[0]) * share
    return TtftTerms(**found)
