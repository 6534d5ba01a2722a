"""Pools of a few lines: requests through instances in passes, one at a time, or over links."""

import heapq
from collections import deque
from itertools import pairwise

import numpy as np


def lognormal_points(mean, cv, count=40):
    """Support points and weights of a lognormal, finer in the tail; their mean is exact."""
    if cv == 0:
        return np.array([mean]), np.array([1.0])
    rng = np.random.default_rng(11)
    sample = np.sort(rng.lognormal(-np.log1p(cv**2) / 2, np.sqrt(np.log1p(cv**2)), 400_000))
    edges = 1 - (1 - np.linspace(0, 1, count + 1)) ** 2
    cuts = (edges * len(sample)).astype(int)
    points = np.array([sample[a:b].mean() for a, b in pairwise(cuts)])
    weight = np.diff(cuts) / len(sample)
    return mean * points / (points @ weight), weight


def requests(rate, points, weight, count, seed=1, bursts=None):
    """Arrival times and sizes; bursts = (factor, share, length) of two-rate Poisson arrivals."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice(points, count, p=weight)
    gaps = rng.exponential(1, count)
    if bursts is None:
        return np.cumsum(gaps) / rate, sizes
    factor, share, length = bursts
    calm = (1 - factor * share) / (1 - share)
    periods = int(4 * count / rate / length) + 50
    lasting = np.empty(2 * periods)
    lasting[0::2] = rng.exponential(length * (1 - share) / share, periods)
    lasting[1::2] = rng.exponential(length, periods)
    level = np.tile([calm * rate, factor * rate], periods)
    ends = np.concatenate([[0.0], np.cumsum(lasting)])
    counted = np.concatenate([[0.0], np.cumsum(lasting * level)])
    return np.interp(np.cumsum(gaps), counted, ends), sizes


class Router:
    """least_loaded by what is not through yet, ties in turn; round_robin; random."""

    def __init__(self, routing, servers, seed=5):
        self.routing, self.work, self.turn = routing, [0.0] * servers, 0
        self.draw = np.random.default_rng(seed).integers

    def pick(self, size):
        count = len(self.work)
        if self.routing == "random":
            found = int(self.draw(count))
        elif self.routing == "round_robin":
            found, self.turn = self.turn, (self.turn + 1) % count
        else:
            least = min(self.work) + 1e-9
            found = next(
                j % count
                for j in range(self.turn, self.turn + count)
                if self.work[j % count] <= least
            )
            self.turn = (found + 1) % count
        self.work[found] += size
        return found


def passes(arrivals, tokens, work_s, base_s, servers, routing="least_loaded", pipeline=1):
    """Times in the pool; budget 1; a pass takes base + the work of its pieces; see `Router`."""
    router, central = Router(routing, servers), routing == "central"
    common = deque()
    queues = [common if central else deque() for _ in range(servers)]
    cut, free = [None] * servers, [True] * servers
    left, spent = tokens.tolist(), np.empty(len(arrivals))
    per_token = (work_s / tokens).tolist()
    events = []
    arrivals, tokens = arrivals.tolist(), tokens.tolist()

    def start(server, now):
        queue, room, taken, done = queues[server], 1.0, base_s, []
        used = 0.0
        while room > 1e-12 and (cut[server] is not None or queue):
            one = cut[server] if cut[server] is not None else queue.popleft()
            piece = min(left[one], room)
            taken += per_token[one] * piece
            left[one] -= piece
            room -= piece
            used += piece
            if left[one] > 1e-12:
                cut[server] = one
                break
            cut[server] = None
            done.append(one)
        for one in done:
            spent[one] = now + taken - arrivals[one]
        free[server] = False
        heapq.heappush(events, (now + taken / pipeline, server, used))

    for i, now in enumerate(arrivals):
        while events and events[0][0] <= now:
            at, server, used = heapq.heappop(events)
            free[server] = True
            router.work[server] -= used
            if cut[server] is not None or queues[server]:
                start(server, at)
        if central:
            common.append(i)
            found = next((k for k in range(servers) if free[k]), None)
            if found is not None:
                start(found, now)
            continue
        server = router.pick(tokens[i])
        queues[server].append(i)
        if free[server]:
            start(server, now)
    while events:
        at, server, _ = heapq.heappop(events)
        free[server] = True
        if cut[server] is not None or queues[server]:
            start(server, at)
    return spent[len(spent) // 10 :]


def one_by_one(arrivals, service_s, servers, routing="least_loaded"):
    """Times in a pool whose instances serve one request at a time."""
    if routing == "central":
        ends = [0.0] * servers
        spent = []
        for now, service in zip(arrivals.tolist(), service_s.tolist(), strict=True):
            end = max(heapq.heappop(ends), now) + service
            heapq.heappush(ends, end)
            spent.append(end - now)
        return np.array(spent[len(spent) // 10 :])
    router, ends, gone, spent = Router(routing, servers), [0.0] * servers, [], []
    for now, service in zip(arrivals.tolist(), service_s.tolist(), strict=True):
        while gone and gone[0][0] <= now:
            _, server, done = heapq.heappop(gone)
            router.work[server] -= done
        server = router.pick(service)
        ends[server] = max(ends[server], now) + service
        heapq.heappush(gone, (ends[server], server, service))
        spent.append(ends[server] - now)
    return np.array(spent[len(spent) // 10 :])


def transfers(starts, wire_s, sources, targets):
    """Waits of transfers that take their sender and, from when they leave, their receiver."""
    sent, received = {}, {}
    leaving = []
    for start, wire, source, target in zip(starts, wire_s, sources, targets, strict=True):
        begin = max(start, sent.get(source, 0.0))
        sent[source] = begin + wire
        leaving.append((begin, start, wire, target))
    waited = []
    for begin, start, wire, target in sorted(leaving):
        end = max(begin, received.get(target, 0.0)) + wire
        received[target] = end
        waited.append(end - start - wire)
    return np.array(waited[len(waited) // 10 :])
