"""A prompt's own rounds beside decoding, and what prompts do to the decoding of requests."""

from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.beside import PromptEffect, RunningSteps, carrying_steps, fitted_wait
from pdplan.pools.drafting import AtFleet
from pdplan.queueing import (
    DecodeStates,
    PromptMoments,
    Rounds,
    Stream,
    Wait,
    company_within,
    room_after,
)
from pdplan.queueing.outputs import exponential_averaging

EVENED = 2 / 3
"""Least-loaded routing over n instances divides the variance of the prompts that one of them gets
during a stay by n to this power: fitted to simulations of 4 to 64 instances."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptWork:
    """What prompts ask of one instance, each [K, S]."""

    alone_s: Floats
    """Prefill with the instance to itself."""
    added_s: Floats
    """Device time taken from decoding: marginal or whole prefill, and encoding."""
    encode_s: Floats
    """The part of it that encodes."""
    rides: Floats
    """Decode steps that a prompt rides on, or passes it takes alone where prefill goes first."""
    filled: Floats
    """Token budgets' worth of tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Interleaved:
    """K instances that prefill and decode, at their load."""

    states: DecodeStates
    step_s: Floats
    """Effective time per output token at batch 1..N [K, N]."""
    tpot_mean_s: Floats
    """Mean over requests of the time per token [K]."""
    effect: PromptEffect
    """What prompts do to the decoding of requests."""
    busy: Floats
    """Share of time that prompts take [K]."""
    prompt_s: Floats
    """Prefill as a request feels it, without waits [K, S]."""
    wait: Wait
    """Prompts in front and what is left of a running step."""
    rounds: Rounds

    def averaged_s2(self, length_scv: float) -> Floats:
        """Variance of TPOT by the batches that requests meet, prompts aside [K]."""
        apart = self.step_s - np.asarray(self.states.tpot_mean_s)[:, None]
        variance = np.einsum("kn,kn->k", self.states.seen, apart**2)
        return np.asarray(exponential_averaging(self.states.recovery, length_scv) * variance)


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """K instances at their load, before a prompt's own rounds."""

    scheduler: str
    rate_rps: Floats
    busy: Floats
    """Share of time that prompts take."""
    overhead_s: Floats
    """What a round takes before prompts."""
    filled: Floats
    """Budgets' worth of each prompt's tokens, beside the running requests' [K, S]."""
    moments: PromptMoments
    found: Rounds
    states: DecodeStates
    step_s: Floats
    """Slowed steps [K, N]."""
    at: RunningSteps
    stream: Stream
    """Arrivals in decode."""
    own_scv: Floats
    """SCV of gaps between arrivals at an instance."""
    steps: Floats
    inverse_steps: Floats | float
    """Mean of 1 over the steps of a request."""
    second_s2: Floats
    """E[w^2]."""
    prompt_share: float = 1.0
    """Share of the requests in decode whose prompts were prefilled here."""
    away: AtFleet | None = None
    """Where requests are away between passes, how much of their rounds is spent here."""


