"""Decode instances in steps: the number running changes at step ends only."""

from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np


@dataclass
class Instance:
    steps: int = 0
    since_s: float = 0.0
    planned_s: float = np.inf
    running: list = field(default_factory=list)
    queue: list = field(default_factory=list)


@dataclass
class Seen:
    """Of each request but those of the warm-up and the end."""

    steps: np.ndarray
    wait_s: np.ndarray
    tpot_s: np.ndarray


def simulate(step_s, arrivals_s, steps, cap, instances=1, routing="least_loaded", seed=1):
    """Requests admitted first come first served into batches of at most cap."""
    count, pace = len(arrivals_s), [np.inf, *np.asarray(step_s).tolist()]
    pool = [Instance() for _ in range(instances)]
    outstanding, events = [0] * instances, []
    begun, done = np.zeros(count), np.zeros(count)
    chance = np.random.default_rng(seed).integers(0, instances, count).tolist()
    lengths = np.asarray(steps).tolist()

    def plan(i, time_s):
        pool[i].planned_s = time_s
        heappush(events, (time_s, i))

    def boundary(i, now):
        here = pool[i]
        if here.running:
            here.steps += round((now - here.since_s) / pace[len(here.running)])
        while here.running and here.running[0][0] <= here.steps:
            request = heappop(here.running)[1]
            done[request] = now
            outstanding[i] -= 1
        while here.queue and len(here.running) < cap:
            request = here.queue.pop(0)
            begun[request] = now
            heappush(here.running, (here.steps + lengths[request], request))
        here.since_s, here.planned_s = now, np.inf
        if here.running:
            plan(i, now + (here.running[0][0] - here.steps) * pace[len(here.running)])

    for request, now in enumerate(np.asarray(arrivals_s).tolist()):
        while events and events[0][0] <= now:
            time_s, i = heappop(events)
            if time_s == pool[i].planned_s:
                boundary(i, time_s)
        if routing == "random":
            i = chance[request]
        elif routing == "round_robin":
            i = request % instances
        else:
            i = min(range(instances), key=lambda k: (outstanding[k], (k - chance[request])))
        here = pool[i]
        outstanding[i] += 1
        here.queue.append(request)
        if not here.running:
            boundary(i, now)
        elif len(here.running) < cap:
            step = pace[len(here.running)]
            ends = here.since_s + np.ceil((now - here.since_s) / step) * step
            if ends < here.planned_s * (1 - 1e-12):
                plan(i, ends)
    while events:
        time_s, i = heappop(events)
        if time_s == pool[i].planned_s:
            boundary(i, time_s)
    keep = slice(count // 4, -count // 10)
    length = np.asarray(steps, float)
    return Seen(length[keep], (begun - arrivals_s)[keep], ((done - begun) / length)[keep])


def lengths(mean, cv, count, rng):
    """Whole numbers of steps: constant, geometric (cv = 1) or lognormal."""
    if cv == 0:
        return np.full(count, mean)
    if cv == 1:
        return rng.geometric(1 / mean, count)
    spread = np.log1p(cv**2)
    drawn = rng.lognormal(np.log(mean) - spread / 2, np.sqrt(spread), count)
    return np.maximum(np.round(drawn), 1).astype(int)


def arrivals(rate_rps, count, rng, scv=1.0):
    """Poisson, or hyper-exponential gaps of balanced means."""
    if scv == 1:
        return np.cumsum(rng.exponential(1 / rate_rps, count))
    first = (1 + np.sqrt((scv - 1) / (scv + 1))) / 2
    short = rng.random(count) < first
    scale = np.where(short, 1 / (2 * first), 1 / (2 * (1 - first))) / rate_rps
    return np.cumsum(rng.exponential(scale))
