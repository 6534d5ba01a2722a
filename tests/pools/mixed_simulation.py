"""One decode instance step by step that prefills the prompts of some requests itself."""

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np


@dataclass(frozen=True)
class Mixed:
    """Requests that bring a prompt, with probability `share`, and others that only decode."""

    rate_rps: float
    share: float
    tokens: np.ndarray
    """Of prompts, all equally likely."""
    added_s: np.ndarray
    alone_s: np.ndarray
    steps: np.ndarray
    step_s: np.ndarray
    """At batch 1..N."""
    budget: float
    scheduler: str = "chunked"


@dataclass(frozen=True)
class Seen:
    local_ttft_s: np.ndarray
    rest_s: np.ndarray
    """What requests that only decode wait for their first step."""
    tpot_s: np.ndarray


def simulate(load, count=60_000, seed=1):
    """Serve `count` requests that arrive as a Poisson stream."""
    random = np.random.default_rng(seed)
    when = np.cumsum(random.exponential(1 / load.rate_rps, count))
    local = random.random(count) < load.share
    kind = random.integers(len(load.tokens), size=count)
    steps = random.choice(load.steps, count).astype(int)
    left = load.tokens[kind].astype(float)
    each = (load.added_s / load.tokens)[kind]
    base = ((load.alone_s - load.added_s) / np.ceil(load.tokens / load.budget))[kind]
    first, last = np.full(count, np.nan), np.full(count, np.nan)
    prompts, running = deque(), []
    now, taken, step = 0.0, 0, 0

    def arrive():
        nonlocal taken
        while taken < count and when[taken] <= now:
            if local[taken]:
                prompts.append(taken)
            else:
                first[taken] = now
                heappush(running, (step + steps[taken], taken))
            taken += 1

    while taken < count or prompts or running:
        if not prompts and not running:
            now = max(now, when[taken])
        arrive()
        n = len(running)
        room = load.budget - (n if load.scheduler == "chunked" else 0)
        extra, alone, done = 0.0, 0.0, []
        while prompts and room > 1e-9:
            r = prompts[0]
            part = min(left[r], room)
            room, left[r] = room - part, left[r] - part
            extra, alone = extra + part * each[r], max(alone, base[r])
            if left[r] > 1e-6:
                break
            done.append(prompts.popleft())
        passing = alone > 0 and (load.scheduler == "prefill_first" or not n)
        now += extra + (alone if passing else load.step_s[n - 1])
        if not passing:
            step += 1
            while running and running[0][0] <= step:
                last[heappop(running)[1]] = now
        for r in done:
            first[r] = now
            heappush(running, (step + steps[r], r))
    used = slice(count // 8, -count // 30)
    ttft, pace = (first - when)[used], ((last - first) / steps)[used]
    return Seen(ttft[local[used]], ttft[~local[used]], pace)
