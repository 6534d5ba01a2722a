"""A closed loop on one colocated instance: N requests are always in it.

The number in decode is the fixed point n = rate m tau(n) / (1 - b). A new prompt waits for what is
left of the running step and prefills in the next one together with whoever came meanwhile; a
request's TPOT spreads only by the number of prompts that interrupt it, taken as Poisson.

A measured run is finite and sends its first N requests at once: of R requests a share N / R sees
that opening burst, in which every prompt waits for half of the others.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.planner.colocated import Requests, requests_of
from pdplan.queueing.gated import gated_steps, together_s
from pdplan.specs.model import ModelSpec
from pdplan.stages.machine import Machines

if TYPE_CHECKING:
    from pdplan.planner.points import Point

RUN = 10
"""Requests that a run sends for each one in flight unless said (InferenceX's convention)."""
EXACT, RATIO = 16, 2 ** (1 / 8)
"""Batches up to the first are worked out one by one, above it in steps of so much."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A closed loop at a throughput [R]."""

    tpot_s: Floats
    fixed_s: Floats
    """Time to first token of a prompt that comes alone, between two steps."""
    delay_s: Floats
    """What the running step and other prompts add, on average."""
    burst_s: Floats
    """Mean time to first token in the opening burst."""
    tpot_spread_s: Floats

    @property
    def first_s(self) -> Floats:
        """Mean time to first token once the loop is steady and nothing waits for a place."""
        return self.fixed_s + self.delay_s


@dataclass(frozen=True, slots=True, eq=False)
class ClosedLoops:
    """Loops of `requests` each, on their instances [R]."""

    requests: Floats
    work: Requests
    request_s: Floats
    serial_s: Floats
    """Host work of a request that keeps the next one's waiting."""
    clump: Floats

    @classmethod
    def of(cls, model: ModelSpec, m: Machines, points: "list[Point]") -> "ClosedLoops":
        """Read the loops of rows that name a concurrency."""
        requests = np.array([p.number("concurrency") for p in points])
        return cls(
            requests=requests,
            work=requests_of(model, m, points, _knots(float(requests.max())), requests),
            request_s=m.request_s[:, 0],
            serial_s=m.serial_s[:, 0],
            clump=np.minimum(m.clump[:, 0], requests),
        )

    def at(self, rate: Floats) -> Loop:
        """State at a throughput; a request meets the others only."""
        work, requests = self.work, self.requests
        alone, added = work.prompts.alone_s[:, 0], work.prompts.added_s[:, 0]
        others = rate * (requests - 1) / np.maximum(requests, 1)
        busy = np.minimum(others * added, 0.999)
        step = self._step(rate, busy)
        decoding = others * work.steps / (1 - busy)
        running = np.minimum(decoding * work.step_s[:, 0], 1.0) * step
        own = np.maximum(alone, work.prompts.rides[:, 0] * running + added)
        seen = gated_steps(np.maximum(running, 1e-9), added, others, self.clump)
        mates = self.clump - 1 + others * seen.seen_s
        most = np.maximum(requests - 1, 0)
        shared = together_s(added, 1 + np.minimum(mates, most), work.together)
        delay = np.where(requests > 1, seen.residual_s, 0.0) + shared - added
        delay = np.minimum(delay, most * added + running)
        pace = step / (1 - busy)
        burst = together_s(added, np.minimum(requests, work.cap), work.together) - added
        return Loop(
            tpot_s=pace,
            fixed_s=own + self.request_s,
            delay_s=delay + self.serial_s * (self.clump - 1) / 2,
            burst_s=own + burst + self.request_s + self.serial_s * (requests - 1) / 2,
            tpot_spread_s=np.sqrt(others * work.steps * pace) * added / work.steps,
        )

    def _step(self, rate: Floats, busy: Floats) -> Floats:
        """Time of a step of the requests in decode: n = rate m tau(n) / (1 - b), n not rounded."""
        work = self.work
        need = (rate * work.steps / (1 - busy))[:, None]
        enough = need * work.step_s <= work.batches
        above = np.where(enough.any(1), enough.argmax(1), len(work.batches) - 1)[:, None]
        below = np.maximum(above - 1, 0)
        low, high = (np.take_along_axis(work.step_s, n, axis=1)[:, 0] for n in (below, above))
        first = work.batches[below[:, 0]]
        slope = (high - low) / np.maximum(work.batches[above[:, 0]] - first, 1.0)
        more = (need[:, 0] * low - first) / np.maximum(1 - need[:, 0] * slope, 1e-9)
        share = np.clip(more * slope, 0, high - low)
        return np.asarray(np.minimum(low + share, work.full_step_s))

    def throughput(self) -> Floats:
        """Rate at which requests cycle: N = rate (TTFT + m TPOT), by bisection [R]."""
        work = self.work
        low = np.zeros(len(self.requests))
        high = self.requests / (work.prompts.alone_s[:, 0] + work.steps * work.step_s[:, 0])
        high = np.where(self.requests > work.cap, np.minimum(high, work.capacity_rps), high)
        for _ in range(50):
            middle = (low + high) / 2
            loop = self.at(middle)
            many = middle * (loop.first_s + work.steps * loop.tpot_s) > self.requests
            low, high = np.where(many, low, middle), np.where(many, middle, high)
        return np.asarray((low + high) / 2)


def _knots(largest: float) -> Floats:
    """Batch sizes from one to the largest or beyond; fewer are the beginning of more."""
    steps = np.ceil(np.log(max(largest, EXACT + 1) / EXACT) / np.log(RATIO))
    spread = EXACT * RATIO ** np.arange(steps + 1)
    return np.concatenate([np.arange(1.0, EXACT), spread])
