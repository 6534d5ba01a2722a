"""Everything of a scenario that placements share: demand, objectives, timed candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement import Placement
from pdplan.planner.columns import Starts, bearing, coarse, loaded, raised
from pdplan.planner.goals import Goal, goals
from pdplan.planner.limits import limited_to, limits_of
from pdplan.planner.shapes import PIPELINES, candidate_shapes
from pdplan.pools.demand import Demand, demand
from pdplan.pools.load import Discipline
from pdplan.pools.subset import demand_of
from pdplan.pools.table import Columns, PoolTable
from pdplan.pools.times import Times, stage_times
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.scenario import Scenario
from pdplan.stages.machine import Shape


@dataclass(frozen=True, slots=True)
class Variant:
    """How colocated pools interleave: one of the choices of the search space."""

    scheduler: Literal["chunked", "prefill_first", "layered"]
    chunk_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Timed candidates of one pool, where to start counting, and who was turned away."""

    times: Times
    starts: Starts
    turned_away: dict[str, int]


@dataclass(slots=True, eq=False)
class Context:
    """A scenario being solved; caches what several placements use."""

    scenario: Scenario
    demand: Demand
    goals: tuple[Goal, ...]
    hardware: dict[str, HardwareSpec]
    placements: tuple[Placement, ...] = ()
    """Those that matter where there is a ceiling."""
    ceiling: float = np.inf
    """Fleets whose objective is above it are of no use, and candidates for them are left out."""
    _first: dict[tuple[str, Variant], Candidates] = field(default_factory=dict)
    _cache: dict[tuple[str, Variant], Candidates] = field(default_factory=dict)
    _ladders: dict[tuple[str, Variant], PoolTable] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: Scenario) -> "Context":
        """Prepare a scenario."""
        work = demand(scenario.model, scenario.traffic, scenario.speculation)
        hardware = {choice.id: choice.spec for choice in scenario.hardware}
        return cls(scenario, work, goals(work), hardware)

    def of_classes(self, classes: Sequence[int]) -> "Context":
        """Prepare the same scenario for some of its classes alone; nodes are not rounded there.

        Raises UnfitError where what they ask for cannot be.
        """
        work = demand_of(self.demand, classes)
        limits = replace(self.scenario.limits, whole_nodes=False)
        return Context(replace(self.scenario, limits=limits), work, goals(work), self.hardware)

    def within(self, caps: Mapping[str, float]) -> "Context":
        """Take limits by the names of `limits` in the place of the scenario's; nothing is redone.

        What has been worked out of candidates does not depend on limits.
        """
        return replace(self, scenario=limited_to(self.scenario, caps))

    @property
    def limits(self) -> dict[str, float]:
        """Limits that the whole fleet must keep, by resource."""
        return limits_of(self.scenario)

    def variants(self, stages: tuple[str, ...]) -> list[Variant]:
        """Schedulers and chunk sizes to try for a placement's pools."""
        search, defaults = self.scenario.search, self.scenario.engine.defaults
        colocated = any("P" in pool and "D" in pool for pool in stages)
        schedulers = search.schedulers if colocated else search.schedulers[:1]
        chunks = search.chunk_tokens or (defaults.chunk_tokens,)
        return [Variant(scheduler, chunk) for scheduler in schedulers for chunk in chunks]

    def discipline(self, variant: Variant) -> Discipline:
        """Routing and scheduling as the queueing takes them."""
        search = self.scenario.search
        return Discipline(self.scenario.routing, variant.scheduler, search.parallel_encode)

    def candidates(self, stages: str, variant: Variant) -> Candidates:
        """Timed candidates of a pool, worked out once."""
        key = (stages, variant)
        if key not in self._cache:
            pool = self.bearing(stages, variant)
            most = self._affordable(stages, variant, pool)
            discipline = self.discipline(variant)
            starts = raised(pool.times, self.demand, self.goals, discipline, pool.starts, most)
            self._cache[key] = replace(pool, starts=starts)
        return self._cache[key]

    def _affordable(self, stages: str, variant: Variant, pool: Candidates) -> Floats:
        """Instances of each candidate below the ceiling, beside the least of other pools [rows]."""
        if not np.isfinite(self.ceiling):
            return np.full(len(pool.starts.config), np.inf)
        others = min(
            sum(self.least_worth(self.bearing(s, variant)) for s in p.pools if s != stages)
            for p in self.placements
            if stages in p.pools
        )
        unit = self.unit_objective(pool.times)[pool.starts.config]
        most = (self.ceiling - others) / np.maximum(unit, 1e-12)
        return np.asarray(np.floor(most * (1 + 1e-12)))

    def least_worth(self, pool: Candidates) -> float:
        """Objective of the cheapest candidate's least instances."""
        unit = self.unit_objective(pool.times)[pool.starts.config]
        return float((unit * pool.starts.least).min(initial=np.inf))

    def bearing(self, stages: str, variant: Variant) -> Candidates:
        """Timed candidates of a pool at the counts that bear its load, worked out once."""
        key = (stages, variant)
        if key not in self._first:
            self._first[key] = self._candidates(stages, variant)
        return self._first[key]

    def _candidates(self, stages: str, variant: Variant) -> Candidates:
        scenario = self.scenario
        shapes = candidate_shapes(scenario, stages)
        times = self._timed(stages, variant, shapes.found)
        if stages != "E" and not scenario.search.pp:
            for pipeline in PIPELINES:
                fitting = {
                    s.hardware for s, ok in zip(times.shapes, times.fits(), strict=True) if ok
                }
                longer = candidate_shapes(scenario, stages, pipeline).found
                extra = [shape for shape in longer if shape.hardware not in fitting]
                if not extra:
                    break
                times = self._timed(stages, variant, [*times.shapes, *extra])
        pins = scenario.search.roles.get(stages)
        batches = pins.max_batch if pins and pins.max_batch else scenario.search.max_batch
        starts = bearing(times, self.demand, self.goals, batches)
        return Candidates(times, starts, shapes.turned_away)

    def _timed(self, stages: str, variant: Variant, shapes: list[Shape]) -> Times:
        search = self.scenario.search
        largest = max(search.max_batch, default=self.scenario.engine.defaults.max_batch)
        for pins in search.roles.values():
            largest = max(largest, *pins.max_batch, 1)
        return stage_times(
            stages,
            shapes,
            self.hardware,
            self.scenario.engine,
            self.demand,
            largest_batch=largest,
            chunk_tokens=variant.chunk_tokens,
        )

    def ladder(self, stages: str, variant: Variant) -> PoolTable:
        """Columns of a pool on the coarse ladder of counts, loaded once for all placements."""
        key = (stages, variant)
        if key not in self._ladders:
            pool = self.candidates(stages, variant)
            columns = self.ladder_columns(stages, pool)
            discipline = self.discipline(variant)
            self._ladders[key] = loaded(pool.times, columns, self.demand, discipline, self.goals)
        return self._ladders[key]

    def ladder_columns(self, stages: str, pool: Candidates) -> Columns:
        """Coarse ladder of counts, or the number of instances that the scenario asks for."""
        pinned = self.pinned_instances(stages)
        if pinned is None:
            return coarse(pool.starts)
        enough = pool.starts.least <= pinned
        config = pool.starts.config[enough]
        return Columns.of(config, np.full(len(config), pinned), pool.starts.max_batch[enough])

    def pinned_instances(self, stages: str) -> int | None:
        """Number of instances that the scenario asks for in a pool."""
        pins = self.scenario.search.roles.get(stages)
        return pins.instances if pins else None

    @property
    def limited(self) -> bool:
        """Whether stock, accelerators, budget or power are limited."""
        limits = self.scenario.limits
        wholes = (limits.max_gpus, limits.budget_usd_per_hour, limits.power_w)
        stocks = (choice.stock for choice in self.scenario.hardware)
        return any(value is not None for value in (*wholes, *stocks))

    def most_instances(self, times: Times) -> np.ndarray:
        """Instances of each candidate that the limits allow if nothing else is built [C]."""
        limits = self.scenario.limits
        offers = {choice.id: choice for choice in self.scenario.hardware}
        found = np.full(len(times), np.inf)
        for i, shape in enumerate(times.shapes):
            offer = offers[shape.hardware]
            watts = offer.spec.power.board if offer.spec.power else 0.0
            for limit, each in (
                (limits.max_gpus, 1.0),
                (offer.stock, 1.0),
                (limits.budget_usd_per_hour, offer.usd_per_hour or 0.0),
                (limits.power_w, watts),
            ):
                if limit is not None and each > 0:
                    found[i] = min(found[i], limit / each // shape.gpus)
        return found

    def unit_objective(self, times: Times) -> np.ndarray:
        """Objective of one instance of each candidate [C]."""
        known = {}
        for choice in self.scenario.hardware:
            watts = choice.spec.power.board if choice.spec.power else 0.0
            by_aim = {"cost": choice.usd_per_hour or 0.0, "gpus": 1.0, "power": watts}
            known[choice.id] = by_aim[self.scenario.objective]
        return np.array([known[s.hardware] * s.gpus for s in times.shapes], float)
