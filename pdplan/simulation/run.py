"""Run a fleet: wire its pools, let requests arrive, report what was seen."""

from collections.abc import Callable, Iterator
from math import floor, inf

import numpy as np

from pdplan.errors import UnfitError
from pdplan.simulation.arrivals import Arrival
from pdplan.simulation.clock import Clock
from pdplan.simulation.colocated import ColocatedInstance
from pdplan.simulation.counting import Counter
from pdplan.simulation.decode import DecodeInstance
from pdplan.simulation.encode import EncodeInstance
from pdplan.simulation.gaps import Gaps
from pdplan.simulation.links import Link
from pdplan.simulation.meter import Meter
from pdplan.simulation.model import FleetModel, LaneModel, PoolModel
from pdplan.simulation.pool import Instance, Pool
from pdplan.simulation.prefill import PrefillInstance
from pdplan.simulation.report import report
from pdplan.simulation.request import Request
from pdplan.simulation.result import RequestRow, Simulation
from pdplan.simulation.routing import chooser


def run(
    fleet: FleetModel,
    arrivals: Iterator[Arrival],
    *,
    requests: int | None = None,
    seed: int | None = 1,
    skip: bool = True,
    progress: Callable[[int, int | None], None] | None = None,
    rows: Callable[[RequestRow], None] | None = None,
    concurrency: int | None = None,
) -> Simulation:
    """Let requests through a fleet until so many that count have finished.

    Without a number all arrivals count and the run ends with the last of them (a trace). `skip`:
    jump over decode steps at whose end nothing is decided; the outcome is the same. `concurrency`:
    so many requests come at once, and the next whenever one leaves, whatever the arrivals' times.
    An interrupt from the keyboard ends the run early.
    """
    return Run(fleet, arrivals, requests, seed, skip, progress, rows, concurrency).run()


class Lane:
    """Pools of one lane, wired."""

    __slots__ = ("first", "links", "model", "most_tokens", "pools", "where")

    def __init__(self, model: LaneModel, pools: list[Pool]) -> None:
        self.model, self.pools = model, pools
        self.links: list[Link] = []
        for source, target, hop in zip(pools[:-1], pools[1:], model.links, strict=True):
            link = Link(hop, len(source.instances), len(target.instances))
            source.next, source.link = target, link
            self.links.append(link)
        self.first = pools[1] if pools[0].model.stages == "E" else pools[0]
        """Where requests without media go."""
        last = pools[-1].model
        self.most_tokens, self.where = longest_context(last), last.name


class Run:
    """Everything of one run."""

    def __init__(
        self, fleet: FleetModel, arrivals: Iterator[Arrival], requests: int | None,
        seed: int | None, skip: bool, progress: Callable[[int, int | None], None] | None,
        rows: Callable[[RequestRow], None] | None, concurrency: int | None = None,
    ) -> None:  # fmt: skip
        self.concurrency = concurrency
        self.fleet, self.arrivals, self.seed, self.skip = fleet, arrivals, seed, skip
        self.clock, self.gaps = Clock(), Gaps()
        self.counter = Counter(
            self.clock, self.gaps, fleet.classes, steady=requests is not None, asked=requests,
            progress=progress, rows=rows,
        )  # fmt: skip
        self.lengths = np.random.default_rng([seed or 0, 7])
        self.made = 0
        lanes = [
            Lane(lane, [self._pool(lane, pool) for pool in lane.pools]) for lane in fleet.lanes
        ]
        self.lanes = lanes
        self.lane_of = [lanes[i] for i in fleet.lane_of]

    def _pool(self, lane: LaneModel, model: PoolModel) -> Pool:
        self.made += 1
        pool = Pool(
            model,
            self.clock,
            Meter(self.counter.window),
            self.gaps,
            chooser(
                model.routing,
                1000 * (self.seed or 0) + self.made,
                shared=model.shared_queue,
            ),
            self.counter.finish if self.concurrency is None else self._leave,
            first_token=lane.first_token_from,
            mean_output=lane.mean_output,
            skip=self.skip,
        )
        together = min(model.parallel_encode, model.instances) if model.stages == "E" else 1
        servers = model.instances // together
        pool.work = [0.0] * servers
        for i in range(servers):
            pool.instances.append(_instance(pool, i, together))
        return pool

    def run(self) -> Simulation:
        """Run to the end and report."""
        finished = True
        try:
            for _ in range(self.concurrency or 1):
                self._wait(self.clock.now)
            self.clock.run()
        except KeyboardInterrupt:
            finished = False
        lanes = [(lane.pools, lane.links) for lane in self.lanes]
        return report(self.fleet, lanes, self.counter, self.seed, finished)

    def _wait(self, now: float) -> None:
        """Plan the next arrival, if there is one: at its time, or now in a closed loop."""
        following = next(self.arrivals, None)
        if following is not None:
            at = following[0] if self.concurrency is None else now
            self.clock.at(at, self._arrive, following)

    def _leave(self, now: float, request: Request) -> None:
        """Let the next request of a closed loop come in the place of one that has finished."""
        self.counter.finish(now, request)
        self._wait(now)

    def _arrive(self, now: float, found: Arrival) -> None:
        """Number a request, send it on its way, and wait for the next."""
        _, prompt, osl = found
        counter = self.counter
        counter.arrive(now)
        lane = self.lane_of[prompt.request_class]
        osl, steps = self._lengths(lane, prompt.tokens, osl)
        request = Request(counter.arrived - 1, now, prompt, osl, steps)
        delay = lane.model.request_s + prompt.host_s
        first = lane.pools[0] if prompt.media else lane.first
        if delay:
            request.ready_s = now + delay
            self.clock.at(request.ready_s, first.arrive, request)
        else:
            first.arrive(now, request)
        if self.concurrency is None:
            self._wait(now)

    def _lengths(self, lane: Lane, prompt_tokens: float, osl: int) -> tuple[int, int]:
        """Tokens of an answer and its decode steps; an answer that fits nowhere is cut short."""
        if prompt_tokens + osl > lane.most_tokens:
            osl = floor(lane.most_tokens - prompt_tokens)
            if osl < 1:
                message = (
                    f"pool '{lane.where}': a prompt of {prompt_tokens:.0f} tokens exceeds the "
                    f"cache of an instance, {lane.most_tokens:.0f} tokens"
                )
                raise UnfitError(message)
        speculation = self.fleet.speculation
        if speculation is None or osl <= 1:
            return osl, osl - 1
        drafted, acceptance = speculation
        yields = np.minimum(self.lengths.geometric(1 - acceptance, osl - 1), drafted + 1)
        return osl, int(np.searchsorted(np.cumsum(yields), osl - 1)) + 1


def _instance(pool: Pool, index: int, together: int) -> Instance:
    stages = pool.model.stages
    if stages == "E":
        return EncodeInstance(pool, index, together)
    if "D" not in stages:
        return PrefillInstance(pool, index)
    return DecodeInstance(pool, index) if stages == "D" else ColocatedInstance(pool, index)


def longest_context(model: PoolModel) -> float:
    """Tokens of one sequence that fill the cache of a data-parallel group alone."""
    laws = model.laws
    if laws.capacity_bytes == inf or laws.step is None:
        return inf
    room = laws.capacity_bytes / laws.groups
    cache = laws.cache
    j = max((i for i, held in enumerate(cache.values) if held <= room), default=0)
    if cache.slopes[j] <= 0:
        return inf
    return cache.knots[j] + (room - cache.values[j]) / cache.slopes[j] - laws.step.growth
