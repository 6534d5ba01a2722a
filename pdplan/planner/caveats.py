"""Where a plan's closed forms are known to be less accurate, and what they leave out."""

from collections.abc import Iterator, Sequence

from pdplan.placement import Chain
from pdplan.planner.device_report import device_caveats
from pdplan.planner.fleet import Fleet, Fleets, Member
from pdplan.planner.groupings import timeouts
from pdplan.planner.hop_caveats import hop_caveats
from pdplan.planner.measured_notes import measured_notes
from pdplan.pools.confidence import queueing_confidence
from pdplan.pools.demand import Demand
from pdplan.pools.preemption import WORTH_SAYING, preemptions
from pdplan.pools.table import PoolTable

BUSY = 0.9
"""Utilisation above which a pool's waits are told less well (docs/VALIDATION.md, by load)."""

LONG_PROMPTS = 0.02
"""Device time of a prompt over that of its answer above which TPOT in the same process is told
less well (docs/VALIDATION.md, lengths `prompts`)."""


def caveats(fleets: Fleets, chains: Sequence[Chain]) -> tuple[str, ...]:
    """Warnings of all pools, each with its name; none where everything is in its usual range."""
    found = []
    for fleet, chain in zip(fleets.groups, chains, strict=True):
        for member, table in zip(fleet.members, chain.tables, strict=True):
            found += [f"{member.name}: {text}" for text in _pool(member, table, fleet.demand)]
        found += [f"{_group(fleet)}{text}" for text in timeouts(fleet, chain)]
        found += measured_notes(fleet)
        found += [f"{_group(fleet)}{text}" for text in hop_caveats(fleet, chain)]
    return tuple(dict.fromkeys(found))


def _group(fleet: Fleet) -> str:
    """Classes whose fleet it is, where others have others."""
    return f"{'+'.join(fleet.classes)}: " if fleet.apart else ""


def _pool(member: Member, table: PoolTable, demand: Demand) -> Iterator[str]:
    if not table.stable[0]:
        return
    if "D" not in table.stages:
        yield from queueing_confidence(table, demand, member.discipline)
        return
    load = float(table.utilization[0])
    if load > BUSY:
        yield (
            f"{load:.0%} of capacity, where latencies follow the rate steeply; check with simulate"
        )
    if "P" in table.stages and _prompt_share(table, demand) > LONG_PROMPTS:
        yield "prompts are long beside their answers: TPOT percentiles within about 30 %"
    if "P" in table.stages and demand.traffic.dispersion_s > 0:
        yield "bursts: mean TTFT within about 30 %"
    yield from device_caveats(demand)
    lost = float(preemptions(table, demand)[0])
    if lost > WORTH_SAYING:
        yield (
            f"{lost:.1%} of requests lose their cache to running ones and compute it again, which "
            "is not in the latencies; lower max_batch"
        )


def _prompt_share(table: PoolTable, demand: Demand) -> float:
    """Device time that a prompt adds to running steps, over the time its answer takes."""
    config = int(table.columns.config[0])
    work = float(demand.mean(table.times.marginal_s[config]))
    answer = float(table.tpot_mean_s[0]) * demand.tokens_per_step * demand.decode_steps
    return work / answer if answer > 0 else 0.0
