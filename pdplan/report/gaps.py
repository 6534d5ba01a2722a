"""Closed form against simulation: every difference, the largest one, and what stands behind it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pdplan.plan import Plan, PoolPlan, Spread
from pdplan.report.measured import signed
from pdplan.report.numbers import duration, percent, show, significant
from pdplan.simulation.result import Estimate, Latency, PoolRun, Simulation

STATISTICS = ("mean", "p50", "p90", "p95", "p99")
BUSY = 0.9
"""Load from which a pool is said to be close to its limit."""
FULL = 0.98
"""Share of the cache, and of the batch limit, from which it is said to be full."""
NOTABLE = 0.1
"""Share of the gap of TTFT's mean from which a part of it is named."""
STAYS = 5
"""Mean stays that a run has to last before its fleet counts as filled."""

Unit = Literal["s", "rps", "share"]


@dataclass(frozen=True, slots=True)
class Gap:
    """One number of the closed form beside the simulation's; None where there is none."""

    part: Literal["fleet", "class"]
    name: str
    """Of the class; empty for the fleet."""
    metric: str
    statistic: str
    unit: Unit
    closed_form: float | None
    simulation: float | None
    low: float | None = None
    high: float | None = None

    @property
    def gap(self) -> float | None:
        """Closed form over simulation, less one; of shares their difference."""
        if self.closed_form is None or self.simulation is None:
            return None
        if self.unit == "share":
            return self.closed_form - self.simulation
        return self.closed_form / self.simulation - 1 if self.simulation else None

    @property
    def outside(self) -> bool | None:
        """Whether the closed form lies outside the simulation's 95 % interval."""
        if self.closed_form is None or self.low is None or self.high is None:
            return None
        return not self.low <= self.closed_form <= self.high

    @property
    def label(self) -> str:
        """What it is: `TTFT p90`, `chat TPOT mean`, `attainment`."""
        known = self.metric.upper() if self.unit == "s" else self.metric
        return " ".join(word for word in (self.name, known, self.statistic) if word)


def gaps(plan: Plan, run: Simulation) -> tuple[Gap, ...]:
    """Every latency, attainment and goodput, of the fleet and of each of several classes."""
    assert plan.prediction is not None
    return tuple(_gaps(plan, run))


def _gaps(plan: Plan, run: Simulation) -> Iterator[Gap]:
    said = plan.prediction
    assert said is not None
    for metric in ("ttft", "tpot", "itl", "e2e"):
        spread, latency = getattr(said, f"{metric}_s"), getattr(run, f"{metric}_s")
        yield from _latency("", metric, spread, latency)
    yield _share("", said.attainment, run.attainment)
    yield Gap("fleet", "", "goodput", "", "rps", finite(said.goodput_rps), finite(run.goodput_rps))
    if len(said.classes) < 2:
        return
    predicted = {kind.name: kind for kind in said.classes}
    for seen in run.classes:
        kind = predicted[seen.name]
        for metric in ("ttft", "tpot", "e2e"):
            spread, latency = getattr(kind, f"{metric}_s"), getattr(seen, f"{metric}_s")
            yield from _latency(kind.name, metric, spread, latency)
        yield _share(kind.name, kind.attainment, seen.attainment)


def _latency(name: str, metric: str, spread: Spread, latency: Latency) -> Iterator[Gap]:
    for statistic in STATISTICS:
        estimate: Estimate = getattr(latency, statistic)
        said = finite(getattr(spread, statistic))
        part: Literal["fleet", "class"] = "class" if name else "fleet"
        yield Gap(part, name, metric, statistic, "s", said, *_three(estimate))


def _share(name: str, said: float, estimate: Estimate) -> Gap:
    part: Literal["fleet", "class"] = "class" if name else "fleet"
    return Gap(part, name, "attainment", "", "share", finite(said), *_three(estimate))


def _three(estimate: Estimate) -> tuple[float | None, float | None, float | None]:
    return finite(estimate.value), finite(estimate.low), finite(estimate.high)


def finite(value: float | None) -> float | None:
    """Leave out what is endless or no number."""
    return value if value is not None and math.isfinite(value) else None


def steady(plan: Plan) -> bool:
    """Whether the closed form has a steady state: no queue that grows without end."""
    return plan.prediction is not None and math.isfinite(plan.prediction.e2e_s.mean)


def largest(found: Sequence[Gap]) -> Gap | None:
    """The latency with the largest gap: of those outside their intervals, if there are any."""
    known = [gap for gap in found if gap.unit == "s" and gap.gap is not None]
    return max(known, key=lambda gap: (bool(gap.outside), abs(gap.gap or 0.0)), default=None)


