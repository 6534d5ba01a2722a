"""Decode instances: steps back to back over the running requests, jumping over dull ones.

Between a step at whose end somebody joins, leaves or loses his cache and the next such step
nothing is decided: their time is summed in closed form. A request that comes meanwhile shortens
the stretch to the step that is running.
"""

from collections import deque

from pdplan.simulation.batch import Batch
from pdplan.simulation.pool import Pool
from pdplan.simulation.request import NEVER, Request


class DecodeInstance:
    """One instance of a D pool."""

    __slots__ = (
        "active", "batch", "began_s", "carried", "decoding", "index", "partial", "pool", "stretch",
        "version", "waiting",
    )  # fmt: skip

    def __init__(self, pool: Pool, index: int) -> None:
        self.pool, self.index = pool, index
        self.waiting: deque[Request] = pool.queue if pool.central else deque()
        self.batch = Batch(pool.model.laws, pool.gaps, pool.numbers)
        self.partial: list[Request] = []
        """Requests whose prompts are being computed here."""
        self.carried: list[Request] = []
        """Those whose prompts end with the step that runs."""
        self.active = self.decoding = False
        self.stretch = 0
        """Steps that run; 0 unless they could be cut short."""
        self.version = 0
        self.began_s = 0.0

    def arrive(self, now: float, request: Request) -> None:
        """Take a request in."""
        if request.prefill_queued_s == NEVER:
            request.prefill_queued_s = now
        self.waiting.append(request)
        if not self.active or len(self.waiting) == 1:
            self.wake(now)

    def wake(self, now: float) -> bool:
        """Start running, or end a stretch with this step if the first waiting can join."""
        if not self.active:
            self._open(now)
            return True
        if not self.stretch or not self._admits(self.waiting[0]):
            return False
        if self.stretch > 1:
            batch = self.batch
            n, mean, law = batch.n, batch.context / batch.n, batch.step_law
            steps = law.steps_until(n, mean, now - self.began_s)
            if steps < self.stretch:
                self.stretch = steps
                self._until(self.began_s + law.steps_s(n, mean, steps))
        return True

    def _until(self, time_s: float) -> None:
        self.version += 1
        self.pool.clock.at(time_s, self.boundary, self.version)

    def _admits(self, request: Request) -> bool:
        most = self.pool.model.max_batch
        return self.batch.n + len(self.partial) < most and self.batch.fits(request)

    def boundary(self, now: float, version: int) -> None:
        """End what runs and start what comes next."""
        if version == self.version:
            self._close(now)
            self._open(now)

    def _close(self, now: float) -> None:
        """Count what ran; let finished requests go and prompts that are done join."""
        batch, pool = self.batch, self.pool
        meter = pool.meter
        meter.work(self.began_s, now, batch.n + len(self.partial))
        if self.decoding:
            done = batch.advance(self.stretch or 1, self.began_s, now)
            meter.peak = max(meter.peak, batch.peak(meter.peak))
            for request in done:
                batch.leave(request)
                self._finish(now, request)
        for request in self.carried:
            self.partial.remove(request)
            self._token(now, request)
        self.carried = []
        self.stretch, self.decoding = 0, False

    def _token(self, now: float, request: Request) -> None:
        """Give a request the token that the end of its prefill brings."""
        if request.first_s == NEVER:
            request.first_s = request.prefill_end_s = now
        else:
            self.pool.gaps.add(now - request.last_s, 1)
            request.left -= 1
        request.last_s = now
        self._start(now, request)

    def _start(self, now: float, request: Request) -> None:
        """Let a request decode, or go if it has all its tokens."""
        if request.left > 0:
            self.batch.join(request)
            return
        self.batch.release(request)
        self._finish(request.last_s, request)

    def _finish(self, now: float, request: Request) -> None:
        request.last_s = now
        self.pool.work[self.index] -= self._left_over()
        self.pool.finish(now, request)

    def _left_over(self) -> float:
        """Work that a router counts until a request has all its tokens."""
        return 1.0

    def _open(self, now: float) -> None:
        """Make room, admit, and plan until something has to be decided again."""
        batch, self.began_s = self.batch, now
        preempted = False
        while batch.n and not batch.room(1):
            self._preempt()
            preempted = True
        if not preempted:
            self._admit(now)
        taken_s = 0.0 if preempted and batch.n else self._prompts(now)
        self.active = True
        if taken_s > 0:
            self._until(now + taken_s)
        elif batch.n:
            steps = batch.until_next() if self.pool.skip else 1
            self.stretch = batch.room(steps)
            self.decoding = True
            mean = batch.context / batch.n
            self._until(now + batch.step_law.steps_s(batch.n, mean, self.stretch))
        else:
            self.active = False

    def _admit(self, now: float) -> None:
        """Let requests whose cache has arrived decode, as long as there is room."""
        waiting = self.waiting
        while waiting and waiting[0].todo == 0 and self._admits(waiting[0]):
            request = waiting.popleft()
            request.admitted_s = now
            if request.first_s == NEVER:
                request.first_s = request.last_s = now
            self.batch.hold(request)
            self._start(now, request)

    def _prompts(self, now: float) -> float:
        """Time of a pass over a prompt that lost its cache, if one is first in line; else 0."""
        if not (self.waiting and self.waiting[0].todo and self._admits(self.waiting[0])):
            return 0.0
        request = self.waiting.popleft()
        self.batch.hold(request)
        self.partial.append(request)
        self.carried.append(request)
        laws = self.pool.model.laws
        assert laws.passes is not None
        todo, request.todo = request.todo, 0.0
        return laws.passes.prompt_s(todo, 0.0, laws.chunk_tokens)

    def _preempt(self) -> None:
        """Take its cache from the request admitted last; it has to be computed again."""
        batch = self.batch
        if self.partial:
            request = self.partial.pop()
            batch.release(request)
        else:
            request = next(reversed(batch.running))
            if request not in batch.fresh:
                request.last_s = batch.gap_began_s
            batch.leave(request)
        if request.first_s == NEVER:
            request.todo = request.prompt.new
            request.prefix = request.prompt.tokens - request.prompt.new
        else:
            request.todo, request.prefix = request.context, 0.0
        request.preemptions += 1
        self.pool.meter.preemptions += 1
        self.waiting.appendleft(request)
