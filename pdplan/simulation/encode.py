"""Encode instances: one request at a time, in the order that they come."""

from collections import deque
from math import ceil

from pdplan.simulation.pool import Pool
from pdplan.simulation.request import Request


class EncodeInstance:
    """One instance, or a group of instances that share the media of one request."""

    __slots__ = ("busy", "index", "pool", "together", "waiting")

    def __init__(self, pool: Pool, index: int, together: int) -> None:
        self.pool, self.index, self.together = pool, index, together
        self.waiting: deque[Request] = pool.queue if pool.central else deque()
        self.busy = False

    def arrive(self, now: float, request: Request) -> None:
        """Take a request in."""
        self.waiting.append(request)
        self.wake(now)

    def wake(self, now: float) -> bool:
        """Start on the next request if there is nothing else to do."""
        if self.busy:
            return False
        self.busy = True
        request = self.waiting.popleft()
        request.encode_start_s = now
        prompt, fixed_s = request.prompt, request.prompt.encode_fixed_s
        share = ceil(prompt.pieces / self.together) / prompt.pieces
        request.encoded_s = now + fixed_s + (prompt.encode_s - fixed_s) * share
        self.pool.meter.work(now, request.encoded_s, 1)
        self.pool.clock.at(request.encoded_s, self.encoded, request)
        return True

    def encoded(self, now: float, request: Request) -> None:
        """Hand an encoded request on and start on the next."""
        pool, start = self.pool, request.encode_start_s
        pool.work[self.index] -= request.prompt.encode_s
        self.busy = False
        pool.pass_on(self.index, request, request.prompt.embedding_wire_s, start, now)
        if self.waiting:
            self.wake(now)
