"""Prefill and decode in the same nodes: counts that pair up, and what a node has room for.

Low affinity (DistServe, OSDI 2024, section 4.2): KV must not leave a node, so stage i of a prefill
pipeline and stage i of a decode pipeline lie on the same one, and pipelines are equally long. A
unit is as many nodes as the pipeline has stages; each unit holds a prefill and b decode instances,
a tp_P + b tp_D <= accelerators of a node. So n_P = a u and n_D = b u with the same number of units
u, and the fleet is one integer program still: columns of a pool are repeated for every u that
divides their count, u is part of the key on which pools must agree, and room is a linear bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np

from pdplan.errors import SpecError
from pdplan.physics.roofline import Floats
from pdplan.planner.columns import Starts
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.solver.columns import Bound
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.options import Options
from pdplan.stages.machine import Shape

GROWTH = 1.2
"""Ratio of one number of units to the next on the coarse ladder."""


def paired(options: Options) -> bool:
    """Whether prefill and decode share nodes."""
    return options.node_affinity is not None and options.node_affinity.kind == "low"


def in_pairs(stages: str) -> bool:
    """Whether a pool is one of the two that share nodes."""
    return ("P" in stages) != ("D" in stages)


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """Units of every column, pool by pool of a placement; columns repeat for each number of them.

    Of a pool that is in no pair: no units, no room taken.
    """

    units: tuple[Ints, ...]
    """[K] each; 0 where the pool is in no pair."""
    room: tuple[Floats, ...]
    """Share of a node's accelerators that each column's instances in it take [K]."""
    alike: tuple[Ints, ...]
    """Number of the hardware and the pipeline, which must be the same [K]."""

    def keys(self, position: int, others: Ints) -> Ints:
        """Keys on which pools must agree, on top of those that they have to [K]."""
        units, alike = self.units[position], self.alike[position]
        mixed = (units * 4096 + alike) * 64 + np.maximum(others, 0)
        return np.asarray(np.where(units > 0, mixed, others), np.int64)

    def bound(self, devices: tuple[tuple[int, ...], ...]) -> Bound:
        """What a node has room for."""
        parts = tuple(np.sum([self.room[i] for i in group], axis=0) for group in devices)
        return Bound("node", parts, 1.0)


def pair_up(
    tables: Sequence[PoolTable], hardware: Mapping[str, HardwareSpec]
) -> tuple[tuple[PoolTable, ...], Pairing]:
    """Repeat the columns of pools that share nodes for every number of units that divides them."""
    found, units, room, alike = [], [], [], []
    kinds = {name: i for i, name in enumerate(sorted(hardware))}
    for table in tables:
        if not in_pairs(table.stages):
            nothing = np.zeros(len(table), np.int64)
            found.append(table)
            units.append(nothing)
            room.append(nothing.astype(float))
            alike.append(nothing)
            continue
        shapes, config = table.times.shapes, table.columns.config
        node = np.array([hardware[s.hardware].accelerators_per_node for s in shapes])[config]
        tp = np.array([s.tp * s.dp for s in shapes])[config]
        kind = np.array([kinds[s.hardware] * 64 + s.pp for s in shapes])[config]
        count = table.columns.instances
        rows, each = [], []
        for held in range(1, int(node.max(initial=1))):
            fits = np.flatnonzero((count % held == 0) & (held * tp < node))
            rows.append(fits)
            each.append(np.full(len(fits), held))
        none = np.zeros(0, np.int64)
        taken, held_by = np.concatenate([none, *rows]), np.concatenate([none, *each])
        found.append(
            table.take(taken).with_extras([(("per_node", int(held)),) for held in held_by])
        )
        units.append(count[taken] // held_by)
        room.append(held_by * tp[taken] / node[taken])
        alike.append(kind[taken])
    return tuple(found), Pairing(tuple(units), tuple(room), tuple(alike))


def paired_ladder(
    starts: Starts, shapes: Sequence[Shape], hardware: Mapping[str, HardwareSpec]
) -> Columns:
    """Coarse ladder of counts that pair up: multiples of a common ladder of numbers of units."""
    most = int(starts.top.max(initial=1))
    ladder = [1]
    while ladder[-1] < most:
        ladder.append(max(ladder[-1] + 1, int(ladder[-1] * GROWTH)))
    units = np.array(ladder)
    rows, counts = [], []
    for row, config in enumerate(starts.config.tolist()):
        shape = shapes[config]
        node = hardware[shape.hardware].accelerators_per_node
        held = np.arange(1, (node - 1) // (shape.tp * shape.dp) + 1)
        several = np.unique(np.outer(held, units))
        several = several[(several >= starts.least[row]) & (several <= starts.top[row])]
        rows.append(np.full(len(several), row))
        counts.append(several)
    index = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    count = np.concatenate(counts) if counts else np.zeros(0, np.int64)
    return Columns.of(starts.config[index], count, starts.max_batch[index])


def check_pairs(
    pools: Sequence[tuple[str, Shape, int]], hardware: Mapping[str, HardwareSpec]
) -> None:
    """Refuse a fleet whose prefill and decode cannot share nodes; raises SpecError.

    pools: stages, shape and instances of each.
    """
    both = [pool for pool in pools if in_pairs(pool[0])]
    if len(both) < 2:
        return
    (_, p, prefill), (_, d, decode) = both
    units = gcd(prefill, decode)
    node = hardware[p.hardware].accelerators_per_node
    taken = prefill // units * p.tp * p.dp + decode // units * d.tp * d.dp
    problem = None
    if p.hardware != d.hardware:
        problem = f"{p.hardware} and {d.hardware} are never in one node"
    elif p.pp != d.pp:
        problem = f"pipelines must be equally long; pp is {p.pp} and {d.pp}"
    elif taken > node:
        problem = (
            f"{prefill} prefill and {decode} decode instances make at most {units} equal "
            f"units of {taken} accelerators a stage; a node has {node}"
        )
    if problem is not None:
        message = f"options.node_affinity: low: {problem}"
        raise SpecError(message)
