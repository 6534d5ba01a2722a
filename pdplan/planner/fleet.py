"""A fleet as it is: chosen pools, loaded and linked, the same for `solve` and `evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pdplan.placement import Chain, Placement
from pdplan.planner.goals import Goal
from pdplan.planner.place import Selected
from pdplan.pools.demand import Demand
from pdplan.pools.load import Discipline, pool_table
from pdplan.pools.table import Columns, PoolTable
from pdplan.pools.times import stage_times
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

    def chain(self) -> Chain:
        """The fleet's pools under load, one column each."""
        tables = tuple(self._table(member) for member in self.members)
        sender = next(t for t in tables if "P" in t.stages)
        kv = tuple(shape.kv_dtype for shape in sender.times.shapes)
        return Chain(self.placement, tables, self.demand, kv, self.first_token_from)

    def _table(self, member: Member) -> PoolTable:
        pool = member.pool
        times = stage_times(
            pool.stages,
            [pool.shape],
            dict(self.hardware),
            self.engine,
            self.demand,
            largest_batch=max(pool.max_batch, self.engine.defaults.max_batch),
            chunk_tokens=member.chunk_tokens,
        )
        columns = Columns.of([0], [pool.instances], [pool.max_batch])
        return pool_table(times, columns, self.demand, member.discipline)

    @property
    def gpus(self) -> int:
        """All accelerators."""
        return sum(m.pool.shape.gpus * m.pool.instances for m in self.members)

    @property
    def usd_per_hour(self) -> float | None:
        """What the fleet costs; None where a price is missing."""
        prices = {m.pool.shape.hardware: m.usd_per_gpu_hour for m in self.members}
        total = 0.0
        for name, price in prices.items():
            if price is None:
                return None
            total += price * self.rented(name)
        return total

    def rented(self, hardware: str) -> int:
        """Accelerators of one kind that are paid for: those used, or whole nodes of them."""
        used = sum(
            m.pool.shape.gpus * m.pool.instances
            for m in self.members
            if m.pool.shape.hardware == hardware
        )
        node = self.hardware[hardware].accelerators_per_node if self.whole_nodes else 1
        return -(-used // node) * node

    @property
    def power_w(self) -> float | None:
        """Board power limits of all accelerators; None where one is unknown."""
        total = 0.0
        for m in self.members:
            power = self.hardware[m.pool.shape.hardware].power
            if power is None:
                return None
            total += power.board * m.pool.shape.gpus * m.pool.instances
        return total
