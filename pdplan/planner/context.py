"""Everything of a scenario that placements share: demand, objectives, timed candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement import SPLIT_DECODE, Placement
from pdplan.planner.affinity import in_pairs, paired, paired_ladder
from pdplan.planner.aims import each_of
from pdplan.planner.attention_ffn import bundle_shapes
from pdplan.planner.columns import Starts, bearing, coarse, loaded, raised
from pdplan.planner.goals import Goal, goals
from pdplan.planner.limits import limited_to, limits_of
from pdplan.planner.settings import alternatives
from pdplan.planner.shapes import PIPELINES, candidate_shapes
from pdplan.pools.demand import Demand, demand, demand_with
from pdplan.pools.load import Discipline
from pdplan.pools.local_prefill import prefills
from pdplan.pools.needed import served
from pdplan.pools.subset import demand_of
from pdplan.pools.table import Columns, PoolTable
from pdplan.pools.times import Times, stage_times
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.scenario import Scenario
from pdplan.stages.machine import Shape

Unit = tuple[str, ...]
"""Stages of the processes on the same devices; mostly of one."""
Tables = tuple[PoolTable, ...]
"""A table for each of them, row by row of the same columns."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How pools work: one of the choices of the search space."""

    scheduler: Literal["chunked", "prefill_first", "layered"]
    chunk_tokens: int
    parallel_encode: int = 1

    def seen_by(self, unit: "Unit") -> "Variant":
        """The same for all variants that make no difference to some processes."""
        return self if "E" in unit else replace(self, parallel_encode=1)


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
    _first: dict[tuple[Unit, Variant], Candidates] = field(default_factory=dict)
    _cache: dict[tuple[Unit, Variant], Candidates] = field(default_factory=dict)
    _ladders: dict[tuple[Unit, Variant], Tables] = field(default_factory=dict)
    _settings: dict[str, "Context"] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: Scenario) -> "Context":
        """Prepare a scenario."""
        work = served(
            demand(scenario.model, scenario.traffic, scenario.speculation, scenario.options)
        )
        hardware = {choice.id: choice.spec for choice in scenario.hardware}
        return cls(scenario, work, goals(work), hardware)

    def of_classes(self, classes: Sequence[int]) -> "Context":
        """Prepare the same scenario for some of its classes alone; nodes are not rounded there.

        Raises UnfitError where what they ask for cannot be.
        """
        work = demand_of(self.demand, classes)
        limits = replace(self.scenario.limits, whole_nodes=False)
        return Context(replace(self.scenario, limits=limits), work, goals(work), self.hardware)

    def asked(self, scenario: Scenario) -> "Context":
        """Ask another question of the same traffic; what both have in common is not redone."""
        same = (scenario.options, scenario.routing, scenario.first_token_from, scenario.objective)
        mine = self.scenario
        if same != (mine.options, mine.routing, mine.first_token_from, mine.objective):
            return Context.of(scenario)
        search = scenario.search.model_copy(update={"placements": mine.search.placements})
        if search != mine.search:
            return Context.of(scenario)
        return replace(self, scenario=scenario)

    def settings(self, placement: Placement) -> "list[Context]":
        """Contexts of the options that a placement may be run with, worked out once."""
        found = []
        for options in alternatives(self.scenario, placement):
            if options == self.scenario.options:
                found.append(self)
                continue
            key, scenario = repr(options), replace(self.scenario, options=options)
            if key not in self._settings:
                work = demand_with(self.demand, options)
                self._settings[key] = Context(scenario, work, goals(work), self.hardware)
            found.append(replace(self._settings[key], scenario=scenario))
        return found

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
        colocated |= prefills("D", self.demand)
        schedulers = search.schedulers if colocated else search.schedulers[:1]
        chunks = search.chunk_tokens or (defaults.chunk_tokens,)
        workers = search.parallel_encode if "E" in stages else (1,)
        return [
            Variant(scheduler, chunk, shared)
            for scheduler in schedulers
            for chunk in chunks
            for shared in workers
        ]

    def discipline(self, variant: Variant) -> Discipline:
        """Routing and scheduling as the queueing takes them."""
        gateway = self.scenario.options.gateway
        routing = self.scenario.routing if gateway is None else "central"
        return Discipline(routing, variant.scheduler, variant.parallel_encode)

    def candidates(self, unit: Unit, variant: Variant) -> Candidates:
        """Timed candidates of the processes on the same devices, worked out once."""
        key = (unit, variant.seen_by(unit))
        if key not in self._cache:
            pool = self.bearing(unit, variant)
            most = self._affordable(unit, variant, pool)
            if len(unit) > 1 + (unit[0] == "M"):
                from pdplan.planner.shared_candidates import SharedCandidates, shared_raised

                assert isinstance(pool, SharedCandidates)
                self._cache[key] = shared_raised(self, variant, pool, most)
                return self._cache[key]
            discipline = self.discipline(variant)
            starts = raised(pool.times, self.demand, self.goals, discipline, pool.starts, most)
            self._cache[key] = replace(pool, starts=starts)
        return self._cache[key]

    def _affordable(self, unit: Unit, variant: Variant, pool: Candidates) -> Floats:
        """Instances of each candidate below the ceiling, beside the least of other pools [rows]."""
        if not np.isfinite(self.ceiling):
            return np.full(len(pool.starts.config), np.inf)
        others = min(
            sum(self.least_worth(self.bearing(u, variant)) for u in p.units if u != unit)
            for p in self.placements
            if unit in p.units
        )
        each = self.unit_objective(pool.times)[pool.starts.config]
        most = (self.ceiling - others) / np.maximum(each, 1e-12)
        return np.asarray(np.floor(most * (1 + 1e-12)))

    def least_worth(self, pool: Candidates) -> float:
        """Objective of the cheapest candidate's least instances."""
        unit = self.unit_objective(pool.times)[pool.starts.config]
        return float((unit * pool.starts.least).min(initial=np.inf))

    def bearing(self, unit: Unit, variant: Variant) -> Candidates:
        """Timed candidates at the counts that bear their load, worked out once."""
        key = (unit, variant.seen_by(unit))
        if key not in self._first:
            if len(unit) == 1:
                self._first[key] = self._candidates(unit[0], variant)
            elif unit[0] == "M":
                from pdplan.planner.media_candidates import media_candidates

                self._first[key] = media_candidates(self, unit, variant)
            else:
                from pdplan.planner.shared_candidates import shared_candidates

                self._first[key] = shared_candidates(self, unit, variant)
        return self._first[key]

    def _candidates(self, stages: str, variant: Variant) -> Candidates:
        scenario = self.scenario
        if stages == SPLIT_DECODE:
            largest = self._largest_batch
            shapes = bundle_shapes(scenario, self.demand, self.hardware, self.goals, largest)
        else:
            shapes = candidate_shapes(scenario, stages)
        times = self._timed(stages, variant, shapes.found)
        if stages not in ("E", SPLIT_DECODE) and not scenario.search.pp:
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
        return stage_times(
            stages,
            shapes,
            self.hardware,
            self.scenario.engine,
            self.demand,
            largest_batch=self._largest_batch,
            chunk_tokens=variant.chunk_tokens,
        )

    @property
    def _largest_batch(self) -> int:
        search = self.scenario.search
        largest = max(search.max_batch, default=self.scenario.engine.defaults.max_batch)
        for pins in search.roles.values():
            largest = max(largest, *pins.max_batch, 1)
        return largest

    def ladder(self, unit: Unit, variant: Variant) -> Tables:
        """Columns on the coarse ladder of counts, loaded once for all placements."""
        key = (unit, variant.seen_by(unit))
        if key not in self._ladders:
            pool = self.candidates(unit, variant)
            self._ladders[key] = self.loaded(unit, variant, pool, self.ladder_columns(unit, pool))
        return self._ladders[key]

    def loaded(self, unit: Unit, variant: Variant, pool: Candidates, columns: Columns) -> Tables:
        """Columns of the processes on the same devices under load; those that can work."""
        if len(unit) == 1:
            discipline = self.discipline(variant)
            return (loaded(pool.times, columns, self.demand, discipline, self.goals),)
        if unit[0] == "M":
            from pdplan.planner.media_candidates import media_tables

            beside = self.loaded(unit[1:], variant, pool, columns)
            return media_tables(self, beside)
        from pdplan.planner.shared_candidates import shared_tables

        return shared_tables(self, unit, variant, pool, columns)

    def ladder_columns(self, unit: Unit, pool: Candidates) -> Columns:
        """Coarse ladder of counts, or the number of instances that the scenario asks for."""
        pinned = self.pinned_instances(unit)
        if pinned is None and paired(self.scenario.options) and in_pairs(pool.times.stages):
            return paired_ladder(pool.starts, pool.times.shapes, self.hardware)
        if pinned is None:
            return coarse(pool.starts)
        enough = pool.starts.least <= pinned
        config = pool.starts.config[enough]
        return Columns.of(config, np.full(len(config), pinned), pool.starts.max_batch[enough])

    def pinned_instances(self, unit: Unit) -> int | None:
        """Number of instances that the scenario asks for in a pool."""
        roles = (self.scenario.search.roles.get(stages) for stages in unit)
        return next((pins.instances for pins in roles if pins and pins.instances), None)

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
            used = dict.fromkeys(("gpus", "usd_per_hour", "power_w"), 0.0)
            for name, gpus in shape.parts:
                offer = offers[name]
                used["gpus"] += gpus
                used["usd_per_hour"] += gpus * (offer.usd_per_hour or 0.0)
                used["power_w"] += gpus * (offer.spec.power.board if offer.spec.power else 0.0)
                if offer.stock is not None:
                    found[i] = min(found[i], offer.stock // gpus)
            for limit, each in (
                (limits.max_gpus, used["gpus"]),
                (limits.budget_usd_per_hour, used["usd_per_hour"]),
                (limits.power_w, used["power_w"]),
            ):
                if limit is not None and each > 0:
                    found[i] = min(found[i], limit // each)
        return found

    def unit_objective(self, times: Times) -> np.ndarray:
        """Objective of one instance of each candidate [C]."""
        known = {}
        for choice in self.scenario.hardware:
            known[choice.id] = each_of(choice, self.scenario.objective) or 0.0
        return np.array(
            [sum(known[name] * gpus for name, gpus in s.parts) for s in times.shapes], float
        )
