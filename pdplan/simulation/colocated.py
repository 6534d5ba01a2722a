"""Instances that prefill (and encode) and decode in one process, under three schedulers."""

from math import ceil

from pdplan.simulation.decode import DecodeInstance
from pdplan.simulation.pool import Pool
from pdplan.simulation.prefill import LEAST, Pieces
from pdplan.simulation.request import NEVER, Request


class ColocatedInstance(DecodeInstance):
    """One instance of a PD or EPD pool.

    chunked: every step carries all running requests and pieces of prompts up to the budget.
    prefill_first: while a prompt waits and may run, passes over prompts alone. layered: a step
    carries one whole prompt through a group of layers.
    """

    __slots__ = ("budget", "chunk", "encodes", "scheduler")

    def __init__(self, pool: Pool, index: int) -> None:
        super().__init__(pool, index)
        laws = pool.model.laws
        self.scheduler = pool.model.scheduler
        self.encodes = "E" in pool.model.stages
        self.chunk, self.budget = laws.chunk_tokens, laws.chunk_tokens * laws.groups

    def _left_over(self) -> float:
        return self.pool.mean_output

    def _token(self, now: float, request: Request) -> None:
        if request.first_s == NEVER:
            self.pool.work[self.index] -= request.prompt.new
        super()._token(now, request)

    def _prompts(self, now: float) -> float:
        """Time of a step or pass with prompts, if any may run now; else 0."""
        if not (self.partial or self.waiting):
            return 0.0
        if self.scheduler == "layered":
            return self._layers(now)
        together = self.scheduler == "chunked"
        batch = self.batch
        pieces = Pieces()
        budget = self.budget - (batch.n if together else 0)
        for request in self.partial:
            if budget > LEAST:
                budget = pieces.take(request, budget, self.chunk)
        encode_s = 0.0
        while budget > LEAST and self.waiting and self._admits(self.waiting[0]):
            request = self._take_up(now)
            encode_s += self._encode_s(now, request)
            budget = pieces.take(request, budget, self.chunk)
        if not pieces.parts:
            return 0.0
        passes = self.pool.model.laws.passes
        assert passes is not None
        if together and batch.n:
            self.decoding = True
            taken_s = batch.step_law.step_s(batch.n, batch.context / batch.n)
            for request, part in pieces.parts:
                taken_s += part * self._ride_s(request)
        else:
            taken_s = passes.pass_s(pieces.tokens, pieces.attended, pieces.reach, len(pieces.parts))
        self.carried = pieces.carry_out()
        return encode_s + taken_s

    def _take_up(self, now: float) -> Request:
        """Give the first waiting request its room."""
        request = self.waiting.popleft()
        self.batch.hold(request)
        self.partial.append(request)
        if request.first_s == NEVER:
            request.prefill_start_s = now
        return request

    def _encode_s(self, now: float, request: Request) -> float:
        """Time to encode a request's media on this device, once."""
        if not self.encodes or request.encode_start_s != NEVER:
            return 0.0
        request.encode_start_s = now
        request.prefill_start_s = now + request.prompt.encode_s
        return request.prompt.encode_s

    def _ride_s(self, request: Request) -> float:
        """What a token of a prompt adds to a decode step that carries it."""
        if request.first_s == NEVER:
            return request.prompt.ride_s / request.prompt.new
        return self._added_s(request) / request.context

    def _added_s(self, request: Request) -> float:
        """What computing a lost cache again adds: its passes less empty ones."""
        passes, whole = self.pool.model.laws.passes, request.context
        assert passes is not None
        empty = passes.pass_s(1.0, 0.5, 1.0, 1) * ceil(whole / self.chunk)
        return max(passes.prompt_s(whole, 0.0, self.chunk) - empty, 0.0)

    def _layers(self, now: float) -> float:
        """Time of a step that carries one prompt through its next group of layers."""
        encode_s = 0.0
        if not self.partial:
            if not self._admits(self.waiting[0]):
                return 0.0
            request = self._take_up(now)
            encode_s = self._encode_s(now, request)
            request.groups = 0
        request = self.partial[0]
        passes, batch = self.pool.model.laws.passes, self.batch
        assert passes is not None
        todo, prefix = request.todo, request.prefix
        groups = max(ceil(todo / self.chunk), 1)
        if batch.n:
            self.decoding = True
            first = request.first_s == NEVER
            added_s = request.prompt.layered_s if first else self._added_s(request)
            taken_s = batch.step_law.step_s(batch.n, batch.context / batch.n) + added_s / groups
        else:
            whole_s = passes.pass_s(todo, todo * (prefix + todo / 2), prefix + todo, 1)
            taken_s = whole_s / groups
        request.groups += 1
        if request.groups == groups:
            request.prefix, request.todo = prefix + todo, 0.0
            self.carried = [request]
        return encode_s + taken_s
