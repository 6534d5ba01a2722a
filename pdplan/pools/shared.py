"""Processes on the same devices: one copy of the weights, one KV pool, compute units divided."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.caches import cache_bytes
from pdplan.pools.demand import Demand
from pdplan.pools.discipline import Discipline
from pdplan.pools.interference import slowdowns
from pdplan.pools.load import pool_table
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times, resident_of
from pdplan.queueing.compute_share import slowdown
from pdplan.specs.options.sharing import Sharing
from pdplan.stages.machine import Machines
from pdplan.stages.memory import DeviceMemory, device_memory
from pdplan.stages.speculation import draft_bytes

HOST = "M"
"""Stage that takes no compute units: it runs on video engines or the host."""
OPTION = "compute_share"
"""Name among the options of a pool."""


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """C candidates of processes on the same devices: shapes, and how compute units are divided."""

    processes: tuple[Times, ...]
    """Row by row of the same devices, in the order of a request; slowed by their shares."""
    shares: Floats
    """Of the compute units [C, processes]; 1 for each where nothing divides them."""
    sharing: Sharing

    @property
    def divided(self) -> bool:
        """Whether every process keeps to its share, so that none slows another."""
        return bool((self.shares.sum(axis=1) <= 1 + 1e-9).all())

    @property
    def decoder(self) -> Times:
        """The process whose batch is limited: that which decodes, else the last one."""
        return next((t for t in self.processes if "D" in t.stages), self.processes[-1])


def share_rows(processes: Sequence[str], sharing: Sharing) -> Floats:
    """Ways to divide compute units among processes [ways, processes].

    A grid of multiples of the step that sum to 1; what is given; or 1 for each: uncontrolled.

    >>> share_rows(("P", "D"), Sharing(shares="divided", step=0.25)).tolist()
    [[0.25, 0.75], [0.5, 0.5], [0.75, 0.25]]
    >>> share_rows(("P", "D"), Sharing(shares="none")).tolist()
    [[1.0, 1.0]]
    """
    workers = [name for name in processes if name != HOST]
    found = np.ones((1, len(processes)))
    if len(workers) < 2 or sharing.shares == "none":
        return found
    if isinstance(sharing.shares, dict):
        return np.array([[sharing.share_of(name) or 1.0 for name in processes]])
    parts = max(round(1 / sharing.step), len(workers))
    ways = [
        (*some, parts - sum(some))
        for some in product(range(1, parts), repeat=len(workers) - 1)
        if sum(some) < parts
    ]
    rows = np.ones((len(ways), len(processes)))
    rows[:, [name != HOST for name in processes]] = np.array(ways) / parts
    return rows


def shared(times: Sequence[Times], shares: Floats, sharing: Sharing, demand: Demand) -> Shared:
    """Put processes on the same devices, each of C shapes divided in each of W ways [W, processes].

    times: of each process alone on the same C shapes. Memory holds the weights of the language
    model once, the towers if any process encodes, every process's own activations, and one KV pool;
    prompts in prefill (a pass of them) take room in it that decode does not have.
    """
    count, ways = len(times[0]), len(shares)
    memory = _memory(times, demand)
    rows, way = np.repeat(np.arange(count), ways), np.tile(np.arange(ways), count)
    processes = []
    for i, alone in enumerate(times):
        held = replace(alone, memory=memory, resident=_resident(times, alone, memory, demand))
        if "D" in held.stages:
            held = replace(held, idle_bytes_s=_largest([t.idle_bytes_s for t in times]))
        factors = {
            stage: slowdown(shares[way, i], sharing.stage_sensitivity(stage))
            for stage in held.stages
        }
        processes.append(slowed(taken(held, rows), factors))
    return Shared(tuple(processes), shares[way], sharing)


def _memory(times: Sequence[Times], demand: Demand) -> DeviceMemory:
    """Memory of the devices, all processes in it."""
    stages, m = "".join(t.stages for t in times), times[0].machines
    alone = device_memory(
        demand.model,
        m,
        pass_tokens=0.0,
        language=bool(set("PD") & set(stages)),
        towers="E" in stages,
        draft_bytes=draft_bytes(demand.model, m, demand.speculation),
    )
    activations = sum((t.memory.activations for t in times), np.zeros_like(m.tp))
    return replace(alone, activations=np.asarray(activations))


def _resident(
    times: Sequence[Times], process: Times, memory: DeviceMemory, demand: Demand
) -> Floats:
    """Requests of a process that fit at once into the KV pool [C]."""
    m, room = process.machines, memory.cache[:, 0]
    if "D" in process.stages and "P" not in process.stages:
        prefill = next((t for t in times if "P" in t.stages), None)
        if prefill is not None:
            tokens = max(float(prefill.chunk_tokens), float(demand.mean(demand.prompt_tokens)))
            room = room - cache_bytes(demand, m, tokens, 0.0)[:, 0]
    mean, spread = process.sequence_bytes, process.spread_bytes
    return resident_of(process.stages, room, m.dp[:, 0], mean, spread)


def _largest(values: Sequence[Floats]) -> Floats:
    return np.asarray(np.max(np.stack(values), axis=0))


def taken(times: Times, rows: Ints) -> Times:
    """Candidates of a pool, repeated as asked."""
    changed: dict[str, object] = {"shapes": tuple(times.shapes[i] for i in rows.tolist())}
    for field in fields(times):
        value = getattr(times, field.name)
        if isinstance(value, Machines):
            changed[field.name] = value.take(rows)
        elif isinstance(value, DeviceMemory):
            parts = {f.name: getattr(value, f.name)[rows] for f in fields(value)}
            changed[field.name] = DeviceMemory(**parts)
        elif isinstance(value, np.ndarray):
            changed[field.name] = value[rows]
    return replace(times, **changed)  # type: ignore[arg-type]


def slowed(times: Times, factors: dict[str, Floats]) -> Times:
    """The same candidates with the device times of stages longer by factors [C] each."""
    if not factors:
        return times
    one = np.ones(len(times))
    encode, prefill, decode = (factors.get(stage, one)[:, None] for stage in "EPD")
    return replace(
        times,
        encode_s=times.encode_s * encode,
        encode_fixed_s=times.encode_fixed_s * encode,
        prefill_s=times.prefill_s * prefill,
        marginal_s=times.marginal_s * prefill,
        whole_s=times.whole_s * prefill,
        full_s=times.full_s * prefill,
        step_s=times.step_s * decode,
        slowdown=times.slowdown * decode[:, 0],
    )


def shared_tables_of(
    on: Shared, columns: Columns, demand: Demand, discipline: Discipline
) -> tuple[PoolTable, ...]:
    """Tables of the processes, row by row of the same columns.

    Divided, each process is a pool of its own on slower devices. Uncontrolled, they slow each other
    by how often the others work, which depends on the load of every column.
    """
    processes = on.processes
    each = columns
    if not on.divided:
        found = slowdowns(on.processes, columns, demand, on.sharing)
        processes = tuple(
            slowed(taken(times, columns.config), factors)
            for times, factors in zip(on.processes, found, strict=True)
        )
        each = Columns(np.arange(len(columns)), columns.instances, columns.max_batch)
    tables = [pool_table(times, each, demand, discipline) for times in processes]
    shares = on.shares[columns.config]
    return tuple(
        table if table.stages == HOST else table.with_extras(_extras(shares[:, i]))
        for i, table in enumerate(tables)
    )


def _extras(shares: Floats) -> tuple[tuple[tuple[str, float | int | str], ...], ...]:
    return tuple(((OPTION, round(share, 9)),) for share in shares.tolist())
