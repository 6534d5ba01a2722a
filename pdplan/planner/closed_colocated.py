"""One instance that prefills and decodes, always with the same number of requests in it.

With j requests at a throughput x a request meets the others' x (j - 1) / j. Prompts take a share
b = x E[w] of time, so that a decode step of n requests lasts tau(n) / (1 - b); the first token
takes what is left of a running step, prompts in front and the prompt's own steps. In `chunked` and
`layered` prompts ride on decode steps, x = w + phi tau each of them when steps are full, with
phi budgets' worth of tokens; in `prefill_first` passes of prompts alone come between steps.
"""

from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.planner.fleet import Member
from pdplan.pools.demand import Demand
from pdplan.pools.times import Times
from pdplan.queueing.gated import gated_steps

KNOT_RATIO = 2 ** (1 / 4)
EXACT = 8
"""Numbers of requests up to the first are worked out one by one, above it in steps of so much."""
HALVINGS, BALANCING = 60, 40
"""Bisections of the throughput, and rounds of the batch that goes with one."""
NEARLY = 0.999


@dataclass(frozen=True, slots=True, eq=False)
class Stay:
    """What a request meets in the instance, at each of some numbers of requests [J]."""

    rate_rps: Floats
    own_s: Floats
    """Mean time of its own prompt: steps or passes that carry it."""
    step_left_s: Floats
    """Mean time until the running step ends."""
    others_s: Floats
    """Mean of what other prompts add."""
    queued_s: Floats
    """Mean wait because prompts fill every step."""
    pace_s: Floats
    """Time per decode step, prompts included."""
    step_s: Floats
    """Decode step alone."""
    interrupts_rps: Floats
    """Prompts of others."""
    batch: Floats
    """Requests in decode."""


@dataclass(frozen=True, slots=True, eq=False)
class ClosedInstance:
    """An instance of a PD or EPD pool at 1..cap requests."""

    numbers: Floats
    """Knots j."""
    stay: Stay
    added_s2: float
    """E[w^2] of what a prompt takes from decoding."""
    rides: float
    """Mean steps that carry a prompt."""

    @classmethod
    def of(cls, member: Member, times: Times, demand: Demand) -> "ClosedInstance":
        """Work out the throughput of an instance that holds so many."""
        cap = float(member.pool.max_batch)
        work = _Work.of(member, times, demand)
        numbers = _knots(cap)
        low = np.zeros(len(numbers))
        high = numbers / (work.alone_s + work.steps * work.tau(np.ones(1)))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            fast = middle * work.stay_s(middle, numbers) > numbers
            low, high = np.where(fast, low, middle), np.where(fast, middle, high)
        return cls(numbers, work.stay(low, numbers), work.added_s2, work.rides)

    def rate_rps(self, here: Floats) -> Floats:
        """Throughput with so many at the instance; those beyond the batch limit wait outside."""
        return np.interp(here, self.numbers, self.stay.rate_rps)

    def carrying(self, stay: Stay) -> float:
        """Share of decode steps that carry prompts."""
        return float(-np.expm1(-stay.interrupts_rps * stay.pace_s * self.rides)[0])

    def at(self, here: float) -> Stay:
        """What a request meets with so many at the instance."""
        return Stay(
            *(
                np.interp(np.array([here]), self.numbers, getattr(self.stay, name))
                for name in Stay.__dataclass_fields__
            )
        )


