"""What a simulation saw: percentiles with confidence intervals, and what the pools did."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of the simulated requests and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Latency:
    """One latency over requests [s]."""

    mean: Estimate
    p50: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate

    def at(self, percentile: int | str) -> Estimate:
        """Value at one of the reported percentiles, or the mean."""
        name = f"p{percentile}" if isinstance(percentile, int) else percentile
        found: Estimate = getattr(self, name)
        return found


@dataclass(frozen=True, slots=True)
class ClassRun:
    """Requests of one class."""

    name: str
    requests: int
    attainment: Estimate
    ttft_s: Latency
    tpot_s: Latency
    e2e_s: Latency


@dataclass(frozen=True, slots=True)
class PoolRun:
    """What the instances of one pool did."""

    name: str
    utilization: float
    """Share of their time that they were busy."""
    mean_batch: float
    """Mean requests in a pass or step, over busy time."""
    preemptions: int
    peak_cache_share: float
    """Largest share of an instance's KV blocks in use; above 1 where prompts wait to be sent for
    longer than a pool that only prefills could keep them."""


@dataclass(frozen=True, slots=True)
class LinkRun:
    """Transfers between two pools."""

    source: str
    target: str
    utilization: float
    """Of the busier end."""
    mean_wait_s: float


@dataclass(frozen=True, slots=True)
class Simulation:
    """A run, over the requests that arrived after its warm-up."""

    requests: int
    """Finished requests that are counted."""
    warmup: int
    """Requests before them that are not."""
    complete: bool
    """Whether all requests asked for have finished; an interrupted run has counted fewer."""
    seed: int | None
    """Of the random arrivals and lengths; None for a replayed trace."""
    span_s: float
    """Simulated time from the first counted arrival to the last."""
    rate_rps: float
    goodput_rps: float
    output_tokens_per_s_per_gpu: float
    attainment: Estimate
    ttft_s: Latency
    tpot_s: Latency
    itl_s: Latency
    e2e_s: Latency
    classes: tuple[ClassRun, ...]
    pools: tuple[PoolRun, ...]
    links: tuple[LinkRun, ...]
    events: int


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One simulated request, as the per-request CSV shows it; times in seconds."""

    request: int
    request_class: str
    arrival_s: float
    prompt_tokens: float
    cached_tokens: float
    output_tokens: int
    images: int
    ttft_s: float
    tpot_s: float
    e2e_s: float
    encode_wait_s: float
    encode_s: float
    prefill_wait_s: float
    prefill_s: float
    transfer_s: float
    decode_wait_s: float
    preemptions: int
