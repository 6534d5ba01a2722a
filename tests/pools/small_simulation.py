"""Colocated instances step by step: what the closed forms of `pdplan.pools` are held against."""

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

WAYS = {"chunked": 0, "prefill_first": 1, "layered": 2}


@dataclass(frozen=True)
class Load:
    """Requests of S kinds and the instances that serve them."""

    rate_rps: float
    tokens: np.ndarray
    added_s: np.ndarray
    alone_s: np.ndarray
    weight: np.ndarray
    steps: np.ndarray
    """Decode steps to draw from, evenly."""
    step_s: np.ndarray
    """At batch 1..N."""
    budget: float
    cap: int = 256
    instances: int = 1
    routing: str = "least_loaded"
    scheduler: str = "chunked"
    encode_s: np.ndarray | None = None
    arrival_scv: float = 1.0


@dataclass(frozen=True)
class Seen:
    """What requests met, the first part of the run left out."""

    ttft_s: np.ndarray
    tpot_s: np.ndarray
    kind: np.ndarray
    gap_s: np.ndarray
    """Time between tokens, one a step, and how many requests waited it out."""
    gap_weight: np.ndarray
    batch: np.ndarray
    """Requests in decode, one a step."""
    mean_batch: float
    late: float
    """Mean TTFT of the last fifth over that of the second: far above 1 where nothing is steady."""

    def gaps_s(self, levels):
        order = np.argsort(self.gap_s)
        share = np.cumsum(self.gap_weight[order])
        return self.gap_s[order][np.searchsorted(share, np.asarray(levels) * share[-1])]


def arrivals(load, count, random):
    """Renewal arrivals: Poisson, hyperexponential of balanced means, or gamma below."""
    mean, scv = 1 / load.rate_rps, load.arrival_scv
    if scv == 1:
        gaps = random.exponential(mean, count)
    elif scv < 1:
        gaps = random.gamma(1 / scv, mean * scv, count)
    else:
        p = (1 + np.sqrt((scv - 1) / (scv + 1))) / 2
        first = random.random(count) < p
        gaps = random.exponential(1.0, count) * mean / (2 * np.where(first, p, 1 - p))
    return np.cumsum(gaps)


class _Instance:
    __slots__ = ("base", "done", "ends", "finish", "fresh", "last", "n", "passing", "queue",
                 "slots", "step", "tokens")  # fmt: skip

    def __init__(self):
        self.n = self.slots = self.step = 0
        self.queue, self.finish, self.fresh, self.done = deque(), [], [], []
        self.tokens, self.last, self.passing, self.ends = 0.0, 0.0, False, None


