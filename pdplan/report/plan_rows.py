"""A plan as CSV: one row a pool and one row of totals."""

import hashlib
import json

from pdplan.plan import Plan, PoolPlan, Spread

_LEVELS = ("p50", "p90", "p99")

PLAN_COLUMNS = (
    *("plan_id", "placement", "pool", "stages", "hardware", "instances", "tp", "pp", "ep", "dp"),
    *("gpus", "usd_per_hour", "utilization", "capacity_rps"),
    *(f"ttft_{level}_s" for level in _LEVELS),
    *(f"tpot_{level}_s" for level in _LEVELS),
    *(f"e2e_{level}_s" for level in _LEVELS),
    *("ttft_mean_s", "ttft_p95_s", "tpot_mean_s", "tpot_p95_s", "e2e_mean_s", "e2e_p95_s"),
    *("rate_rps", "goodput_rps", "attainment", "output_tokens_per_s_per_gpu"),
    *("usd_per_million_output_tokens", "power_w", "max_batch", "mean_batch"),
    *("weight_dtype", "kv_dtype", "kv_capacity_tokens"),
    *("memory_weights_bytes", "memory_kv_bytes", "memory_total_bytes", "memory_limit_bytes"),
    *("itl_mean_s", "itl_p50_s", "itl_p90_s", "itl_p95_s", "itl_p99_s"),
    *("status", "label", "system", "model", "engine", "workload", "objective_name"),
    *("objective_value", "objective_bound", "objective_gap", "reason"),
)
"""Columns of the report; the first twenty are a contract in this order."""


def plan_id(plan: Plan) -> str:
    """Name the plan's choices: the same fleet for the same model has the same id."""
    pools = [
        {name: getattr(pool, name) for name in _CHOICES}
        | {"options": {str(k): str(v) for k, v in sorted(pool.options.items())}}
        for pool in plan.pools
    ]
    chosen = [plan.placement, plan.system, plan.model, plan.engine, pools]
    text = json.dumps(chosen, sort_keys=True, default=str)
    return "p" + hashlib.sha256(text.encode()).hexdigest()[:10]


_CHOICES = (
    *("name", "stages", "hardware", "instances", "tp", "pp", "ep", "dp", "max_batch"),
    *("weight_dtype", "kv_dtype"),
)


def plan_rows(plan: Plan) -> list[dict[str, object]]:
    """Rows of `PLAN_COLUMNS`; latencies belong to the fleet and stand in its row only."""
    common: dict[str, object] = {
        "plan_id": plan_id(plan),
        "placement": plan.placement,
        "status": plan.status,
        "label": plan.label,
        "system": plan.system,
        "model": plan.model,
        "engine": plan.engine,
        "workload": plan.workload.get("name"),
    }
    return [common | _pool(pool) for pool in plan.pools] + [common | _total(plan)]


def _pool(pool: PoolPlan) -> dict[str, object]:
    names = (
        *("stages", "hardware", "instances", "tp", "pp", "ep", "dp", "gpus", "usd_per_hour"),
        *("utilization", "capacity_rps", "max_batch", "mean_batch", "power_w"),
        *("weight_dtype", "kv_dtype", "kv_capacity_tokens"),
    )
    use = pool.memory_bytes
    memory = {"weights": use.weights, "kv": use.kv, "total": use.total, "limit": use.limit}
    return (
        {"pool": pool.name}
        | {name: getattr(pool, name) for name in names}
        | {f"memory_{name}_bytes": value for name, value in memory.items()}
    )


def _total(plan: Plan) -> dict[str, object]:
    row: dict[str, object] = {
        "pool": "total",
        "gpus": plan.gpus,
        "usd_per_hour": plan.cost_usd_per_hour,
        "usd_per_million_output_tokens": plan.usd_per_million_output_tokens,
        "power_w": plan.power_w,
        "objective_name": plan.objective.name,
        "objective_value": plan.objective.value,
        "objective_bound": plan.objective.bound,
        "objective_gap": plan.objective.gap,
        "reason": plan.infeasible.reason if plan.infeasible else None,
    }
    if plan.pools:
        row["instances"] = sum(pool.instances for pool in plan.pools)
        row["utilization"] = max(pool.utilization for pool in plan.pools)
        row["capacity_rps"] = min(pool.capacity_rps for pool in plan.pools)
    return row | prediction_cells(plan)


def prediction_cells(plan: Plan) -> dict[str, object]:
    """Cells that follow from the prediction; none where there is none."""
    found = plan.prediction
    if found is None:
        return {}
    spreads = {
        "ttft": found.ttft_s, "tpot": found.tpot_s, "itl": found.itl_s, "e2e": found.e2e_s,
    }  # fmt: skip
    return {
        "rate_rps": found.rate_rps,
        "goodput_rps": found.goodput_rps,
        "attainment": found.attainment,
        "output_tokens_per_s_per_gpu": found.output_tokens_per_s_per_gpu,
    } | {
        f"{name}_{level}_s": getattr(spread, level)
        for name, spread in spreads.items()
        for level in Spread.__dataclass_fields__
    }
