"""Requests of a closed loop: what each finds at the pools it visits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pdplan.physics.roofline import Floats
from pdplan.plan import TtftTerms
from pdplan.planner.closed_stations import Passes, host_s, step_at
from pdplan.planner.closed_visits import Lane, Part, Visit, step_left_s
from pdplan.planner.sampled import Draws, Served
from pdplan.pools.decode_pool import outputs
from pdplan.pools.request_pool import shared_encode_s

E, P, D, PACE, NOISE, STEP = range(6)
"""What the places of drawn requests stand for."""


def serve(
    lane: Lane,
    visits: Sequence[Visit | None],
    rate_rps: float,
    read_rps: float,
    requests: int,
) -> Served:
    """Draw the requests of one fleet; `read_rps` is the rate at which transfers are read."""
    demand = lane.fleet.demand
    draws = Draws.of(demand, 6)
    way = _Way(draws, demand.media.present[draws.point])
    late = lane.apart and lane.fleet.first_token_from == "prefill"
    moved, cached = lane.transfers_s(read_rps)
    left = step_left_s(lane, read_rps, requests)
    pace = gaps = after = np.zeros(len(draws.point))
    for part, visit in zip(lane.parts, visits, strict=True):
        times = part.table.times
        way.add("encode", host_s(part.member, times, demand)[draws.point])
        if "P" in times.stages:
            way.add("prefill", way.all(float(times.machines.request_s[0, 0])))
        if visit is None:
            continue
        if "D" not in times.stages:
            _passed(way, part, visit, lane)
        elif part.instance is not None:
            pace, gaps = _interleaved(way, part, visit, lane)
        else:
            wait, pace, gaps = _decoded(way, part, visit, lane, rate_rps)
            wait = wait + 2 * left * draws.place[:, STEP]
            after = wait + cached[draws.point]
            if not late:
                way.add("kv_transfer", cached[draws.point])
                way.add("decode_wait", wait)
        if times.stages == "E":
            way.add("embed_transfer", moved[draws.point])
    decode = draws.steps / demand.tokens_per_step * pace + (after if late else 0.0)
    several = draws.steps > 0
    tpot = np.where(several, decode / np.maximum(draws.steps, 1.0), np.nan)
    return Served(
        fleet=lane.fleet,
        share=lane.share,
        draws=draws,
        ttft_s=way.first_s,
        tpot_s=tpot,
        e2e_s=way.first_s + np.where(several, decode, 0.0),
        step_s=gaps,
        terms_s=TtftTerms(**way.terms_s),
    )


class _Way:
    """Times to first token of drawn requests, as they add up."""

    def __init__(self, draws: Draws, media: NDArray[np.bool_]) -> None:
        self.draws, self.media = draws, media
        self.first_s = np.zeros(len(draws.point))
        self.terms_s = dict.fromkeys(TtftTerms.__dataclass_fields__, 0.0)

    def all(self, value: float) -> Floats:
        """The same for every request."""
        return np.full(len(self.first_s), value)

    def add(self, term: str, value_s: Floats) -> None:
        """Add a part of the time to first token."""
        self.first_s = self.first_s + value_s
        self.terms_s[term] += float(self.draws.weight @ value_s / self.draws.weight.sum())


def _passed(way: _Way, part: Part, visit: Visit, lane: Lane) -> None:
    """A pool that hands requests on."""
    times, draws, demand = part.table.times, way.draws, lane.fleet.demand
    only_media = times.stages == "E"
    passes = Passes.of(part.member, times, demand)
    n = passes.servers
    busy = visit.in_service / n
    found = max(float(visit.seen @ visit.here) / n, 1.0)
    together = float(passes.together(np.array(found)))
    shared = busy * (together - 1) * passes.added_s if "P" in times.stages else 0.0
    mean = max(visit.stay_s - passes.alone_s - shared, 0.0)
    column = E if only_media else P
    wait = visit.waits_s(passes.scv, mean, draws.place[:, column], draws.place[:, NOISE])
    term = "encode_wait" if only_media else "prefill_wait"
    way.add(term, wait * way.media if only_media else wait)
    encode = times.encode_s[0]
    if only_media:
        together = part.member.discipline.together("E", part.member.pool.instances)
        encode = shared_encode_s(times, demand, together)[0]
    way.add("encode", encode[draws.point])
    if not only_media:
        way.add("prefill", times.prefill_s[0][draws.point] + shared)


def _decoded(
    way: _Way, part: Part, visit: Visit, lane: Lane, rate_rps: float
) -> tuple[Floats, Floats, Floats]:
    """A pool that only decodes: admission wait, time per step of each request, single steps.

    Requests that wait here do not wait for prefill: who finds many there finds few here.
    """
    draws, demand = way.draws, lane.fleet.demand
    n, cap = part.member.pool.instances, part.member.pool.max_batch
    mean = visit.in_service / (rate_rps * demand.decode_steps)
    outside = max(visit.stay_s - mean * demand.decode_steps, 0.0)
    opposite = 1 - draws.place[:, P]
    wait = visit.waits_s(1.0, outside, opposite, draws.place[:, NOISE])
    steps = step_at(part.table, demand, np.clip(visit.serving / n, 1.0, cap))
    taken = visit.at * visit.serving / steps
    taken = taken / taken.sum()
    reached = np.cumsum(taken) - taken / 2
    gaps = np.interp(draws.place[:, PACE], reached, steps)
    gaps = gaps * (mean / gaps.mean())
    return wait, _averaged(gaps, mean, draws, lane), gaps


def _interleaved(way: _Way, part: Part, visit: Visit, lane: Lane) -> tuple[Floats, Floats]:
    """A pool that prefills and decodes: the prompt, time per step of each request, single steps."""
    draws, demand, times = way.draws, lane.fleet.demand, part.table.times
    assert part.instance is not None
    n = part.member.pool.instances
    inside = visit.in_service
    outside = visit.stay_s - inside / visit.rate_rps
    stay = part.instance.at(max(inside / n, 1.0))
    left, others, queued, pace, step = (
        float(x[0])
        for x in (stay.step_left_s, stay.others_s, stay.queued_s, stay.pace_s, stay.step_s)
    )
    own = times.prefill_s[0] + times.encode_s[0]
    if part.member.discipline.scheduler != "prefill_first":
        own = own + (float(stay.own_s[0]) - float(demand.mean(own)))
    rest = inside / visit.rate_rps - (left + others + queued + float(stay.own_s[0]))
    pace = max(rest / demand.decode_steps, step)
    queued += rest - pace * demand.decode_steps
    wait = visit.waits_s(1.0, max(outside, 0.0), draws.place[:, D], draws.place[:, NOISE])
    way.add("decode_wait", wait)
    found = 2 * left * draws.place[:, STEP] - others * np.log1p(-draws.place[:, P])
    way.add("prefill_wait", found + max(queued, 0.0))
    encode = times.encode_s[0][draws.point]
    way.add("encode", encode)
    way.add("prefill", np.maximum(own[draws.point] - encode, 0.0))
    added = part.instance.added_s2
    count = np.maximum(draws.steps / demand.tokens_per_step, 1.0)
    deviation = np.sqrt(float(stay.interrupts_rps[0]) * pace * added / count)
    paces = np.maximum(pace + deviation * ndtri(draws.place[:, PACE]), step)
    mixed = np.where(draws.place[:, NOISE] < part.instance.carrying(stay), 1.0, 0.0)
    share = float(mixed.mean())
    gaps = step + mixed * ((pace - step) / share if share > 0 else 0.0)
    return paces * (pace / paces.mean()), gaps


def _averaged(gaps: Floats, mean: float, draws: Draws, lane: Lane) -> Floats:
    """Mean step of a request over its stay."""
    demand = lane.fleet.demand
    own = np.maximum(draws.steps / demand.tokens_per_step, 1.0)
    known = outputs(demand)
    kept = np.interp(own, known.steps, known.averaging(known.steps, 1.0))
    return np.asarray(mean + np.sqrt(kept) * (gaps - mean))