def _knots(cap: float) -> Floats:
    count = int(np.ceil(np.log(max(cap / EXACT, 1.0)) / np.log(KNOT_RATIO)))
    above = EXACT * KNOT_RATIO ** np.arange(1, count + 1)
    found = np.append(np.arange(1.0, EXACT + 1), above)
    return np.unique(np.append(found[found < cap], cap))


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Work of requests on one instance: means over them."""

    steps: float
    step_s: Floats
    """tau(1..N)."""
    added_s: float
    """w: what a prompt takes from decoding."""
    added_s2: float
    """E[w^2]."""
    alone_s: float
    """Prompt with the instance to itself."""
    rides: float
    fill: float
    """phi."""
    fill_s2: float
    """E[phi^2]."""
    base_s: float
    """Pass without prompts, where they come first."""
    request_s: float
    scheduler: str
    instances: int
    avoids: bool
    """Whether the router prefers instances without prompts."""

    @classmethod
    def of(cls, member: Member, times: Times, demand: Demand) -> "_Work":
        scheduler = member.discipline.scheduler
        budget = times.chunk_tokens * times.machines.dp[0, 0]
        fill = demand.new_tokens / budget
        if scheduler == "layered":
            fill = np.ceil(demand.new_tokens / times.chunk_tokens)
        rides = np.maximum(times.passes[0], 1.0)
        added = times.marginal_s[0] + times.encode_s[0]
        alone = times.prefill_s[0] + times.encode_s[0]
        mean = demand.mean
        return cls(
            steps=demand.decode_steps,
            step_s=times.step_s[0],
            added_s=float(mean(added)),
            added_s2=float(mean(added**2)),
            alone_s=float(mean(alone)),
            rides=float(mean(rides)),
            fill=float(mean(fill)),
            fill_s2=float(mean(fill**2)),
            base_s=max(float(mean((alone - added) / rides)), 0.0),
            request_s=float(times.machines.request_s[0, 0]),
            scheduler=scheduler,
            instances=member.pool.instances,
            avoids=member.discipline.routing in ("least_loaded", "central"),
        )

    def tau(self, batch: Floats) -> Floats:
        return np.interp(batch, np.arange(1.0, len(self.step_s) + 1), self.step_s)

    def stay_s(self, rate: Floats, numbers: Floats) -> Floats:
        """Mean time in the instance; endless above what prompts allow."""
        found = self.stay(rate, numbers)
        time_s = found.own_s + found.step_left_s + found.others_s + self.steps * found.pace_s
        return np.asarray(np.where(rate * self._full_s(found.step_s) < 1, time_s, np.inf))

    def _full_s(self, tau: Floats) -> Floats:
        """Time that a prompt takes where every step or pass is full of prompts."""
        overhead = self.base_s + 0 * tau if self.scheduler == "prefill_first" else tau
        return np.asarray(self.added_s + self.fill * overhead)

    def _carrying(self, ended: Floats) -> Floats:
        """Share of decode steps that carry a prompt, or that a pass of prompts follows."""
        rides = 1.0 if self.scheduler == "prefill_first" else self.rides
        return np.asarray(-np.expm1(-ended * rides))

    @property
    def _longer_s(self) -> float:
        """What is added to such a step."""
        first = self.scheduler == "prefill_first"
        return self.alone_s if first else self.added_s / self.rides

    def _met(self, tau: Floats, pace: Floats, ended: Floats) -> Floats:
        """Chance that a request comes to an instance that is at a prompt.

        A router that counts tokens sends it to one that is not if there is any: q^log2(n) of n
        instances that are at prompts a share q of the time (fitted to simulations of 2 and 4).
        """
        if not self.avoids:
            return np.ones_like(tau)
        share = self._carrying(ended) * (tau + self._longer_s) / pace
        return np.asarray(np.minimum(share, 1.0) ** np.log2(self.instances))

    def _left_s(self, tau: Floats, pace: Floats, ended: Floats, others: Floats) -> Floats:
        """Mean time from the arrival of a prompt to the beginning of its first step.

        On a lone instance a request comes when another has had its last token, at the end of a
        step, and then the host works on it: k = floor(request_s / tau) + 1 steps begin before it is
        ready, each of which carries a prompt with probability p. On one of several it comes at any
        time.
        """
        carrying, longer = self._carrying(ended), self._longer_s
        if self.instances == 1:
            begun = np.floor(self.request_s / tau) + 1
            hit = 1 - (1 - carrying) ** begun
            long = np.maximum(longer + tau * (begun + 1) / 2 - self.request_s, tau / 2)
            return np.asarray(hit * long + (1 - hit) * (begun * tau - self.request_s))
        if self.scheduler == "prefill_first":
            left = (tau**2 + carrying * longer**2) / (tau + carrying * longer) / 2
        else:
            left = gated_steps(tau, self.added_s, others).residual_s
        met = self._met(tau, pace, ended)
        return np.asarray(met * left + (1 - met) * tau / 2)

    def stay(self, rate: Floats, numbers: Floats) -> Stay:
        """What a request meets at a throughput."""
        others = rate * (numbers - 1) / numbers
        first = self.scheduler == "prefill_first"
        own_share = np.minimum(rate / numbers * self.added_s, NEARLY)
        work = np.minimum(others * self.added_s / (1 - own_share), NEARLY)
        busy = work
        batch, tau = np.ones_like(rate), self.tau(np.ones_like(rate))
        for _ in range(BALANCING):
            if first:
                ended = np.maximum(others * tau / (1 - busy), 1e-12)
                company = ended / -np.expm1(-ended)
                passes = others * np.maximum(self.rides / company, self.fill)
                fresh_busy = np.minimum(work + passes * self.base_s, NEARLY)
                busy = (busy + fresh_busy) / 2
            fresh = 1 + others * self.steps * tau / (1 - busy)
            batch = np.minimum((batch + np.minimum(fresh, numbers)) / 2, numbers)
            tau = self.tau(batch)
        pace = tau / (1 - busy)
        running = np.minimum(others * (self.steps * pace + self.alone_s), 1.0)
        ended = others * pace
        left = self._left_s(tau, pace, ended, others)
        own = np.full_like(rate, self.alone_s)
        if not first:
            rides = self.fill if self.scheduler == "layered" else self.rides
            own = running * (rides * tau + self.added_s) + (1 - running) * own
        overhead = self.base_s if first else tau
        full = overhead + self.added_s / self.fill
        filled = np.minimum(ended * self.fill, NEARLY)
        lumps = np.maximum(self.fill_s2 / self.fill - (1 - filled), 0.0)
        behind = filled * lumps / (2 * (1 - filled)) * full
        beside = min(max(1 / self.fill - 1, 0.0), 1.0)
        mates = self._met(tau, pace, ended) * ended * self.added_s * (1 + beside) / 2
        delayed = np.minimum(mates + behind, (numbers - 1) * self.fill * full)
        stay = Stay(
            rate, own, running * left, delayed, np.zeros_like(rate), pace, tau, others,
            np.minimum(others * self.steps * pace + 1, numbers),
        )  # fmt: skip
        time_s = stay.own_s + stay.step_left_s + stay.others_s + self.steps * pace
        queued = np.where(rate > 0, numbers / np.maximum(rate, 1e-300) - time_s, 0.0)
        return Stay(*(
            np.maximum(queued, 0.0) if name == "queued_s" else getattr(stay, name)
            for name in Stay.__dataclass_fields__
        ))  # fmt: skip
