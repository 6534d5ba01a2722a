"""Bundles of attention and FFN accelerators as two rows of a plan, and read back from them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pdplan.errors import SpecError
from pdplan.placement import SPLIT_DECODE
from pdplan.plan import MemoryUse, PoolPlan
from pdplan.pools.attention_ffn import asked, halves
from pdplan.pools.demand import Demand
from pdplan.pools.table import PoolTable
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.plan_file import PoolSpec
from pdplan.stages.attention_ffn import message_layers, token_bytes
from pdplan.stages.bundle import FfnSide
from pdplan.stages.machine import Shape
from pdplan.stages.memory import DeviceMemory

if TYPE_CHECKING:
    from pdplan.planner.fleet import Fleets, Member

KEPT = ("routing", "classes", "first_token_from", "whole_nodes")
"""Options of the pool that both rows say."""
STAGES = ("attention", "to_ffn", "ffn", "to_attention")


def half_rows(
    row: PoolPlan,
    member: "Member",
    table: PoolTable,
    demand: Demand,
    hardware: Mapping[str, HardwareSpec],
) -> list[PoolPlan]:
    """Rows of both halves from that of the pool, whose instances are bundles.

    An attention instance is a group that takes requests of its own, an FFN instance one copy of
    that side; utilisation and capacity are the pool's, what each half waits stands in its options.
    """
    shape, side = member.pool.shape, member.pool.shape.ffn
    if side is None:
        return _undivided(row)
    bundles, memory = row.instances, table.times.ffn_memory
    assert memory is not None
    idle, about = _about(demand, table)
    attention = replace(
        row,
        name=row.name.replace("decode", "attention"),
        stages="A",
        instances=shape.dp * bundles,
        dp=1,
        gpus=shape.tp * shape.dp * bundles,
        kv_capacity_tokens=row.kv_capacity_tokens / shape.dp,
        options={k: v for k, v in row.options.items() if k != "moe_tp"} | {"idle_share": idle[0]},
    )
    options = {key: row.options[key] for key in KEPT if key in row.options}
    options |= {"micro_batches": side.micro_batches, "copies": side.copies}
    options |= {"idle_share": idle[1], "halves": about}
    if demand.model.moe is not None:
        options |= {"moe_dtype": side.shape.moe_dtype, "moe_tp": side.shape.moe_tp}
    ffn = replace(
        row,
        name=row.name.replace("decode", "ffn"),
        stages="F",
        hardware=side.shape.hardware,
        instances=side.copies * bundles,
        tp=side.shape.tp,
        ep=side.shape.ep,
        dp=side.shape.dp,
        gpus=side.gpus * bundles,
        max_batch=None,
        weight_dtype=side.shape.weight_dtype,
        kv_capacity_tokens=0.0,
        memory_bytes=_memory(memory),
        options=options,
    )
    prices = {name: price for name, price, _ in member.other_prices}
    prices[shape.hardware] = member.usd_per_gpu_hour
    return [_priced(one, hardware, prices) for one in (attention, ffn)]


def _undivided(row: PoolPlan) -> list[PoolPlan]:
    """Rows of instances that hold both halves: the attention half has no devices of its own."""
    name = row.name.replace("decode", "ffn")
    ffn = replace(row, name=name, stages="F")
    attention = replace(
        row,
        name=row.name.replace("decode", "attention"),
        stages="A",
        gpus=0,
        usd_per_hour=0.0 if row.usd_per_hour is not None else None,
        power_w=0.0 if row.power_w is not None else None,
        options={**row.options, "shares_devices_with": name},
    )
    return [attention, ffn]


def _priced(
    row: PoolPlan, hardware: Mapping[str, HardwareSpec], prices: Mapping[str, float | None]
) -> PoolPlan:
    """Cost and power of a row's own accelerators."""
    price, power = prices.get(row.hardware), hardware[row.hardware].power
    options = {key: value for key, value in row.options.items() if key != "usd_per_gpu_hour"}
    if price is not None:
        options["usd_per_gpu_hour"] = price
    return replace(
        row,
        usd_per_hour=None if price is None else price * row.gpus,
        power_w=None if power is None else power.board * row.gpus,
        options=options,
    )


