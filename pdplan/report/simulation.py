"""A simulation beside the closed form: tables, sentences and plain data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from pdplan.plan import Plan, Target
from pdplan.report.blocks import Block, Cell, Grid, Lines
from pdplan.report.gaps import Gap, findings, finite, gaps, steady, terms_s
from pdplan.report.headline import objective_words
from pdplan.report.measured import signed
from pdplan.report.numbers import duration, percent, show, significant
from pdplan.simulation.result import Estimate, Simulation

GAP_COLUMNS = (
    *("part", "name", "metric", "statistic", "unit", "closed_form", "simulation", "low", "high"),
    *("gap", "outside", "complete"),
)
NOTE = (
    "Gap: closed form over simulation, less one; of shares their difference in points. "
    "! marks a closed form outside the simulation's 95 % interval."
)
POOL_NOTE = (
    "Load is the rate over what full batches could take, busy the share of time that an instance "
    "works on anything. Batch: mean in service; of pools that do not decode, mean requests in a "
    "pass."
)


@dataclass(frozen=True, slots=True)
class Check:
    """A fleet's closed form and its simulation at the same rate."""

    plan: Plan
    run: Simulation
    wanted: int | None = None
    """Requests that were to be counted; None where it is not known."""
    trace: str | None = None
    """Name of the trace that was replayed."""
    parts_s: Mapping[str, float] | None = None
    """Means of what made up the simulated time to first token, by the names of `terms_s`."""
    planned_tokens: tuple[float, float] | None = None
    """Mean prompt and answer of the plan's workload."""
    seen_tokens: tuple[float, float] | None = None
    """The same of the simulated requests."""

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Every difference."""
        return gaps(self.plan, self.run)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the differences say."""
        found = findings(self.plan, self.run, self.gaps, self.parts_s)
        return found if self.trace is None else (*found, *self._of_the_trace())

    def _of_the_trace(self) -> Iterator[str]:
        if self.planned_tokens is None or self.seen_tokens is None:
            return
        planned, seen = (
            f"prompts of {significant(tokens[0])} and answers of {significant(tokens[1])} tokens"
            for tokens in (self.planned_tokens, self.seen_tokens)
        )
        yield (
            f"The closed form is of the plan's workload, {planned} in mean with its kind of "
            f"arrivals; the trace has {seen}."
        )


def simulation_blocks(check: Check) -> tuple[Block, ...]:
    """Everything that there is to say, the verdict on the objectives first."""
    found, run = check.gaps, check.run
    blocks: list[Block] = [Lines(headline(check))]
    if check.plan.prediction is not None and check.plan.prediction.targets:
        blocks.append(objectives(check.plan, run))
    blocks.append(_latencies(found, "", "Closed form against simulation"))
    if len(run.classes) > 1:
        blocks += [_latencies(found, kind.name, f"Class {kind.name}") for kind in run.classes]
    blocks.append(_pools(check))
    if run.links:
        blocks.append(_links(check))
    if check.parts_s is not None:
        blocks.append(_terms(check.plan, check.parts_s))
    blocks.append(Lines(check.findings, "What the gap says"))
    return tuple(block for block in blocks if not isinstance(block, Lines) or block.lines)


def headline(check: Check) -> tuple[str, ...]:
    """Say what was simulated, and whether to its end."""
    plan, run = check.plan, check.run
    origin = f"trace {check.trace}" if check.trace is not None else f"seed {run.seed}"
    fleet = f"{plan.placement} {plan.label}: {plan.model} on {plan.engine}"
    rate = plan.prediction.rate_rps if plan.prediction is not None else run.rate_rps
    warmup = f" after a warm-up of {run.warmup:,}" if run.warmup else ""
    lines = (
        f"{fleet} at {show('_rps', rate)}",
        f"{run.requests:,} requests simulated{warmup}, {origin}: {duration(run.span_s)} of the "
        f"fleet's time, {show('_rps', run.rate_rps)} came",
    )
    return lines if run.complete else (*lines, interrupted(check))


def interrupted(check: Check) -> str:
    """Say that, and where, a run was stopped."""
    if not check.run.requests:
        return "INTERRUPTED while the fleet was still filling: nothing was counted"
    of = "" if check.wanted is None else f" of {check.wanted:,}"
    part = f"{check.run.requests:,}{of} requests"
    return f"INTERRUPTED after {part}: these are the numbers of the part that ran"


def objectives(plan: Plan, run: Simulation) -> Grid:
    """One row an objective: what is predicted, what was simulated, and whether they agree."""
    assert plan.prediction is not None
    targets = plan.prediction.targets
    several = len({target.request_class for target in targets}) > 1
    seen = {kind.name: kind for kind in run.classes}
    rows: list[tuple[Cell, ...]] = []
    for target in targets:
        kind = seen.get(target.request_class)
        name = f"{target.request_class} " if several else ""
        estimate = None
        if kind is not None:
            latency = kind.ttft_s if target.metric == "ttft" else kind.tpot_s
            estimate = latency.at(target.percentile)
        rows.append(
            (
                name + objective_words(target),
                finite(target.predicted_s),
                None if estimate is None else finite(estimate.value),
                None if estimate is None else _span("s", estimate.low, estimate.high),
                _verdict(target, estimate),
            )
        )
    columns = ("objective", "closed form_s", "simulation_s", "95 % interval", "simulated")
    return Grid(columns, tuple(rows), "Objectives")


