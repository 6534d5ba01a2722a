"""Processes on the same devices as a plan gives them: their devices, batch and tables."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pdplan.errors import SpecError, UnfitError
from pdplan.physics.roofline import Floats
from pdplan.planner.context import Tables
from pdplan.planner.shared_candidates import fits, with_room
from pdplan.pools.shared import HOST, OPTION, Shared, shared, shared_tables_of
from pdplan.pools.table import Columns
from pdplan.pools.times import stage_times
from pdplan.specs.options.sharing import Sharing

if TYPE_CHECKING:
    from pdplan.planner.fleet import Fleet, Member


def shared_members(fleet: "Fleet", members: tuple["Member", ...]) -> Tables:
    """One column of given processes on the same devices under load."""
    on = given(fleet, members)
    first = members[0].pool
    batch = max(m.pool.max_batch for m in members)
    columns = Columns.of([0], [first.instances], [batch])
    return shared_tables_of(on, columns, fleet.demand, members[0].discipline)


def given(fleet: "Fleet", members: tuple["Member", ...]) -> Shared:
    """Processes as a plan says them; raises SpecError where their shares do not fit together."""
    sharing = fleet.demand.options.sharing or Sharing()
    most = fleet.engine.defaults.max_batch
    times = [
        stage_times(
            m.pool.stages,
            [members[0].pool.shape],
            dict(fleet.hardware),
            fleet.engine,
            fleet.demand,
            largest_batch=max(m.pool.max_batch, most),
            chunk_tokens=m.chunk_tokens,
        )
        for m in members
    ]
    return shared(times, _given_shares(members, sharing), sharing, fleet.demand)


def together(members: tuple["Member", ...]) -> tuple["Member", ...]:
    """Processes as the devices that they share are built: an encoder takes the others' shape.

    Raises SpecError where they cannot be on the same devices.
    """
    built = next((m for m in members if m.pool.stages not in ("E", HOST)), members[0])
    found = []
    for member in members:
        pool = member.pool
        same = (pool.shape.hardware, pool.shape.tp) == (
            built.pool.shape.hardware,
            built.pool.shape.tp,
        )
        if pool.stages in ("E", HOST) and same:
            pool = replace(pool, shape=built.pool.shape)
        if pool.shape != built.pool.shape or pool.instances != built.pool.instances:
            what = "instances" if pool.shape == built.pool.shape else "hardware and parallelism"
            message = (
                f"pool '{member.name}': must have the {what} of '{built.name}', "
                "whose devices it shares"
            )
            raise SpecError(message)
        found.append(replace(member, pool=pool))
    return tuple(found)


def limited(fleet: "Fleet", members: tuple["Member", ...]) -> tuple["Member", ...]:
    """Limit the batch to what fits into the one cache; raises UnfitError where nothing does."""
    on, most = given(fleet, members), fleet.engine.defaults.max_batch
    first = members[0].pool
    if not fits(on).all():
        names, memory = " and ".join(f"'{m.name}'" for m in members), on.decoder.memory
        needed = float((memory.weights + memory.activations + memory.reserve)[0, 0])
        message = (
            f"pools {names}: do not fit together on {first.shape.hardware} tp={first.shape.tp}: "
            f"{needed / 1e9:.1f} GB needed before any cache, "
            f"{float(memory.limit[0, 0]) / 1e9:.1f} GB usable"
        )
        raise UnfitError(message)
    if not any("D" in times.stages for times in on.processes):
        return tuple(replace(m, pool=replace(m.pool, max_batch=1)) for m in members)
    asked = max((m.pool.max_batch for m in members if "D" in m.pool.stages), default=0) or most
    room = int(np.clip(np.floor(on.decoder.resident[0]), 1, asked))
    columns, _ = with_room(on, Columns.of([0], [first.instances], [room]), fleet.demand)
    batch = int(min(columns.max_batch[0], on.decoder.step_s.shape[1]))
    return tuple(replace(m, pool=replace(m.pool, max_batch=batch)) for m in members)


def _given_shares(members: tuple["Member", ...], sharing: Sharing) -> Floats:
    """Compute shares [1, processes] that pools or options say; 1 for each where none does."""
    own = [dict(m.pool.extras).get(OPTION) or sharing.share_of(m.pool.stages) for m in members]
    workers = [i for i, m in enumerate(members) if m.pool.stages != HOST]
    told = [i for i in workers if own[i] is not None]
    total = sum(float(own[i] or 0.0) for i in workers)
    whole = all(own[i] == 1 for i in told)
    if told and (len(told) < len(workers) or (total > 1 + 1e-6 and not whole)):
        found = ", ".join(f"{members[i].name}: {own[i]}" for i in workers)
        message = (
            f"{OPTION}: processes on the same devices need one each, at most 1 together "
            f"(or 1 each: uncontrolled); got {found}"
        )
        raise SpecError(message)
    return np.array([[float(share or 1.0) for share in own]])