def _memory(memory: DeviceMemory) -> MemoryUse:
    used = [float(part[0, 0]) for part in (memory.weights, memory.activations, memory.reserve)]
    return MemoryUse(
        weights=used[0],
        kv=0.0,
        activations=used[1],
        reserve=used[2],
        total=sum(used),
        limit=float(memory.limit[0, 0]),
    )


def _about(demand: Demand, table: PoolTable) -> tuple[list[float], dict[str, object]]:
    """Idle share of both sides at the mean batch; stage times of a micro-batch and what binds."""
    b, options = table.times.bundles, asked(demand)
    assert b is not None
    batch = max(float(table.mean_batch[0]), 1.0)
    step = halves(demand, b, sequences=batch, context_tokens=demand.context_tokens)
    total, micro = float(step.total_s[0, 0]), float(step.micro_batches[0, 0])
    stages = {n: float(s[0, 0]) for n, s in zip(STAGES, step.stages_s, strict=True)}
    busy = dict(stages, ffn=stages["ffn"] / float(b.copies[0, 0]))
    waiting = sum(stages.values()) + float(step.host_s[0, 0]) >= total * (1 - 1e-9)
    there, back = (float(size[0, 0]) for size in token_bytes(demand.model, b, options))
    sent = batch * max(there, back)
    idle = [1 - micro * busy[name] / total for name in ("attention", "ffn")]
    return [round(max(share, 0.0), 6) for share in idle], {
        "bound_by": "its own chain of stages" if waiting else max(busy, key=busy.__getitem__),
        "stages_s": stages,
        "host_s": float(step.host_s[0, 0]),
        "step_s": total,
        "messages_a_step": int(2 * message_layers(demand.model, options) * micro),
        "bytes_a_token": {"to_ffn": there, "to_attention": back},
        "network": "scale-up" if bool(b.inside[0]) else "scale-out",
        "network_share": sent / total / float(b.bytes_per_s[0, 0]),
    }


def halved(fleets: "Fleets") -> bool:
    """Whether a pool decodes in two halves, whose energy is not worked out."""
    return any(member.pool.shape.ffn is not None for member in fleets.members)


def halved_label(text: str, shape: Shape, bundles: int) -> str:
    """Counts of both halves' instances in a label.

    >>> from pdplan.stages.machine import Shape
    >>> halved_label("2P3AF", Shape("h20", dp=4, ffn=FfnSide(Shape("h100-sxm"))), 3)
    '2P12A3F'
    """
    if shape.ffn is None:
        return text.replace(f"{bundles}AF", f"{bundles}F")
    return text.replace(f"{bundles}AF", f"{shape.dp * bundles}A{shape.ffn.copies * bundles}F")


def joined_rows(rows: Sequence[tuple[PoolSpec, Shape]]) -> list[tuple[PoolSpec, Shape]]:
    """Pools with the shapes they say, those of both halves of decode as one of bundles.

    Raises SpecError where instances of the halves do not make whole bundles.
    """
    found = {pool.stages: (pool, shape) for pool, shape in rows}
    if "A" not in found:
        return list(rows)
    (a, own), (f, other) = found["A"], found["F"]
    others = [(pool, shape) for pool, shape in rows if pool.stages not in "AF"]
    if a.options.shares_devices_with is not None:
        named = f.name.replace("ffn", "decode")
        return [*others, (f.model_copy(update={"name": named, "stages": SPLIT_DECODE}), other)]
    copies, micro = f.options.copies or 1, f.options.micro_batches or 1
    bundles, left = divmod(f.instances, copies)
    if left or not bundles or a.instances % bundles:
        message = (
            f"pools '{a.name}' and '{f.name}': {a.instances} attention instances and "
            f"{f.instances} FFN instances ({copies} a bundle) do not make whole bundles"
        )
        raise SpecError(message)
    if a.pp > 1 or f.pp > 1:
        message = f"pools '{a.name}' and '{f.name}': halves of decode have no pipeline (pp: 1)"
        raise SpecError(message)
    groups = a.instances // bundles * a.dp
    whole = replace(own, dp=groups, ep=1, moe_tp=1, ffn=FfnSide(other, micro, copies))
    update = {
        "name": a.name.replace("attention", "decode"),
        "stages": SPLIT_DECODE,
        "instances": bundles,
    }
    return [*others, (a.model_copy(update=update), whole)]
