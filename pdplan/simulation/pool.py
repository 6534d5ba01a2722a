"""Pools of identical instances: who gets the next request, and where it goes on to."""

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

from pdplan.simulation.clock import Clock
from pdplan.simulation.gaps import Gaps
from pdplan.simulation.links import Link
from pdplan.simulation.meter import Meter
from pdplan.simulation.model import PoolModel
from pdplan.simulation.request import Request
from pdplan.simulation.routing import Choose

Finish = Callable[[float, Request], None]


class Instance(Protocol):
    """One instance of a pool."""

    waiting: deque[Request]

    def arrive(self, now: float, request: Request) -> None:
        """Take a request in."""

    def wake(self, now: float) -> bool:
        """Look at the shared queue; whether something was or will be taken from it."""


class Pool:
    """Instances, the router before them and the hop behind them."""

    __slots__ = (
        "central", "choose", "clock", "finish", "first_token", "gaps", "instances", "link",
        "mean_output", "meter", "model", "next", "numbers", "queue", "skip", "work",
    )  # fmt: skip

    def __init__(
        self, model: PoolModel, clock: Clock, meter: Meter, gaps: Gaps, choose: Choose,
        finish: Finish, *, first_token: str, mean_output: float, skip: bool,
    ) -> None:  # fmt: skip
        self.model, self.clock, self.meter, self.gaps = model, clock, meter, gaps
        self.choose, self.finish, self.first_token = choose, finish, first_token
        self.mean_output, self.skip = mean_output, skip
        self.central = model.shared_queue
        self.queue: deque[Request] = deque()
        self.instances: list[Instance] = []
        self.work: list[float] = []
        """Outstanding work of each instance: tokens, requests or seconds of encoding."""
        self.numbers = count(1)
        """Of admissions."""
        self.next: Pool | None = None
        self.link: Link | None = None

    def arrive(self, now: float, request: Request) -> None:
        """Take a request from outside and put it where it waits."""
        self.place(self.pick(request), now, request)

    def pick(self, request: Request) -> int:
        """Choose an instance and count the work as its own from now on."""
        found = self.choose(self.work)
        self.work[found] += self.size(request)
        return found

    def place(self, instance: int, now: float, request: Request) -> None:
        """Hand a request to the instance chosen for it, or to the queue that all share."""
        if not self.central:
            self.instances[instance].arrive(now, request)
            return
        if self.model.stages != "E":
            request.prefill_queued_s = now
        self.queue.append(request)
        for found in self.instances:
            if found.wake(now):
                return

    def size(self, request: Request) -> float:
        """Work that a router sees in a request.

        Seconds of encoding; tokens to prefill, and those to decode, taken as the mean answer.
        """
        stages = self.model.stages
        if stages == "D":
            return 1.0
        if stages == "E":
            return request.prompt.encode_s
        return request.prompt.new + self.mean_output * ("D" in stages)

    def pass_on(
        self, source: int, request: Request, wire_s: float, started_s: float, computed_s: float
    ) -> float:
        """Send what was computed to an instance of the next pool; returns when it has left."""
        target, link = self.next, self.link
        assert target is not None
        assert link is not None
        chosen = target.pick(request)
        start = link.send(source, wire_s, started_s, computed_s)
        what = (chosen, request, wire_s, started_s, computed_s)
        if start <= self.clock.now:
            self.incoming(start, what)
        else:
            self.clock.at(start, self.incoming, what)
        return max(start + wire_s, computed_s)

    def incoming(self, now: float, what: tuple[int, Request, float, float, float]) -> None:
        """Let a transfer into the network of the instance that it goes to."""
        assert self.next is not None
        assert self.link is not None
        chosen, request, wire_s, started_s, computed_s = what
        arrival = self.link.receive(chosen, wire_s, now, started_s, computed_s)
        self.clock.at(arrival, self.next.received, (chosen, request))

    def received(self, now: float, what: tuple[int, Request]) -> None:
        """Take over a request whose transfer has ended."""
        what[1].delivered_s = now
        self.place(what[0], now, what[1])
