"""What the first N requests of a fleet see that starts empty, also where no steady state exists.

Request i comes at t = i / lambda. At every pool its wait is that of work in front of it as Brownian
motion from empty (`queueing.transient`), with the variance that gives the steady wait where there
is one; at more than capacity it grows without end. Later pools see no more than the pools before
them let through. The decode batch fills as a fluid, and a request's TPOT is the mean step over its
stay. Percentiles are over drawn requests (`sampled`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pdplan.errors import SpecError
from pdplan.physics.roofline import Floats
from pdplan.plan import Plan, TtftTerms
from pdplan.planner.closed_fleet import missed_words
from pdplan.planner.closed_visits import carried_rps
from pdplan.planner.early_queues import LEVELS, NEARLY, EarlyBatch, EarlyQueue, single
from pdplan.planner.evaluation import at_rate, evaluated, fleets_of
from pdplan.planner.fleet import Fleet, Fleets, Member
from pdplan.planner.overload import no_steady_state
from pdplan.planner.sampled import Draws, Served, predicted
from pdplan.planner.settings import refuse_unfollowed
from pdplan.pools.load import tpot_quantiles_s
from pdplan.pools.table import PoolTable
from pdplan.queueing import Wait
from pdplan.specs.plan_file import PlanSpec

TRICKLE = 1e-3
"""Of a rate at which nobody meets anybody."""
INDEX, E, P, D, PACE = range(5)
"""What the places of drawn requests stand for."""


def evaluate_first(spec: PlanSpec, requests: int, *, rate_rps: float | None = None) -> Plan:
    """Predict what the first `requests` requests of an empty fleet see; at another rate if asked.

    Arrivals go on after them. Raises UnfitError where a pool cannot hold or run the model,
    SpecError for less than one request.

    *Error* against simulation (`test_first_requests`; loads 0.9, 1.1 and 1.5 of capacity, 200 to
    5,000 requests): p90 of TTFT, TPOT and E2E within 10 %, mean TPOT 4 %. Where a decode batch has
    just filled, a few waits count: TTFT of that moment up to twice as long as said. Beyond
    capacity an error e of it gives 1 / (rho - 1) as much in waits. Pools that do both and spend
    over 70 % of their time on prompts: up to 50 % too long at loads of 0.9 to 1.1. Below capacity
    many requests reach the steady state within 4 %.
    """
    if requests < 1:
        message = f"requests must be 1 or more; got {requests}"
        raise SpecError(message)
    fleets = fleets_of(spec, rate_rps)
    placements = [fleet.placement for fleet in fleets.groups]
    refuse_unfollowed("a run of first requests", spec.options, placements, spec.model)
    rate = fleets.demand.rate_rps
    span = requests / rate
    served = [_Way(fleet, fleet.demand.rate_rps / rate, span).served() for fleet in fleets.groups]
    prediction = predicted(fleets, served, rate)
    plan = evaluated(fleets)
    loads = [pool.utilization for pool in plan.pools]
    through = 1 / max(1.0, *loads, *(hop.link_utilization for hop in plan.transfers))
    output = prediction.output_tokens_per_s_per_gpu * through
    prediction = replace(prediction, output_tokens_per_s_per_gpu=output)
    several = len(prediction.classes) > 1
    missed = [missed_words(t, several=several) for t in prediction.targets if not t.met]
    overloaded = no_steady_state(plan)
    name = str(plan.workload.get("name") or "traffic")
    cost = plan.cost_usd_per_hour
    return replace(
        plan,
        status="infeasible" if missed else "feasible",
        prediction=prediction,
        usd_per_million_output_tokens=None
        if cost is None
        else cost / (output * plan.gpus * 3600) * 1e6,
        binding=(*([] if overloaded is None else [overloaded]), *missed),
        workload=dict(plan.workload)
        | {"name": f"first {requests} requests of {name}", "requests": requests},
    )


class _Way:
    """The way of one fleet's requests, pool by pool."""

    def __init__(self, fleet: Fleet, share: float, span_s: float) -> None:
        self.fleet, self.share, self.demand = fleet, share, fleet.demand
        self.draws = Draws.of(fleet.demand, 5)
        self.at_s = span_s * self.draws.place[:, INDEX]
        """When each request comes to the pool that is next."""
        self.rate = fleet.demand.rate_rps
        """Rate of requests that come there."""
        self.first_s = np.zeros(len(self.at_s))
        self.terms = dict.fromkeys(TtftTerms.__dataclass_fields__, 0.0)

    def _add(self, term: str, value_s: Floats, *, counts: bool = True) -> None:
        """Let time pass; it counts as time to the first token unless that was seen already."""
        self.at_s = self.at_s + value_s
        if counts:
            self.first_s = self.first_s + value_s
            weight = self.draws.weight
            self.terms[term] += float(weight @ value_s / weight.sum())

    def _table(self, position: int) -> tuple[PoolTable, float, Sequence[Floats]]:
        """A pool at the rate that comes, or nearly its capacity; that rate, and transfers."""
        whole = self.fleet.chain().tables[position]
        read = NEARLY * min(float(whole.capacity_rps[0]), carried_rps(self.fleet))
        read = min(self.rate, read)
        chain = at_rate(Fleets.one(self.fleet), read).first.chain()
        hops = chain.transfers_s(np.zeros((1, len(chain.tables)), np.int64))
        return chain.tables[position], read, [hop[0] for hop in hops]

    def served(self) -> Served:
        """Follow the requests through."""
        began = self.at_s
        late = self.fleet.placement.decode_alone and self.fleet.first_token_from == "prefill"
        media = self.demand.media.present[self.draws.point]
        decode = np.zeros(len(began))
        pace = np.zeros(len(began))
        for position, member in enumerate(self.fleet.members):
            table, read, hops = self._table(position)
            stages, point = table.stages, self.draws.point
            if stages == "D":
                self._add("kv_transfer", hops[1][point], counts=not late)
            if "D" not in stages:
                trickle = at_rate(Fleets.one(self.fleet), TRICKLE * read).first.chain()
                self._pass(table, trickle.tables[position], read, media)
            else:
                decode, pace = self._decode(member, table, read, late=late)
            if stages == "E":
                self._add("embed_transfer", hops[0][point])
            self.rate = min(self.rate, float(table.capacity_rps[0]))
        steps = self.draws.steps
        several = steps > 0
        first = self.first_s
        end = self.at_s - began + decode
        tpot = np.where(several, (end - first) / np.maximum(steps, 1.0), np.nan)
        return Served(
            fleet=self.fleet,
            share=self.share,
            draws=self.draws,
            ttft_s=first,
            tpot_s=tpot,
            e2e_s=np.where(several, end, first),
            step_s=pace,
            terms_s=TtftTerms(**self.terms),
        )

    def _waits(
        self, table: PoolTable, read: float, waits: Sequence[Wait | None], elapsed_s: Floats,
        place: Floats, share: float = 1.0,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Waits before a pool that began empty, and how far it has settled."""
        capacity = float(table.capacity_rps[0])
        queue = EarlyQueue.of(waits, self.rate * share, capacity * share, read * share)
        return queue.waits_s(elapsed_s, place)

    def _pass(
        self, table: PoolTable, empty: PoolTable, read: float, media: NDArray[np.bool_]
    ) -> None:
        """A pool that hands requests on; others share its passes once it has settled."""
        point, only_media = self.draws.point, table.stages == "E"
        if only_media:
            waits = (table.encode_wait, table.encode_more)
            share = self.demand.media_share
            wait, settled = self._waits(
                table, read, waits, self.at_s, self.draws.place[:, E], share
            )
            self._add("encode_wait", wait * media)
        else:
            waits = (table.prefill_wait, table.prefill_more)
            wait, settled = self._waits(table, read, waits, self.at_s, self.draws.place[:, P])
            self._add("prefill_wait", wait)
        for term, own, alone in (
            ("encode", table.encode_s, empty.encode_s),
            ("prefill", table.prefill_s, empty.prefill_s),
        ):
            self._add(term, alone[0][point] + settled * (own[0][point] - alone[0][point]))

    def _decode(
        self, member: Member, table: PoolTable, read: float, *, late: bool
    ) -> tuple[Floats, Floats]:
        """A pool that decodes: waits, then time in decode and the step of each request."""
        draws, demand, point = self.draws, self.demand, self.draws.point
        both = "P" in table.stages
        since = float(self.at_s.min()) if not both else 0.0
        batch = EarlyBatch.of(member, table, demand, self.rate, read)
        elapsed = np.maximum(self.at_s - since - batch.filled_s, 0.0)
        if both:
            capacity = float(table.capacity_rps[0])
            waits = {"prefill": single(table.prefill_wait), "decode": single(table.decode_wait)}
            fuller = max(waits, key=lambda name: float(waits[name].mean_s))
            for name, place in (("prefill", P), ("decode", D)):
                wait, chance = waits[name], draws.place[:, place]
                queue = EarlyQueue.of([wait], self.rate, capacity, read)
                if name == "prefill" and self.rate < capacity:
                    found, _ = queue.waits_s(self.at_s, chance)
                elif name == fuller or self.rate < capacity:
                    found, _ = queue.waits_s(elapsed, chance)
                else:
                    found = np.asarray(wait.quantile_s(chance))
                self._add(f"{name}_wait", found)
            self._add("encode", table.encode_s[0][point])
            self._add("prefill", table.prefill_s[0][point])
        else:
            waited, _ = self._waits(table, read, (table.decode_wait,), elapsed, draws.place[:, D])
            self._add("decode_wait", waited + table.prefill_s[0][point], counts=not late)
        steps = draws.steps / demand.tokens_per_step
        decode = batch.lasting_s(self.at_s - since, steps)
        apart = self._apart(table, decode / np.maximum(steps, 1.0), steps)
        decode = decode * (apart / float(draws.weight @ apart / draws.weight.sum()))
        return decode, decode / np.maximum(steps, 1.0)

    def _apart(self, table: PoolTable, pace_s: Floats, steps: Floats) -> Floats:
        """Pace of each request over that of the mean one.

        Of requests that came with others, as in the steady state; in a full batch beside prompts
        it is their number that differs, as by chance.
        """
        place = self.draws.place[:, PACE]
        if "P" in table.stages and self.rate >= float(table.capacity_rps[0]):
            added = (table.times.marginal_s + table.times.encode_s)[0]
            each = float(table.capacity_rps[0]) / float(table.columns.instances[0])
            variance = each * float(self.demand.mean(added**2)) / np.maximum(steps, 1.0) / pace_s
            apart = 1 + np.sqrt(variance) * ndtri(place)
            return np.asarray(np.maximum(apart, pace_s.min() / pace_s))
        levels = np.append(LEVELS, 0.9999)
        known = tpot_quantiles_s(table, self.demand, levels)[0]
        return np.asarray(np.interp(place, levels, known) / float(table.tpot_mean_s[0]))