def findings(
    plan: Plan,
    run: Simulation,
    found: Sequence[Gap],
    parts_s: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """Name the largest gap and what the numbers say of its origin.

    `parts_s` are means over the simulated requests of what makes up their time to first token,
    named as the closed form's terms, both transfers as `transfer`.
    """
    if not steady(plan):
        return (_growing(plan, run), *_reasons(plan, run, "e2e"))
    worst = largest(found)
    if worst is None:
        return ()
    told = (_naming(worst, found), *_filling(run))
    return (*told, *_origins(plan, run, worst.metric, parts_s))


def _filling(run: Simulation) -> Iterator[str]:
    """Say where the counted requests came in less time than a few of them stay."""
    stay = run.e2e_s.mean.value
    if run.seed is not None and run.span_s < STAYS * stay:
        yield (
            f"The counted requests came within {duration(run.span_s)}, and one stays "
            f"{duration(stay)}: the fleet was still filling. Ask for more --requests."
        )


def _growing(plan: Plan, run: Simulation) -> str:
    assert plan.prediction is not None
    full = [pool for pool in plan.pools if pool.utilization >= 1]
    most = ", ".join(f"{pool.name} takes {show('_rps', pool.capacity_rps)}" for pool in full)
    limit = f" ({most} at most)" if full else ""
    return (
        f"At {show('_rps', plan.prediction.rate_rps)} the closed form has no steady state{limit}: "
        f"a queue grows without end. The simulation shows {duration(run.span_s)} of that; a longer "
        "run shows longer waits."
    )


def _naming(worst: Gap, found: Sequence[Gap]) -> str:
    assert worst.gap is not None
    numbers = (
        f"closed form {show('s_s', worst.closed_form)}, simulation {show('s_s', worst.simulation)} "
        f"({signed(worst.gap)})"
    )
    if worst.low is None:
        return f"Largest gap: {worst.label}, {numbers}."
    span = f"{show('s_s', worst.low)} to {show('s_s', worst.high)}"
    if not worst.outside:
        return (
            f"Largest gap: {worst.label}, {numbers}; it lies within the 95 % interval, {span}, as "
            f"every other latency does: this run cannot tell the two apart."
        )
    latencies = [gap for gap in found if gap.unit == "s" and gap.outside is not None]
    others = sum(bool(gap.outside) for gap in latencies)
    return (
        f"Largest gap: {worst.label}, {numbers}, outside the 95 % interval, {span}. Outside "
        f"theirs are {others} of {len(latencies)} latencies."
    )


def _origins(
    plan: Plan, run: Simulation, metric: str, parts_s: Mapping[str, float] | None
) -> Iterator[str]:
    told = list(_parts(plan, parts_s)) if metric in ("ttft", "e2e") else []
    told += _reasons(plan, run, metric)
    yield from told
    if not told:
        yield (
            "No pool is near a limit and none preempted; the numbers do not tell where the gap "
            "comes from."
        )


def terms_s(plan: Plan) -> dict[str, float]:
    """Means of what makes up the time to first token in the closed form, transfers as one."""
    assert plan.prediction is not None
    said = plan.prediction.ttft_terms_s
    return {
        "encode wait": said.encode_wait,
        "encode": said.encode,
        "prefill wait": said.prefill_wait,
        "prefill": said.prefill,
        "transfer": said.embed_transfer + said.kv_transfer,
        "decode wait": said.decode_wait,
    }


def _parts(plan: Plan, parts_s: Mapping[str, float] | None) -> Iterator[str]:
    """The parts that the gap of TTFT's mean is made of."""
    if parts_s is None:
        return
    said = terms_s(plan)
    differences = {name: said[name] - parts_s[name] for name in said}
    moved = sum(abs(value) for value in differences.values())
    order = sorted(differences, key=lambda name: -abs(differences[name]))
    named = [
        f"{name} {duration(said[name])} against {duration(parts_s[name])}"
        for name in order
        if abs(differences[name]) > NOTABLE * moved
    ]
    if named:
        yield f"Mean time to first token, closed form against simulation: {', '.join(named)}."


def _reasons(plan: Plan, run: Simulation, metric: str) -> Iterator[str]:
    """What the pools that a latency passes through ran into."""
    seen = {pool.name: pool for pool in run.pools}
    for pool in plan.pools:
        decodes = "D" in pool.stages
        if pool.name not in seen or (metric in ("tpot", "itl") and not decodes):
            continue
        yield from _pool(pool, seen[pool.name], run.requests + run.warmup)


def _pool(pool: PoolPlan, seen: PoolRun, requests: int) -> Iterator[str]:
    if seen.preemptions:
        yield (
            f"{pool.name}: {seen.preemptions} pre-emptions "
            f"({significant(100 * seen.preemptions / max(requests, 1), 2)} for 100 requests) with "
            f"its cache {percent(seen.peak_cache_share)} full at most; the closed form recomputes "
            "nothing."
        )
    elif seen.peak_cache_share >= FULL:
        yield f"{pool.name}: its cache was {percent(seen.peak_cache_share)} full at times."
    load = pool.utilization
    if BUSY <= load < 1:
        yield (
            f"{pool.name}: loaded to {percent(load)} of its capacity; waits grow as "
            "1 / (1 - load), so 1 % more work a request makes them "
            f"{significant(load / (1 - load), 2)} % longer or more."
        )
    batch = seen.mean_batch
    if pool.max_batch is not None and batch >= BUSY * pool.max_batch:
        yield (
            f"{pool.name}: {significant(batch)} requests in a step on average, at most "
            f"{pool.max_batch}: the batch limit binds, others wait to be admitted."
        )