def served(work: PromptWork, on: Serving, weight: Floats) -> Interleaved:
    """Add a prompt's own rounds, and what others put into its last one.

    A prompt of fill phi takes w + phi c and leaves room in its last round (`room_after`), which
    lasts room c longer and is filled by those who come before it begins: a compound Poisson number,
    E[min(mates, room)] = room (1 - exp(-r t phi / sqrt(phi^2 + room^2))).
    A request's decode of m steps ends m tau / (1 - b) later, longer by what prompts had piled up
    behind it, less what is usually left behind a step, over 1 - b (work is conserved).
    """
    p, found, at, busy, rate = on.moments, on.found, on.at, on.busy, on.rate_rps
    overhead = on.overhead_s
    left = np.maximum(1 - busy, 1e-6)
    full = p.w / np.maximum(p.f, 1e-12)
    prompt = work.added_s + overhead[:, None] * on.filled
    mates, spread = np.zeros_like(busy), found.variance_s2
    rides = found.ahead + p.f
    if on.scheduler != "layered":
        room = room_after(on.filled, work.rides, found.ahead[:, None], found.behind[:, None])
        mean_room = np.maximum(room @ weight, 1e-9)
        later = np.maximum(rides + mean_room - 1, 0.0)
        after = rate * found.company * (found.residual_s + later * (overhead + full))
        lump = p.f / np.hypot(p.f, mean_room)
        taken = -np.expm1(-after * lump)
        mates = mean_room * taken
        prompt += room * (overhead + taken * full)[:, None]
        lumps = np.minimum(lump * mean_room, 1.0)
        uneven = spread + full**2 * mates * (1 - taken) * lumps
        spread = found.gated * found.gated_s2 + (1 - found.gated) * uneven
        rides = rides + mean_room
    wait, always = fitted_wait(found.delay_s, spread)
    prompt += always[:, None]
    ttft = prompt @ weight + np.asarray(wait.mean_s)
    known = np.isfinite(ttft)
    pace = np.asarray(on.states.tpot_mean_s)
    stays = rate * (np.where(known, ttft, 0.0) + on.steps * pace)
    bunched = stays * (company_within(stays, on.own_scv) - 1)
    behind = (rate * ttft + bunched) * p.w - mates * full
    usual = rate * p.w * at.step_s
    if on.scheduler != "prefill_first":
        usual = ttft - p.w - mates * full - rate * p.ww / (2 * left) - overhead * (0.5 + rides)
    passing = busy / np.maximum(rate * p.w, 1e-12)
    late = np.where(known, behind, 0.0) - np.maximum(np.where(known, usual, 0.0), 0.0)
    late = late * passing / left * on.prompt_share
    here = pace
    if on.away is not None:
        here, late = on.away.own_s / left, late * on.away.share
    if on.scheduler == "prefill_first":
        carrying = -np.expm1(-rate * here * left)
    else:
        carrying = carrying_steps(p, rate, here * left, here * busy)
    carrying = np.maximum(carrying, 1e-12)
    if on.scheduler == "layered":
        carried_s2 = (work.added_s**2 / work.rides) @ weight / p.rounds
    else:
        carried_s2 = _carried_s2(on.scheduler, found, p, rate, here * busy, full, left, carrying)
    carried_s2 = np.maximum(carried_s2, (here * busy / carrying) ** 2)
    level = np.asarray(on.stream.level, float)
    riding = np.maximum(on.second_s2 + (on.stream.scv - 1) * p.w**2, 0.0) / level**EVENED
    return Interleaved(
        states=on.states,
        step_s=on.step_s,
        tpot_mean_s=pace + late * on.inverse_steps,
        effect=PromptEffect(
            dispersion=np.broadcast_to(on.stream.dispersion, busy.shape),
            late_s=late,
            arrivals=rate * here * left,
            riding_s=here * busy,
            riding_s2=rate * riding * (passing / left) ** 2 * here,
            carrying=carrying,
            carried_s2=carried_s2,
        ),
        busy=busy,
        prompt_s=prompt,
        wait=wait,
        rounds=found,
    )


def _carried_s2(
    scheduler: str, found: Rounds, p: PromptMoments, rate: Floats, added_s: Floats, full: Floats,
    left: Floats, carrying: Floats,
) -> Floats:  # fmt: skip
    """Second moment of what prompts add to a decode step that they lengthen.

    chunked: from the square mean of rounds; prefill_first: a phase of passes
    varies as a busy period does, E[w^2] / (1 - b)^3 for each prompt that begins it.
    """
    mean_s = added_s / carrying
    if scheduler == "chunked":
        return np.asarray(np.maximum(full**2 * found.square_fill / carrying, mean_s**2))
    varied = np.maximum(p.ww - p.w**2, 0.0) / left**2 + rate * p.ww * p.w / left**3
    return np.asarray(mean_s**2 + varied)
