"""A plan made by hand, with numbers that a planner could have found."""

from dataclasses import replace

from pdplan.plan import (
    Alternative,
    Infeasible,
    MemoryUse,
    Objective,
    Plan,
    PoolPlan,
    Prediction,
    Provenance,
    SolverReport,
    Spread,
    Target,
    Transfer,
    TtftTerms,
)

MEMORY = MemoryUse(35.3e9, 38e9, 0.3e9, 3.4e9, 77e9, 77e9)
PREFILL = PoolPlan(
    name="prefill", stages="P", hardware="h100-sxm", instances=3, tp=4, pp=1, ep=1, dp=1, gpus=12,
    max_batch=None, weight_dtype="bf16", kv_dtype="bf16", utilization=0.71, capacity_rps=8.45,
    kv_capacity_tokens=479_000.5, memory_bytes=MEMORY, usd_per_hour=35.88, power_w=8400.0,
    mean_batch=None, options={"routing": "least_loaded"},
)  # fmt: skip
DECODE = replace(
    PREFILL, name="decode", stages="D", instances=2, gpus=8, max_batch=256, utilization=0.62,
    capacity_rps=9.7, usd_per_hour=23.92, power_w=5600.0, mean_batch=40.5,
)  # fmt: skip
PREDICTION = Prediction(
    rate_rps=6.0, goodput_rps=5.9, attainment=0.9833, output_tokens_per_s_per_gpu=75.0,
    ttft_s=Spread(0.31, 0.27, 0.62, 0.71, 0.9996), tpot_s=Spread(0.028, 0.0279, 0.031, 0.033, 0.04),
    itl_s=Spread(0.028, 0.027, 0.034, 0.037, 0.046), e2e_s=Spread(7.3, 6.2, 14.1, 18.0, 31.5),
    ttft_terms_s=TtftTerms(prefill_wait=0.09, prefill=0.2, kv_transfer=0.02),
    targets=(Target("all", "ttft", 90, 0.8, 0.62), Target("all", "tpot", 90, 0.03, 0.031)),
)  # fmt: skip
PLAN = Plan(
    status="optimal", placement="P-D", system=None, label="3P2D",
    objective=Objective("cost", 59.8, 59.8, 0.0), cost_usd_per_hour=59.8,
    usd_per_million_output_tokens=11.07, gpus=20, power_w=14000.0, model="llama-3.1-70b",
    workload={"name": "chat", "rate": "6 req/s", "isl": {"lognormal": {"mean": 1500.0, "cv": 1.0}},
              "osl": {"fixed": 250.0}},
    engine="vllm", pools=(PREFILL, DECODE),
    transfers=(Transfer("prefill", "decode", 491.5e6, 0.0071, 0.0, 0.052),), prediction=PREDICTION,
    binding=("decode: with 1 instance TPOT p90 would be 55 ms",),
    alternatives=(
        Alternative("PD", "3PD", 71.76, 24, 71.76),
        Alternative("EPD", reason="no request carries media: the same as PD"),
    ),
    infeasible=None,
    provenance=(
        Provenance("h100-sxm: peak compute", "datasheet", "NVIDIA H100 datasheet"),
        Provenance("h100-sxm: efficiency", "transferred", "fitted on h200 " + "and more " * 20),
    ),
    solver=SolverReport("HiGHS", "optimal", 0.42, 1234, 3),
)  # fmt: skip
NO_PLAN = replace(
    PLAN, status="infeasible", label="", objective=Objective("cost", None, None, None), gpus=0,
    cost_usd_per_hour=None, usd_per_million_output_tokens=None, power_w=None, pools=(),
    transfers=(), prediction=None, binding=(), provenance=(),
    alternatives=(Alternative("PD", reason="TPOT 61 ms at best, objective 50 ms"),),
    infeasible=Infeasible("no placement meets TPOT", "tpot", "PD: 61 ms", "tpot of 61 ms"),
)  # fmt: skip
FOUND = (
    Alternative("PD", "3PD", 71.76, 24, 71.76),
    Alternative("P-D", "3P2D", 59.8, 20, 59.8, None, PLAN),
    Alternative("EPD", reason="no request carries media"),
)
