"""A fleet and its prediction written down as a plan."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pdplan.placement import SPLIT_DECODE, Chain
from pdplan.plan import (
    Alternative,
    MemoryUse,
    Objective,
    Plan,
    PoolPlan,
    SolverReport,
    Status,
    Transfer,
)
from pdplan.planner.caveats import caveats
from pdplan.planner.combined import predict_fleets
from pdplan.planner.device_report import device_report
from pdplan.planner.energy import energy_j_per_token
from pdplan.planner.fleet import Fleet, Fleets, Member
from pdplan.planner.groupings import group_options
from pdplan.planner.halves import half_rows, halved
from pdplan.planner.provenance import provenance
from pdplan.pools.demand import Demand
from pdplan.pools.local_prefill import prefills
from pdplan.pools.pruned import of_pool
from pdplan.pools.table import PoolTable
from pdplan.specs.options import Options
from pdplan.stages.device_draft import told
from pdplan.stages.memory import cache_bytes_per_sequence
from pdplan.stages.transfer import Link

POOL_NAMES = {
    "M": "media",
    "E": "encode",
    "P": "prefill",
    "D": "decode",
    "A": "attention",
    "F": "ffn",
}


def pool_name(stages: str) -> str:
    """Plain name of a pool: the stages it runs.

    >>> pool_name("EP")
    'encode+prefill'
    """
    if stages == SPLIT_DECODE:
        return "decode"
    return "+".join(POOL_NAMES[letter] for letter in stages)


def group_name(classes: Sequence[str], stages: str) -> str:
    """Name of a pool that only some classes use.

    >>> group_name(["chat", "code"], "P")
    'chat+code/prefill'
    """
    return f"{'+'.join(classes)}/{pool_name(stages)}"


def describe(
    fleets: Fleets,
    *,
    status: Status,
    objective: Objective,
    binding: Sequence[str] = (),
    alternatives: Sequence[Alternative] = (),
    solver: SolverReport | None = None,
) -> Plan:
    """Predict fleets and write down all there is to say of them."""
    chains = tuple(fleet.chain() for fleet in fleets.groups)
    prediction = predict_fleets(fleets, chains)
    prediction = replace(
        prediction,
        energy_j_per_token=None if halved(fleets) else energy_j_per_token(fleets, chains),
        effective_tokens_per_s_per_gpu=(
            prediction.attainment * prediction.output_tokens_per_s_per_gpu
        ),
    )
    cost, traffic = fleets.usd_per_hour, fleets.demand.traffic
    billed = traffic.mean_rate_rps / traffic.rate_rps
    tokens_per_hour = prediction.output_tokens_per_s_per_gpu * fleets.gpus * billed * 3600
    first = fleets.first
    return Plan(
        status=status,
        placement=fleets.placement,
        system=first.system,
        label=fleets.label,
        objective=objective,
        cost_usd_per_hour=cost,
        usd_per_million_output_tokens=None if cost is None else cost / tokens_per_hour * 1e6,
        gpus=fleets.gpus,
        power_w=fleets.power_w,
        model=first.model_id,
        workload=first.workload,
        engine=first.engine_id,
        pools=tuple(
            row
            for fleet, chain in zip(fleets.groups, chains, strict=True)
            for member, table in zip(fleet.members, chain.tables, strict=True)
            for row in _pools(fleet, member, table)
        ),
        transfers=tuple(
            hop
            for fleet, chain in zip(fleets.groups, chains, strict=True)
            for hop in _transfers(fleet, chain)
        ),
        prediction=prediction,
        binding=tuple(binding),
        alternatives=tuple(alternatives),
        infeasible=None,
        provenance=provenance(fleets),
        warnings=caveats(fleets, chains),
        speculative=told(first.demand.speculation),
        options=_given(first.demand.options),
        solver=solver,
    )


def _given(options: Options) -> dict[str, object] | None:
    """Options as a plan file says them; None where nothing is added to the placement."""
    return options.text() or None


def _pools(fleet: Fleet, member: Member, table: PoolTable) -> list[PoolPlan]:
    """Rows of a pool in the plan: one, or one for each half of decode."""
    row = _pool(fleet, member, table)
    if member.pool.stages != SPLIT_DECODE:
        return [row]
    return half_rows(row, member, table, fleet.demand, fleet.hardware)


def _pool(fleet: Fleet, member: Member, table: PoolTable) -> PoolPlan:
    pool, shape, memory = member.pool, member.pool.shape, table.times.memory
    decodes = "D" in table.stages
    power = fleet.hardware[shape.hardware].power
    paid = member in fleet.paid
    gpus = member.gpus if paid else 0
    options: dict[str, object] = {"routing": member.discipline.routing, **dict(pool.extras)}
    if not paid:
        owner = next(m for m in fleet.paid if fleet.shares_devices(m, member))
        options["shares_devices_with"] = owner.name
    if fleet.apart:
        options["classes"] = list(fleet.classes)
    if prefills(pool.stages, fleet.demand):
        options["chunk_tokens"] = member.chunk_tokens
    if prefills(pool.stages, fleet.demand) and decodes:
        options["scheduler"] = member.discipline.scheduler
    local = fleet.demand.options.local_prefill
    if fleet.demand.turns is not None and local is not None and decodes:
        options["local_prefill"] = local.share
    together = member.discipline.together(pool.stages, pool.instances)
    if together > 1:
        options["parallel_encode"] = together
    if fleet.model.moe is not None and pool.stages != "E":
        options |= {"moe_dtype": shape.moe_dtype, "moe_tp": shape.moe_tp}
    if fleet.first_token_from != "decode":
        options["first_token_from"] = fleet.first_token_from
    if fleet.whole_nodes:
        options["whole_nodes"] = True
    if member.usd_per_gpu_hour is not None:
        options["usd_per_gpu_hour"] = member.usd_per_gpu_hour
    options |= group_options(fleet, table)
    options |= device_report(fleet.demand, table)
    cache = float(memory.cache[0, 0])
    used = [float(part[0, 0]) for part in (memory.weights, memory.activations, memory.reserve)]
    return PoolPlan(
        name=member.name,
        stages=pool.stages,
        hardware=shape.hardware,
        instances=pool.instances,
        tp=shape.tp,
        pp=shape.pp,
        ep=shape.ep,
        dp=shape.dp,
        gpus=gpus,
        max_batch=pool.max_batch if decodes else None,
        weight_dtype=shape.weight_dtype,
        kv_dtype=shape.kv_dtype,
        utilization=float(table.utilization[0]),
        capacity_rps=float(table.capacity_rps[0]),
        kv_capacity_tokens=kv_capacity_tokens(fleet.demand, table),
        memory_bytes=MemoryUse(
            weights=used[0],
            kv=cache if pool.stages not in ("E", "M") else 0.0,
            activations=used[1],
            reserve=used[2],
            total=sum(used) + (cache if pool.stages not in ("E", "M") else 0.0),
            limit=float(memory.limit[0, 0]),
        ),
        usd_per_hour=member.usd_per_hour if paid else 0.0,
        power_w=None if power is None else power.board * gpus,
        mean_batch=float(table.mean_batch[0]) if decodes else None,
        options=options,
    )


def kv_capacity_tokens(demand: Demand, table: PoolTable) -> float:
    """Tokens whose cache fits in one instance, at the context the workload keeps there.

    Where some layers see only a window, the bytes a token takes depend on the context.
    """
    if table.stages in ("E", "M"):
        return 0.0
    mean = float(demand.mean(demand.prompt_tokens))
    context = demand.context_tokens if "D" in table.stages else mean
    m = table.times.machines
    model = of_pool(demand, table.stages).model
    one = cache_bytes_per_sequence(model, m, context, demand.cross_tokens)
    cache = np.maximum(table.times.memory.cache, 0.0)
    return float((m.dp * cache / one * context)[0, 0])


def _transfers(fleet: Fleet, chain: Chain) -> tuple[Transfer, ...]:
    choice = np.zeros((1, len(chain.placement.devices)), np.int64)
    found = []
    for source, target, link, size in (
        ("E", "P", chain.embedding_link(choice), fleet.demand.embedding_bytes()),
        ("P", "D", chain.kv_link(choice), chain.kv_bytes(choice)[0]),
        ("D", "P", chain.history_link(choice), chain.history_bytes(choice)[0]),
    ):
        if link is not None:
            found.append(_transfer(fleet, chain, source, target, link, size))
    return tuple(found)


def _transfer(
    fleet: Fleet, chain: Chain, source: str, target: str, link: Link, size: np.ndarray
) -> Transfer:
    demand = fleet.demand
    (i, sender), (j, receiver) = chain.table(source), chain.table(target)
    mean_bytes = float(demand.mean(size))
    moving = float(demand.mean(link.moving_s(size)[0]))
    sent = demand.turns is None or size > 0
    exposed = float(demand.mean(link.exposed_s(size)[0] * sent))
    latency = float(link.latency_s[0, 0])
    if demand.turns is not None:
        latency *= float(demand.weight() @ (size > 0))
    ends = [
        float(table.network(np.zeros(1, np.int64))[0][0]) * float(table.columns.instances[0])
        for table in (sender, receiver)
    ]
    used = demand.rate_rps * mean_bytes / max(min(ends), 1e-9)
    if source == "P" and demand.options.kv_transfer is not None:
        senders, receivers = (float(t.columns.instances[0]) for t in (sender, receiver))
        used = demand.rate_rps * float(demand.mean(link.occupied_s(size)[0])) * max(
            float(link.sender_share[0, 0]) / senders, float(link.receiver_share[0, 0]) / receivers
        )  # fmt: skip
    return Transfer(
        source=fleet.members[i].name,
        target=fleet.members[j].name,
        bytes_per_request=mean_bytes,
        seconds=moving,
        hidden_seconds=max(moving + latency - exposed, 0.0),
        link_utilization=used,
    )
