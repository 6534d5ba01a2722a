"""The running requests of one instance: when they leave, what they attend to, what they cache."""

from collections.abc import Iterator
from heapq import heappop, heappush

from pdplan.simulation.gaps import Gaps
from pdplan.simulation.model import Laws
from pdplan.simulation.request import Request

FULL = 1e-9
"""Share of the cache within which it counts as full."""


class Batch:
    """Requests in decode at the end of some step; contexts and caches grow with the steps.

    A context grows by the same number of tokens a step for all, so that its sum is known without
    looking at each request. So is the cache; that of windowed layers stops growing, for which
    `tighten` looks at each when it matters.
    """

    __slots__ = (
        "cache", "capacity", "context", "fresh", "gap_began_s", "gaps", "grow", "growth", "held",
        "leaving", "n", "numbers", "running", "step", "step_law", "used", "windowed",
    )  # fmt: skip

    def __init__(self, laws: Laws, gaps: Gaps, numbers: Iterator[int]) -> None:
        assert laws.step is not None
        self.step_law, self.cache, self.gaps = laws.step, laws.cache, gaps
        self.capacity = laws.capacity_bytes * (1 + FULL)
        self.windowed = len(laws.cache.knots) > 1
        self.grow = laws.step.growth
        self.running: dict[Request, None] = {}
        """In the order of admission."""
        self.leaving: list[tuple[int, int, Request]] = []
        self.numbers = numbers
        """Of admissions; no two of a pool are the same."""
        self.n = self.step = 0
        self.context = 0.0
        """Sum over the running."""
        self.used = self.held = 0.0
        """Bytes taken by all, and those of prompts still in prefill among them."""
        self.growth = 0.0
        """Bytes more with every step."""
        self.gap_began_s = 0.0
        """When the running ones, but for the fresh, had their last token."""
        self.fresh: list[Request] = []

    def fits(self, request: Request) -> bool:
        """Whether there is room for what a request needs and for one more step of all."""
        context = request.context
        more = self.cache.at(context) + request.prompt.cross_bytes + self.growth
        more += self.cache.slope(context) * self.grow
        if self.used + more <= self.capacity:
            return True
        if not self.windowed:
            return False
        self.tighten()
        return self.used + more <= self.capacity

    def hold(self, request: Request) -> None:
        """Take the room that a request needs now; it does not grow yet."""
        request.base_bytes = self.cache.at(request.context) + request.prompt.cross_bytes
        self.used += request.base_bytes
        self.held += request.base_bytes

    def release(self, request: Request) -> None:
        """Give back the room of a request that never joined."""
        self.used -= request.base_bytes
        self.held -= request.base_bytes

    def join(self, request: Request) -> None:
        """Let a request decode for which room is held."""
        self.held -= request.base_bytes
        request.base_context, request.base_step = request.context, self.step
        request.slope = self.cache.slope(request.context) * self.grow
        self.growth += request.slope
        self.context += request.context
        request.admission = next(self.numbers)
        heappush(self.leaving, (self.step + request.left, request.admission, request))
        self.running[request] = None
        if self.n == 0:
            self.gap_began_s = request.last_s
        elif request.last_s != self.gap_began_s:
            self.fresh.append(request)
        self.n += 1

    def leave(self, request: Request) -> None:
        """Take a running request out; its context and steps left are set to what they are now."""
        run = self.step - request.base_step
        request.left -= run
        request.context = request.base_context + run * self.grow
        self.context -= request.context
        self.used -= request.base_bytes + run * request.slope
        self.growth -= request.slope
        self.n -= 1
        del self.running[request]
        if request in self.fresh:
            self.fresh.remove(request)
        request.admission = 0
        if self.n == 0:
            self.context = self.growth = 0.0
            self.used = self.held

    def tighten(self) -> None:
        """Work out the cache of every running request as it is now."""
        self.used, self.growth = self.held, 0.0
        for request in self.running:
            context = request.base_context + (self.step - request.base_step) * self.grow
            request.base_bytes = self.cache.at(context) + request.prompt.cross_bytes
            request.slope = self.cache.slope(context) * self.grow
            request.base_bytes -= (self.step - request.base_step) * request.slope
            self.used += self.cache.at(context) + request.prompt.cross_bytes
            self.growth += request.slope

    def peak(self, before: float) -> float:
        """Share of the cache in use, exact where it exceeds a share seen before."""
        if self.windowed and self.used > before * self.capacity:
            self.tighten()
        return self.used / self.capacity if self.used else 0.0

    def room(self, steps: int) -> int:
        """Number of steps, up to `steps`, for which there is room."""
        found = self._room(steps)
        if found < steps and self.windowed:
            self.tighten()
            found = self._room(steps)
        return found

    def _room(self, steps: int) -> int:
        free = self.capacity - self.used
        if steps * self.growth <= free:
            return steps
        return max(int(free / self.growth), 0)

    def until_next(self) -> int:
        """Steps until the next request leaves."""
        leaving = self.leaving
        while leaving[0][2].admission != leaving[0][1]:
            heappop(leaving)
        return leaving[0][0] - self.step

    def advance(self, steps: int, began_s: float, now: float) -> list[Request]:
        """Run some steps; returns the requests that have all their tokens, still counted in."""
        n = self.n
        self._count_gaps(steps, began_s, now)
        self.step += steps
        self.context += n * steps * self.grow
        self.used += steps * self.growth
        leaving, step, done = self.leaving, self.step, []
        while leaving and leaving[0][0] <= step:
            _, admission, request = heappop(leaving)
            if request.admission == admission:
                done.append(request)
        return done

    def _count_gaps(self, steps: int, began_s: float, now: float) -> None:
        """Count the gaps of the steps from `began_s` to now."""
        n, gaps, law = self.n, self.gaps, self.step_law
        mean = self.context / n
        first_s = now - began_s if steps == 1 else law.step_s(n, mean)
        end = began_s + first_s
        gaps.add(end - self.gap_began_s, n - len(self.fresh))
        for request in self.fresh:
            gaps.add(end - request.last_s, 1)
        if self.fresh:
            self.fresh.clear()
        if steps > 1:
            last_s = law.step_s(n, mean + (steps - 1) * self.grow)
            second_s = 2 * (now - end) / (steps - 1) - last_s
            gaps.stretch(second_s, last_s, n * (steps - 1))
        self.gap_began_s = now
