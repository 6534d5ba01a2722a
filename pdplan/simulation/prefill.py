"""Prefill instances: passes back to back over waiting prompts, up to a budget of tokens."""

from collections import deque

from pdplan.simulation.pool import Pool
from pdplan.simulation.request import Request

LEAST = 1e-6
"""Tokens below which nothing is left of a prompt or a budget."""


class Pieces:
    """What one pass carries of some prompts."""

    __slots__ = ("attended", "parts", "reach", "tokens")

    def __init__(self) -> None:
        self.parts: list[tuple[Request, float]] = []
        self.tokens = self.attended = self.reach = 0.0

    def take(self, request: Request, budget: float, most: float) -> float:
        """Cut a piece off a prompt; returns the budget that is left."""
        part = min(request.todo, budget, most)
        self.parts.append((request, part))
        self.tokens += part
        self.attended += part * (request.prefix + part / 2)
        self.reach += request.prefix + part
        return budget - part

    def carry_out(self) -> list[Request]:
        """Move the pieces into the cache; returns the requests whose prompts are done."""
        done = []
        for request, part in self.parts:
            request.prefix += part
            request.todo -= part
            if request.todo <= LEAST:
                request.todo = 0.0
                done.append(request)
        return done


class PrefillInstance:
    """One instance of a P or EP pool."""

    __slots__ = ("busy", "cut", "held", "index", "leaving", "pool", "waiting")

    def __init__(self, pool: Pool, index: int) -> None:
        self.pool, self.index = pool, index
        self.waiting: deque[Request] = pool.queue if pool.central else deque()
        self.cut: list[Request] = []
        """Prompts that are not done; they go on before others."""
        self.busy = False
        self.held = 0.0
        """Bytes of cache, from the start of a prompt until it is sent."""
        self.leaving: deque[tuple[float, float]] = deque()
        """When transfers end, and the bytes that they free."""

    def arrive(self, now: float, request: Request) -> None:
        """Take a request in."""
        request.prefill_queued_s = now
        self.waiting.append(request)
        self.wake(now)

    def wake(self, now: float) -> bool:
        """Run a pass if none is running."""
        if self.busy:
            return False
        self.busy = True
        self._run(now)
        return True

    def _run(self, now: float) -> None:
        """Fill a pass: cut prompts first, then those that wait."""
        pool, laws = self.pool, self.pool.model.laws
        pieces, encode_s = Pieces(), 0.0
        chunk = laws.chunk_tokens
        budget = chunk * laws.groups
        for request in self.cut:
            budget = pieces.take(request, budget, chunk)
        waiting, encodes = self.waiting, "E" in pool.model.stages
        fresh = []
        self._free(now)
        while budget > LEAST and waiting:
            request = waiting.popleft()
            fresh.append(request)
            request.base_bytes = laws.cache.at(request.context) + request.prompt.cross_bytes
            self.held += request.base_bytes
            if encodes:
                request.encode_start_s = now
                encode_s += request.prompt.encode_s
            budget = pieces.take(request, budget, chunk)
        pool.meter.peak = max(pool.meter.peak, self.held / laws.capacity_bytes)
        for request in fresh:
            request.prefill_start_s = now + encode_s
        assert laws.passes is not None
        taken_s = encode_s + laws.passes.pass_s(
            pieces.tokens, pieces.attended, pieces.reach, len(pieces.parts)
        )
        end = now + taken_s
        free = now + taken_s / laws.pipeline
        pool.meter.work(now, free, len(pieces.parts))
        done = pieces.carry_out()
        self.cut = [request for request, _ in pieces.parts if request.todo > 0]
        seen = pool.first_token == "prefill"
        early = pool.link is not None and pool.link.layerwise
        for request in done:
            request.prefill_end_s = end
            if seen:
                request.first_s = request.last_s = end
            if early:
                self.hand_over(end, request)
            else:
                pool.clock.at(end, self.hand_over, request)
        pool.clock.at(free, self.ready, pieces.tokens)

    def hand_over(self, computed_s: float, request: Request) -> None:
        """Send a prompt's cache on, at the end of its pass or while it still runs."""
        start, wire_s = request.prefill_start_s, request.prompt.kv_wire_s
        sent = self.pool.pass_on(self.index, request, wire_s, start, computed_s)
        self.leaving.append((sent, request.base_bytes))

    def _free(self, now: float) -> None:
        """Give back the cache of prompts that have been sent."""
        leaving = self.leaving
        while leaving and leaving[0][0] <= now:
            self.held -= leaving.popleft()[1]

    def ready(self, now: float, tokens: float) -> None:
        """Start the next pass, if there is anything to run."""
        self.busy = False
        self.pool.work[self.index] -= tokens
        if self.cut or self.waiting:
            self.wake(now)