def simulate(load, count=20_000, seed=1, skip=0.15):
    """Serve `count` requests."""
    random = np.random.default_rng(seed)
    when = arrivals(load, count, random).tolist()
    kind = random.choice(len(load.weight), count, p=load.weight)
    outputs = random.choice(load.steps, count).astype(int).tolist()
    chosen = random.integers(load.instances, size=count).tolist()
    tokens = load.tokens[kind].tolist()
    each = (load.added_s / load.tokens)[kind].tolist()
    passes = np.ceil(load.tokens / load.budget)
    if load.scheduler == "layered":
        groups = passes[kind].tolist()
    base = (np.maximum(load.alone_s - load.added_s, 0) / passes)[kind].tolist()
    stall = (np.zeros(count) if load.encode_s is None else load.encode_s[kind]).tolist()
    tau = [0.0, *load.step_s.tolist()]
    first, last = [0.0] * count, [0.0] * count
    answer = float(load.steps.mean()) + 1
    turn = 0
    gaps, weights, batches = [], [], []
    instances = [_Instance() for _ in range(load.instances)]
    shared = deque()
    central = load.routing == "central"
    budget, cap, way = load.budget, load.cap, WAYS[load.scheduler]
    remaining = tokens.copy()
    started = [False] * count
    events = []
    area = 0.0

    def begin(inst, number, now):
        """Begin a step, if there is anything to do."""
        queue = shared if central else inst.queue
        n = inst.n
        room = budget - n if way == 0 else budget
        extra, alone, inst.done, served = 0.0, 0.0, [], False
        mine = inst.queue
        while (mine or queue) and room > 1e-9:
            pick = mine if mine else queue
            r = pick[0]
            if not started[r]:
                if inst.slots >= cap:
                    break
                started[r] = True
                inst.slots += 1
                extra += stall[r]
                if central:
                    inst.tokens += tokens[r] + answer
                    mine.append(queue.popleft())
                    pick = mine
            served = True
            alone = max(alone, base[r])
            if way == 2:
                part = tokens[r] / groups[r]
                room = 0.0
            else:
                part = min(remaining[r], room)
                room -= part
            extra += part * each[r]
            remaining[r] -= part
            if remaining[r] <= 1e-6:
                pick.popleft()
                inst.done.append(r)
            else:
                break
        if way == 1 and served:
            inst.passing, duration = True, alone + extra
        elif n:
            inst.passing, duration = False, tau[n] + extra
        elif served:
            inst.passing, duration = True, alone + extra
        else:
            inst.ends = None
            return
        inst.ends = now + duration
        heappush(events, (inst.ends, number))

    def end(inst, now):
        nonlocal area
        if not inst.passing:
            inst.step += 1
            n = inst.n
            area += n * (now - inst.last) if inst.last else 0.0
            batches.append(n)
            fresh = 0
            for at, many in inst.fresh:
                gaps.append(now - at)
                weights.append(many)
                fresh += many
            if n > fresh:
                gaps.append(now - inst.last)
                weights.append(n - fresh)
            inst.fresh, inst.last = [], now
            while inst.finish and inst.finish[0][0] <= inst.step:
                last[heappop(inst.finish)[1]] = now
                inst.n -= 1
                inst.slots -= 1
                inst.tokens -= answer
        joined = 0
        for r in inst.done:
            first[r] = last[r] = now
            inst.tokens -= tokens[r]
            if outputs[r] > 0:
                heappush(inst.finish, (inst.step + outputs[r], r))
                joined += 1
            else:
                inst.slots -= 1
                inst.tokens -= answer
        inst.n += joined
        if joined:
            inst.fresh.append((now, joined))

    for r in range(count):
        now = when[r]
        while events and events[0][0] <= now:
            at, number = heappop(events)
            end(instances[number], at)
            begin(instances[number], number, at)
        if central:
            shared.append(r)
            idle = [i for i, inst in enumerate(instances) if inst.ends is None]
            if idle:
                begin(instances[idle[0]], idle[0], now)
            continue
        if load.routing == "least_loaded":
            number = min(
                range(load.instances),
                key=lambda i: (instances[i].tokens, (i - turn) % load.instances),
            )
            turn = number + 1
        elif load.routing == "round_robin":
            number = r % load.instances
        else:
            number = chosen[r]
        inst = instances[number]
        inst.queue.append(r)
        inst.tokens += tokens[r] + answer
        if inst.ends is None:
            begin(inst, number, now)
    while events:
        at, number = heappop(events)
        end(instances[number], at)
        begin(instances[number], number, at)
    low, high = int(skip * count), int(0.97 * count)
    span = slice(low, high)
    ttft = np.array(first)[span] - np.array(when)[span]
    steps = np.array(outputs)[span]
    with np.errstate(divide="ignore", invalid="ignore"):
        tpot = np.where(steps > 0, (np.array(last) - np.array(first))[span] / steps, np.nan)
    fifth = len(ttft) // 5
    used = slice(int(skip * len(gaps)), int(0.95 * len(gaps)))
    busy = slice(int(skip * len(batches)), int(0.95 * len(batches)))
    return Seen(
        ttft_s=ttft,
        tpot_s=tpot,
        kind=kind[span],
        gap_s=np.array(gaps)[used],
        gap_weight=np.array(weights)[used],
        batch=np.array(batches)[busy],
        mean_batch=area / when[-1] / load.instances,
        late=ttft[-fifth:].mean() / ttft[fifth : 2 * fifth].mean(),
    )
