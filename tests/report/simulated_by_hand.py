"""Simulations made by hand: what a plan predicts, off by a factor, with an interval around it."""

from pdplan.simulation.result import (
    ClassRun,
    Estimate,
    Latency,
    LinkRun,
    PoolRun,
    RequestRow,
    Simulation,
)


def estimate(value, width=0.02):
    return Estimate(value, value * (1 - width), value * (1 + width))


def latency(spread, factor=1.0, width=0.02):
    names = ("mean", "p50", "p90", "p95", "p99")
    return Latency(*(estimate(getattr(spread, name) * factor, width) for name in names))


def simulated(plan, *, ttft=1.0, tpot=1.0, complete=True, seed=1, classes=None, width=0.02):
    """A run in which TTFT, TPOT (and ITL) are what the plan predicts times a factor."""
    said = plan.prediction
    kinds = classes if classes is not None else said.classes
    return Simulation(
        requests=18_000 if complete else 3_000,
        warmup=2_000,
        complete=complete,
        seed=seed,
        span_s=3_000.0,
        rate_rps=said.rate_rps,
        goodput_rps=said.goodput_rps,
        output_tokens_per_s_per_gpu=said.output_tokens_per_s_per_gpu,
        attainment=Estimate(0.97, 0.96, 0.98),
        ttft_s=latency(said.ttft_s, ttft, width),
        tpot_s=latency(said.tpot_s, tpot, width),
        itl_s=latency(said.itl_s, tpot, width),
        e2e_s=latency(said.e2e_s, 1.0, width),
        classes=tuple(
            ClassRun(
                kind.name,
                9_000,
                Estimate(0.97, 0.96, 0.98),
                latency(kind.ttft_s, ttft, width),
                latency(kind.tpot_s, tpot, width),
                latency(kind.e2e_s, 1.0, width),
            )
            for kind in kinds
        ),
        pools=tuple(PoolRun(pool.name, 0.8, 20.0, 0, 0.4) for pool in plan.pools),
        links=tuple(LinkRun(hop.source, hop.target, 0.06, 0.0002) for hop in plan.transfers),
        events=1_000_000,
    )


def off_by(plan, changes):
    """A run of `simulated`; `over_ttft` and `over_tpot` are the latency over its objective."""
    changes = dict(changes)
    for metric in ("ttft", "tpot"):
        over = changes.pop(f"over_{metric}", None)
        if over is not None:
            target = next(t for t in plan.prediction.targets if t.metric == metric)
            changes[metric] = over * target.objective_s / target.predicted_s
    return simulated(plan, **changes)


def row(i, *, name="chat", tpot_s=0.03):
    return RequestRow(
        request=i,
        request_class=name,
        arrival_s=0.1 * i,
        prompt_tokens=1500.0,
        cached_tokens=0.0,
        output_tokens=250,
        images=0,
        ttft_s=0.31,
        tpot_s=tpot_s,
        e2e_s=7.8,
        encode_wait_s=0.0,
        encode_s=0.0,
        prefill_wait_s=0.15,
        prefill_s=0.2,
        transfer_s=0.02,
        decode_wait_s=0.0,
        preemptions=0,
    )