def _verdict(target: Target, estimate: Estimate | None) -> str:
    """Say whether an objective holds in simulation, as far as its interval tells."""
    if estimate is None or finite(estimate.value) is None:
        return "not seen"
    if estimate.low > target.objective_s:
        return "MISSED"
    return "met" if estimate.high <= target.objective_s else "too close to tell"


def _latencies(found: Sequence[Gap], name: str, title: str) -> Grid:
    rows = tuple(
        (
            f"{gap.metric.upper() if gap.unit == 's' else gap.metric} {gap.statistic}".strip(),
            _shown(gap.unit, gap.closed_form),
            _shown(gap.unit, gap.simulation),
            _span(gap.unit, gap.low, gap.high),
            _gap(gap),
        )
        for gap in found
        if gap.name == name
    )
    columns = ("metric", "closed form", "simulation", "95 % interval", "gap")
    return Grid(columns, rows, title, "" if name else NOTE)


def _shown(unit: str, value: float | None) -> str | None:
    if value is None:
        return None
    return percent(value) if unit == "share" else show(f"_{unit}", value)


def _span(unit: str, low: float | None, high: float | None) -> str | None:
    if low is None or high is None or finite(low) is None or finite(high) is None:
        return None
    return f"{_shown(unit, low)} to {_shown(unit, high)}"


def _gap(gap: Gap) -> str | None:
    value = gap.gap
    if value is None:
        return None
    mark = " !" if gap.outside else ""
    text = f"{100 * value:+.1f} pt" if gap.unit == "share" else signed(value)
    return f"{text}{mark}"


def _pools(check: Check) -> Grid:
    rows = tuple(tuple(row.values()) for row in _pool_rows(check))
    return Grid(_POOLS, rows, "Pools", POOL_NOTE)


_POOLS = (
    *("pool", "load_share", "busy_share", "closed_form_batch", "simulated_batch", "batch_limit"),
    *("preemptions", "cache_peak_share"),
)


def _pool_rows(check: Check) -> list[dict[str, Cell]]:
    """What each pool did: load in the closed form, the rest in the simulation."""
    said = {pool.name: pool for pool in check.plan.pools}
    found: list[dict[str, Cell]] = []
    for seen in check.run.pools:
        pool = said[seen.name]
        decodes = "D" in pool.stages
        found.append(
            {
                "pool": seen.name,
                "load_share": finite(pool.utilization),
                "busy_share": seen.utilization,
                "closed_form_batch": finite(pool.mean_batch),
                "simulated_batch": seen.mean_batch * (seen.utilization if decodes else 1.0),
                "batch_limit": pool.max_batch,
                "preemptions": seen.preemptions,
                "cache_peak_share": seen.peak_cache_share if pool.stages != "E" else None,
            }
        )
    return found


def _links(check: Check) -> Grid:
    said = {(hop.source, hop.target): hop.link_utilization for hop in check.plan.transfers}
    rows = tuple(
        (
            f"{link.source} -> {link.target}",
            said.get((link.source, link.target)),
            link.utilization,
            link.mean_wait_s,
        )
        for link in check.run.links
    )
    columns = ("hop", "load_share", "busy_share", "mean_wait_s")
    return Grid(columns, rows, "Transfers")


def _terms(plan: Plan, parts_s: Mapping[str, float]) -> Grid:
    said = terms_s(plan)
    rows = tuple(
        (name, finite(said[name]), parts_s[name]) for name in said if said[name] or parts_s[name]
    )
    columns = ("part of the mean", "closed_form_s", "simulation_s")
    return Grid(columns, rows, "Where the first token's time goes")


def gap_grid(check: Check) -> Grid:
    """Every difference with all digits, for a spreadsheet; `complete` is false if interrupted."""
    rows = tuple(tuple(row.values()) for row in _gap_rows(check))
    return Grid(GAP_COLUMNS, rows)


def _gap_rows(check: Check) -> list[dict[str, Cell]]:
    return [
        asdict(gap) | {"gap": gap.gap, "outside": gap.outside, "complete": check.run.complete}
        for gap in check.gaps
    ]


def simulation_data(check: Check) -> dict[str, object]:
    """Everything as plain data, in SI units; what has no number is null."""
    plan, said = check.plan, check.plan.prediction
    assert said is not None
    numbers = ("rate_rps", "goodput_rps", "attainment", "output_tokens_per_s_per_gpu")
    spreads = ("ttft_s", "tpot_s", "itl_s", "e2e_s")
    return {
        "simulation": asdict(check.run) | {"trace": check.trace, "wanted": check.wanted},
        "closed_form": {
            **{name: getattr(said, name) for name in numbers},
            **{name: asdict(getattr(said, name)) for name in spreads},
            "steady": steady(plan),
            "ttft_terms_s": {
                name: mean
                for name, mean in asdict(said.ttft_terms_s).items()
                if name != "access" or mean
            },
            "classes": [asdict(kind) for kind in said.classes],
            "targets": [asdict(target) | {"met": target.met} for target in said.targets],
            "pools": [
                {
                    name: getattr(pool, name)
                    for name in ("name", "utilization", "capacity_rps", "mean_batch")
                }
                for pool in plan.pools
            ],
        },
        "gaps": [{k: v for k, v in row.items() if k != "complete"} for row in _gap_rows(check)],
        "findings": list(check.findings),
    }
