"""A plan as blocks: what is pasted into a design review."""

import math
from collections.abc import Iterator

from pdplan.plan import Plan, PoolPlan, Prediction, Spread, Target
from pdplan.report.additions import additions
from pdplan.report.blocks import Block, Cell, Grid, Lines
from pdplan.report.headline import headline, objective_words
from pdplan.report.numbers import duration, percent
from pdplan.report.reasons import alternatives, provenance

_TERMS = {
    "encode_wait": "encode wait",
    "encode": "encode",
    "embed_transfer": "embedding transfer",
    "prefill_wait": "prefill wait",
    "prefill": "prefill",
    "kv_transfer": "KV transfer",
    "decode_wait": "decode wait",
    "access": "users' network",
}
_METRICS = ("TTFT", "TPOT", "ITL", "E2E")


def plan_blocks(plan: Plan) -> tuple[Block, ...]:
    """Everything that there is to say of a plan, most wanted first."""
    return tuple(_blocks(plan))


def _blocks(plan: Plan) -> Iterator[Block]:
    yield Lines(headline(plan))
    if plan.infeasible is not None:
        yield _why_not(plan)
    if plan.pools:
        yield fleet(plan)
    added = additions(plan)
    if added is not None:
        yield added
    if plan.prediction is not None:
        yield latency(plan.prediction)
        yield Lines((_terms(plan.prediction),), "Where the first token's time goes")
    if plan.transfers:
        yield _transfers(plan)
    if plan.prediction is not None:
        yield _totals(plan, plan.prediction)
    if plan.binding:
        yield Lines(tuple(plan.binding), "What binds")
    if plan.warnings:
        yield Lines(tuple(plan.warnings), "Where to be careful")
    if plan.alternatives:
        yield alternatives(plan)
    if plan.provenance:
        yield provenance(plan)


def _why_not(plan: Plan) -> Lines:
    assert plan.infeasible is not None
    found = plan.infeasible
    parts = (
        ("reason", found.reason),
        ("limit", found.limit),
        ("nearest miss", found.nearest),
        ("would help", found.relaxation),
    )
    return Lines(tuple(f"{name}: {text}" for name, text in parts if text), "Why not")


def shape(pool: PoolPlan) -> str:
    """Write the parallelism of an instance, leaving out what is one.

    An expert parallelism that spans just the instance's own GPUs is said all the same.
    """
    sizes = (("tp", pool.tp), ("pp", pool.pp), ("ep", pool.ep), ("dp", pool.dp))
    return " ".join(f"{name}{n}" for name, n in sizes if n > 1 or name == "tp")


def fleet(plan: Plan) -> Grid:
    """One row a pool."""
    return Grid(
        title="Fleet",
        columns=(
            *("pool", "instances", "hardware", "gpus", "usd_per_hour", "weights/kv", "batch"),
            *("utilization", "capacity_rps", "kv_capacity_tokens"),
        ),
        rows=tuple(
            (
                pool.name if pool.name == pool.stages else f"{pool.name} ({pool.stages})",
                f"{pool.instances} x {shape(pool)}",
                pool.hardware,
                pool.gpus,
                pool.usd_per_hour,
                f"{pool.weight_dtype}/{pool.kv_dtype}",
                pool.max_batch,
                pool.utilization,
                pool.capacity_rps,
                pool.kv_capacity_tokens if set(pool.stages) & set("PDA") else None,
            )
            for pool in plan.pools
        ),
    )


def latency(prediction: Prediction) -> Grid:
    """Percentiles beside the objectives, all requests first."""
    rows: list[tuple[Cell, ...]] = []
    several = len(prediction.classes) > 1
    kinds: list[tuple[str, tuple[Spread, ...], tuple[Target, ...]]] = [
        (
            "all" if several else "",
            (prediction.ttft_s, prediction.tpot_s, prediction.itl_s, prediction.e2e_s),
            () if several else prediction.targets,
        )
    ]
    if several:
        kinds += [
            (
                kind.name,
                (kind.ttft_s, kind.tpot_s, kind.itl_s, kind.e2e_s),
                tuple(t for t in prediction.targets if t.request_class == kind.name),
            )
            for kind in prediction.classes
        ]
    for name, spreads, targets in kinds:
        for metric, spread in zip(_METRICS, spreads, strict=True):
            mine = [target for target in targets if target.metric.upper() == metric]
            if metric in ("ITL", "E2E") and several and name != "all":
                continue
            first = f"{name} {metric}".strip()
            rows.append((first, *_spread(spread), "; ".join(_verdict(t) for t in mine)))
    turns = (("TTFT turn 1", prediction.ttft_first_s), ("TTFT turns 2+", prediction.ttft_later_s))
    rows += [(name, *_spread(spread), "") for name, spread in turns if spread is not None]
    columns = ("latency", "mean_s", "p50_s", "p90_s", "p95_s", "p99_s", "objective")
    return Grid(columns, tuple(rows), title="Predicted latency")


def _spread(spread: Spread) -> tuple[float, ...]:
    return (spread.mean, spread.p50, spread.p90, spread.p95, spread.p99)


def _verdict(target: Target) -> str:
    words = objective_words(target).partition(" ")[2]
    return f"{words} {'met' if target.met else 'MISSED'}"


def _terms(prediction: Prediction) -> str:
    terms = prediction.ttft_terms_s
    found = {key: float(getattr(terms, key)) for key in _TERMS}
    total = sum(found.values())
    if not math.isfinite(total):
        endless = [_TERMS[key] for key, value in found.items() if not math.isfinite(value)]
        return f"overloaded, no steady state: endless {', '.join(endless)}"
    parts = [
        f"{_TERMS[key]} {duration(value)} ({percent(value / total)})"
        for key, value in found.items()
        if value >= 5e-4 * total > 0
    ]
    return f"mean {duration(total)} = {' + '.join(parts)}" if parts else duration(total)


def _transfers(plan: Plan) -> Grid:
    return Grid(
        title="Transfers",
        columns=("hop", "bytes_per_request", "wire_s", "hidden_s", "link_utilization"),
        rows=tuple(
            (
                f"{hop.source} -> {hop.target}",
                hop.bytes_per_request,
                hop.seconds,
                hop.hidden_seconds,
                hop.link_utilization,
            )
            for hop in plan.transfers
        ),
    )


def _totals(plan: Plan, prediction: Prediction) -> Grid:
    energy = prediction.energy_j_per_token
    return Grid(
        title="Totals",
        columns=(
            *("usd_per_hour", "gpus", "power_w", "usd_per_million_output_tokens"),
            *("output_tokens_per_s_per_gpu", "attainment", "goodput_rps"),
            *(() if energy is None else ("energy_j_per_token",)),
        ),
        rows=(
            (
                *(plan.cost_usd_per_hour, plan.gpus, plan.power_w),
                *(plan.usd_per_million_output_tokens, prediction.output_tokens_per_s_per_gpu),
                *(prediction.attainment, prediction.goodput_rps),
                *(() if energy is None else (energy,)),
            ),
        ),
    )
