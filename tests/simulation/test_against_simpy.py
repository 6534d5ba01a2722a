"""A small P-D fleet beside the same fleet written in simpy, step by step, on the same requests."""

from collections import deque

import numpy as np
import pytest
import simpy
from small_fleets import fleet, poisson, pool, prompt, step_law, traced

from pdplan.simulation.model import LinkModel

BASE_S, TOKEN_S, BUDGET = 0.02, 4e-5, 2000.0
STEP_S, REQUEST_S, CONTEXT_S = 0.01, 4e-4, 1e-7
WIRE_S, LATENCY_S, BATCH = 2e-6, 0.001, 24


class Plain:
    """Prefill instances, a link with one transfer at a time at each end, decode instances."""

    def __init__(self, requests, prefills, decodes):
        self.env = simpy.Environment()
        self.queues = [deque() for _ in range(prefills)]
        self.work = [0.0] * prefills
        self.turn = [0, 0]
        self.held = [0] * decodes
        self.wake = [self.env.event() for _ in range(prefills)]
        self.joining = [deque() for _ in range(decodes)]
        self.called = [self.env.event() for _ in range(decodes)]
        self.out = [simpy.Resource(self.env) for _ in range(prefills)]
        self.into = [simpy.Resource(self.env) for _ in range(decodes)]
        self.first, self.last = {}, {}
        self.env.process(self.source(requests))
        for i in range(prefills):
            self.env.process(self.prefill(i))
        for i in range(decodes):
            self.env.process(self.decode(i))

    def least(self, work, which):
        best = min(work)
        order = [(self.turn[which] + i) % len(work) for i in range(len(work))]
        found = next(i for i in order if work[i] == best)
        self.turn[which] = (found + 1) % len(work)
        return found

    def source(self, requests):
        for number, (arrival, asked, osl) in enumerate(requests):
            yield self.env.timeout(arrival - self.env.now)
            i = self.least(self.work, 0)
            self.work[i] += asked.tokens
            self.queues[i].append([number, asked.tokens, asked.tokens, osl])
            if not self.wake[i].triggered:
                self.wake[i].succeed()

    def prefill(self, i):
        queue = self.queues[i]
        while True:
            if not queue:
                self.wake[i] = self.env.event()
                yield self.wake[i]
            budget, total, done = BUDGET, 0.0, []
            while queue and budget > 0:
                part = min(queue[0][2], budget)
                budget, total = budget - part, total + part
                queue[0][2] -= part
                if queue[0][2] > 0:
                    break
                done.append(queue.popleft())
            taken = BASE_S + TOKEN_S * total
            for request in done:
                self.env.process(self.hand_over(i, request, taken))
            yield self.env.timeout(taken)
            self.work[i] -= total

    def hand_over(self, i, request, taken):
        number, tokens, _, osl = request
        yield self.env.timeout(taken)
        j = self.least(self.held, 1)
        self.held[j] += 1
        with self.out[i].request() as out:
            yield out
            comes = self.env.process(self.come_in(j, tokens))
            yield self.env.timeout(WIRE_S * tokens)
        yield comes
        yield self.env.timeout(LATENCY_S)
        self.joining[j].append([number, tokens, osl - 1])
        if not self.called[j].triggered:
            self.called[j].succeed()

    def come_in(self, j, tokens):
        with self.into[j].request() as into:
            yield into
            yield self.env.timeout(WIRE_S * tokens)

    def decode(self, j):
        running, joining = [], self.joining[j]
        while True:
            if not running and not joining:
                self.called[j] = self.env.event()
                yield self.called[j]
            while joining and len(running) < BATCH:
                found = joining.popleft()
                self.first[found[0]] = self.env.now
                if found[2]:
                    running.append(found)
                else:
                    self.last[found[0]] = self.env.now
                    self.held[j] -= 1
            if not running:
                continue
            context = sum(r[1] for r in running)
            yield self.env.timeout(STEP_S + len(running) * REQUEST_S + CONTEXT_S * context)
            for r in running:
                r[1] += 1
                r[2] -= 1
            for r in [r for r in running if r[2] == 0]:
                running.remove(r)
                self.last[r[0]] = self.env.now
                self.held[j] -= 1


@pytest.mark.slow
@pytest.mark.parametrize(("prefills", "decodes", "rate"), [(1, 1, 8.0), (2, 3, 22.0)])
def test_latencies_are_those_of_a_plain_simulation(prefills, decodes, rate):
    """Request by request: only the order of events at the same instant may differ."""
    prompts = [prompt(float(n), kv_wire_s=WIRE_S * n) for n in (100, 700, 1500, 5000)]
    source = poisson(rate, prompts, [1, 20, 90, 200], weight=[2, 4, 3, 1]).draw(3)
    requests = [next(source) for _ in range(3000)]
    model = fleet(
        pool("P", instances=prefills, base_s=BASE_S, token_s=TOKEN_S, chunk=BUDGET),
        pool("D", instances=decodes, max_batch=BATCH,
             step=step_law(STEP_S, REQUEST_S, CONTEXT_S, BATCH)),
        links=[LinkModel(LATENCY_S)],
    )  # fmt: skip
    rows, _, _ = traced(model, *requests)
    plain = Plain(requests, prefills, decodes)
    plain.env.run()
    assert len(plain.last) == len(rows) == 3000
    first = np.array([plain.first[row.request] - row.arrival_s for row in rows])
    last = np.array([plain.last[row.request] - row.arrival_s for row in rows])
    ttft, e2e = (np.array([getattr(row, name) for row in rows]) for name in ("ttft_s", "e2e_s"))
    assert np.mean(np.abs(first - ttft) < 1e-9) > 0.99
    assert ttft.mean() == pytest.approx(first.mean(), rel=1e-3)
    assert e2e.mean() == pytest.approx(last.mean(), rel=1e-3)
    assert np.quantile(ttft, 0.99) == pytest.approx(np.quantile(first, 0.99), rel=5e-3)
