"""A plan: the answer of `solve` and `evaluate`, frozen, with everything a report needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

SCHEMA_VERSION = 1
LEVELS = (50, 90, 95, 99)
"""Percentiles that every prediction reports."""

Status = Literal["optimal", "feasible", "infeasible"]
"""Of a fleet that was given: whether it meets its objectives (feasible) or not (infeasible)."""

Origin = Literal["datasheet", "fitted", "transferred", "user", "literature"]


def statistic(percentile: int | str) -> str:
    """Name of what an objective is for.

    >>> statistic(90), statistic("mean")
    ('p90', 'mean')
    """
    return f"p{percentile}" if isinstance(percentile, int) else percentile


@dataclass(frozen=True, slots=True)
class Spread:
    """A latency over requests [s]."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float

    def at(self, percentile: int | str) -> float:
        """Value at one of the reported percentiles, or the mean."""
        return float(getattr(self, statistic(percentile)))


@dataclass(frozen=True, slots=True)
class Objective:
    """What was minimised, and the proof of how well."""

    name: str
    value: float | None
    bound: float | None
    gap: float | None


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes on one accelerator."""

    weights: float
    kv: float
    """What is left for KV."""
    activations: float
    reserve: float
    total: float
    limit: float


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One pool of identical instances."""

    name: str
    stages: str
    hardware: str
    instances: int
    tp: int
    pp: int
    ep: int
    dp: int
    gpus: int
    max_batch: int | None
    weight_dtype: str
    kv_dtype: str
    utilization: float
    capacity_rps: float
    kv_capacity_tokens: float
    """Of one instance."""
    memory_bytes: MemoryUse
    usd_per_hour: float | None
    power_w: float | None
    mean_batch: float | None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A hop between two pools."""

    source: str
    target: str
    bytes_per_request: float
    seconds: float
    """Mean time on the wire."""
    hidden_seconds: float
    """Part of it overlapped with the stage before."""
    link_utilization: float
    """Of the busier end's network."""


@dataclass(frozen=True, slots=True)
class TtftTerms:
    """Means of what makes up the time to first token [s]; they add up to its mean."""

    encode_wait: float = 0.0
    encode: float = 0.0
    embed_transfer: float = 0.0
    prefill_wait: float = 0.0
    prefill: float = 0.0
    kv_transfer: float = 0.0
    decode_wait: float = 0.0
    access: float = 0.0
    """Between users and the fleet, where an option says how far away they are."""


@dataclass(frozen=True, slots=True)
class Target:
    """One latency objective and what the plan predicts for it."""

    request_class: str
    metric: Literal["ttft", "tpot"]
    percentile: int | str
    """Or `mean`."""
    objective_s: float
    predicted_s: float

    @property
    def what(self) -> str:
        """What of which latency: `TTFT p90`, `TPOT mean`."""
        return f"{self.metric.upper()} {statistic(self.percentile)}"

    @property
    def met(self) -> bool:
        """Whether the objective holds."""
        return self.predicted_s <= self.objective_s * (1 + 1e-9)


@dataclass(frozen=True, slots=True)
class ClassPrediction:
    """Latencies of one request class."""

    name: str
    share: float
    attainment: float
    ttft_s: Spread
    tpot_s: Spread
    itl_s: Spread
    """Every gap between the tokens of an answer, all counting alike."""
    e2e_s: Spread


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the fleet delivers at a rate."""

    rate_rps: float
    goodput_rps: float
    attainment: float
    """Share of requests that meet both of their objectives."""
    output_tokens_per_s_per_gpu: float
    ttft_s: Spread
    tpot_s: Spread
    itl_s: Spread
    e2e_s: Spread
    ttft_terms_s: TtftTerms
    classes: tuple[ClassPrediction, ...] = ()
    targets: tuple[Target, ...] = ()
    energy_j_per_token: float | None = None
    """Energy of all accelerators over all tokens of prompts and answers."""
    ttft_first_s: Spread | None = None
    """Of the first turns of sessions; None where requests are no turns."""
    ttft_later_s: Spread | None = None
    """Of their other turns."""
    effective_tokens_per_s_per_gpu: float = 0.0
    """Output tokens of requests that meet both objectives: attainment x output tokens."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another placement: what it would cost, or why it cannot be."""

    placement: str
    label: str | None = None
    cost_usd_per_hour: float | None = None
    gpus: int | None = None
    objective: float | None = None
    reason: str | None = None
    plan: "Plan | None" = None
    system: str | None = None
    """The published system that it is, where it is one."""


@dataclass(frozen=True, slots=True)
class Infeasible:
    """Why there is no plan, and what would help."""

    reason: str
    limit: str
    nearest: str | None
    relaxation: str | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a kind of number in the plan comes from."""

    quantity: str
    origin: Origin
    source: str


@dataclass(frozen=True, slots=True)
class SolverReport:
    """How the answer was proven."""

    name: str
    status: str
    seconds: float
    columns: int
    cuts: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet for a model under a workload, or the reason why there is none."""

    status: Status
    placement: str
    system: str | None
    label: str
    objective: Objective
    cost_usd_per_hour: float | None
    usd_per_million_output_tokens: float | None
    gpus: int
    power_w: float | None
    model: str
    workload: Mapping[str, Any]
    engine: str
    pools: tuple[PoolPlan, ...]
    transfers: tuple[Transfer, ...]
    prediction: Prediction | None
    binding: tuple[str, ...]
    alternatives: tuple[Alternative, ...]
    infeasible: Infeasible | None
    provenance: tuple[Provenance, ...]
    solver: SolverReport | None
    speculative: Mapping[str, Any] | None = None
    """How tokens are drafted, as the plan file says it."""
    options: Mapping[str, Any] | None = None
    """What is added to the placement, as the plan file says it."""
    warnings: tuple[str, ...] = ()
    """Where the closed forms are known to be less accurate than elsewhere, or worse."""
    schema_version: int = SCHEMA_VERSION

    @property
    def given(self) -> bool:
        """Whether the fleet was given and only evaluated, not searched for."""
        return bool(self.pools) and self.objective.bound is None

    def to_dict(self) -> dict[str, Any]:
        """Plain mappings and lists with the keys of the plan file, in their documented order."""
        found: dict[str, Any] = {"schema_version": self.schema_version}
        found |= _plain(self)
        for row in found["alternatives"]:
            row.pop("plan")
        return found


def _plain(value: Any) -> Any:  # noqa: ANN401  (anything a plan holds)
    if is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Alternative):
            return {f.name: _plain(getattr(value, f.name)) if f.name != "plan" else None
                    for f in fields(value)}  # fmt: skip
        found = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, Prediction):
            found = {name: part for name, part in found.items() if part is not None}
        if isinstance(value, TtftTerms) and not value.access:
            del found["access"]
        return found
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return value.item()
    return value
