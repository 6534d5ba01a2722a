"""A fleet as it is: chosen pools, loaded and linked, the same for `solve` and `evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pdplan.placement import JOINED, Chain, Placement
from pdplan.planner.goals import Goal
from pdplan.planner.halves import halved_label
from pdplan.planner.place import Selected
from pdplan.pools.demand import Demand
from pdplan.pools.load import Discipline, pool_table
from pdplan.pools.table import Columns, PoolTable
from pdplan.pools.times import Times, stage_times
from pdplan.specs.engine import EngineSpec
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.model import ModelSpec


@dataclass(frozen=True, slots=True)
class Member:
    """One pool of a fleet: what was chosen and what it is called."""

    name: str
    pool: Selected
    discipline: Discipline
    chunk_tokens: int
    usd_per_gpu_hour: float | None
    price_source: str
    other_prices: tuple[tuple[str, float | None, str], ...] = ()
    """Of the other kinds of accelerators in an instance: price of one per hour, and its source."""

    @property
    def usd_per_hour(self) -> float | None:
        """What the pool costs; None where a price is missing."""
        prices = {name: price for name, price, _ in self.other_prices}
        prices[self.pool.shape.hardware] = self.usd_per_gpu_hour
        total = 0.0
        for name, each in self.pool.shape.parts:
            price = prices[name]
            if price is None:
                return None
            total += price * (each * self.pool.instances)
        return total

    @property
    def gpus(self) -> int:
        """Accelerators of the pool."""
        return sum(each for _, each in self.pool.shape.parts) * self.pool.instances


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Everything that determines a prediction, and nothing else."""

    placement: Placement
    members: tuple[Member, ...]
    demand: Demand
    goals: tuple[Goal, ...]
    model_id: str
    model: ModelSpec
    engine_id: str
    engine: EngineSpec
    hardware: Mapping[str, HardwareSpec]
    workload: Mapping[str, Any]
    first_token_from: str = "decode"
    system: str | None = None
    whole_nodes: bool = False
    """Whether accelerators are paid by the node."""
    apart: bool = False
    """Whether other classes have other pools."""
    known: dict[object, Any] = field(default_factory=dict)
    """Pools already timed and loaded; shared with copies of the fleet in other sizes."""

    def chain(self) -> Chain:
        """The fleet's pools under load, one column each."""
        found: dict[int, PoolTable] = {}
        for group in self.placement.devices:
            found |= zip(group, self._tables(group), strict=True)
        tables = tuple(found[i] for i in range(len(found)))
        sender = next(t for t in tables if "P" in t.stages)
        kv = tuple(shape.kv_dtype for shape in sender.times.shapes)
        return Chain(self.placement, tables, self.demand, kv, self.first_token_from)

    def _tables(self, group: tuple[int, ...]) -> tuple[PoolTable, ...]:
        """Tables of the processes on the same devices."""
        members = tuple(self.members[i] for i in group)
        if len(members) == 1:
            return (self._table(members[0]),)
        if members[0].pool.stages == "M":
            return (self._table(members[0]), *self._tables(group[1:]))
        from pdplan.planner.shared_fleet import shared_members

        key = (members, self.demand)
        if key not in self.known:
            self.known[key] = shared_members(self, members)
        tables: tuple[PoolTable, ...] = self.known[key]
        return tables

    def _table(self, member: Member) -> PoolTable:
        key = (member, self.demand)
        if key not in self.known:
            columns = Columns.of([0], [member.pool.instances], [member.pool.max_batch])
            times = self._times(member)
            self.known[key] = pool_table(times, columns, self.demand, member.discipline)
        table: PoolTable = self.known[key]
        return table

    def _times(self, member: Member) -> Times:
        pool = member.pool
        largest = max(pool.max_batch, self.engine.defaults.max_batch)
        key = (pool.stages, pool.shape, largest, member.chunk_tokens, self.demand)
        if key not in self.known:
            self.known[key] = stage_times(
                pool.stages,
                [pool.shape],
                dict(self.hardware),
                self.engine,
                self.demand,
                largest_batch=largest,
                chunk_tokens=member.chunk_tokens,
            )
        times: Times = self.known[key]
        return times

    @property
    def paid(self) -> tuple[Member, ...]:
        """One member for each kind of devices: processes on the same devices are paid once."""
        groups = ([self.members[i] for i in group] for group in self.placement.devices)
        return tuple(next(m for m in g if m.pool.stages != "M") for g in groups)

    def shares_devices(self, one: Member, other: Member) -> bool:
        """Whether two pools run on the same devices."""
        positions = self.members.index(one), self.members.index(other)
        return any(set(positions) <= set(group) for group in self.placement.devices)

    @property
    def gpus(self) -> int:
        """All accelerators."""
        return sum(m.gpus for m in self.paid)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the fleet serves."""
        return tuple(kind.name for kind in self.demand.traffic.classes)


@dataclass(frozen=True, slots=True, eq=False)
class Fleets:
    """Groups of request classes, each with a fleet of its own; one group where all share."""

    groups: tuple[Fleet, ...]
    demand: Demand
    """Of all classes, in the workload's order."""

    @classmethod
    def one(cls, fleet: Fleet) -> "Fleets":
        """A fleet that all classes share."""
        return cls((fleet,), fleet.demand)

    @property
    def first(self) -> Fleet:
        """A group to read off what all have in common: model, engine, workload, hardware."""
        return self.groups[0]

    @property
    def members(self) -> tuple[Member, ...]:
        """All pools, group by group."""
        return tuple(member for group in self.groups for member in group.members)

    @property
    def placement(self) -> str:
        """Placements of the groups."""
        return JOINED.join(group.placement.text for group in self.groups)

    @property
    def label(self) -> str:
        """Instances of the groups."""
        return JOINED.join(
            halved_label(
                group.placement.label(tuple(m.pool.instances for m in group.members)),
                group.members[-1].pool.shape,
                group.members[-1].pool.instances,
            )
            for group in self.groups
        )

    @property
    def gpus(self) -> int:
        """All accelerators."""
        return sum(group.gpus for group in self.groups)

    @property
    def usd_per_hour(self) -> float | None:
        """What the fleets cost; None where a price is missing."""
        prices = self.prices
        total = 0.0
        for name, price in prices.items():
            if price is None:
                return None
            total += price * self.rented(name)
        return total

    def rented(self, hardware: str) -> int:
        """Accelerators of one kind that are paid for: those used, or whole nodes of them."""
        used = sum(
            each * m.pool.instances
            for group in self.groups
            for m in group.paid
            for name, each in m.pool.shape.parts
            if name == hardware
        )
        first = self.first
        node = first.hardware[hardware].accelerators_per_node if first.whole_nodes else 1
        return -(-used // node) * node

    @property
    def power_w(self) -> float | None:
        """Board power limits of all accelerators; None where one is unknown."""
        total = 0.0
        for group in self.groups:
            for m in group.paid:
                for name, each in m.pool.shape.parts:
                    power = group.hardware[name].power
                    if power is None:
                        return None
                    total += power.board * each * m.pool.instances
        return total

    @property
    def prices(self) -> dict[str, float | None]:
        """Price of one accelerator of each kind, per hour; None where it is not known."""
        others = {name: price for m in self.members for name, price, _ in m.other_prices}
        return others | {m.pool.shape.hardware: m.usd_per_gpu_hour for m in self.members}
