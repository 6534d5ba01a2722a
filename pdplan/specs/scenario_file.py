"""The keys of a scenario file."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pdplan.specs.base import Count, Spec, UsdPerHour, Watts
from pdplan.specs.dtypes import CacheDtype, Dtype
from pdplan.specs.speculation import SpeculativeSpec
from pdplan.specs.workload import Objective, Percentiles, Rate, itl_is_tpot

Aim = Literal["cost", "gpus", "power", "hardware_cost", "rate"]
"""What is made least; of `rate` the most, within a stock."""
Routing = Literal["least_loaded", "central", "round_robin", "random"]
Scheduler = Literal["chunked", "prefill_first", "layered"]
Name = Annotated[str, Field(min_length=1)]


def _stages(text: str) -> str:
    if not re.fullmatch(r"[MEPDAF]+", text):
        message = f"expected the stages of one pool, for example 'P'; got '{text}'"
        raise ValueError(message)
    return text


def _placement(text: str) -> str:
    if text != "auto" and not re.fullmatch(r"[MEPDAF()-]+", text):
        message = f"expected 'auto' or a placement, for example 'E-P-D'; got '{text}'"
        raise ValueError(message)
    return text


Stages = Annotated[str, AfterValidator(_stages)]
Placement = Annotated[str, AfterValidator(_placement)]


def _listed(value: object) -> object:
    """Take one value, or `a,b,c`, for a list of them."""
    if isinstance(value, str) and "," in value:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value if isinstance(value, list | tuple) or value is None else [value]


def _whole(value: object) -> object:
    items = _listed(value)
    if not isinstance(items, list | tuple):
        return items
    return [int(i) if isinstance(i, str) and i.strip().isdecimal() else i for i in items]


def _distinct(found: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(found))


Counts = Annotated[tuple[Count, ...], BeforeValidator(_whole), AfterValidator(_distinct)]
SomeCounts = Annotated[Counts, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
Dtypes = Annotated[tuple[Dtype, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
CacheDtypes = Annotated[tuple[CacheDtype, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
Schedulers = Annotated[tuple[Scheduler, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
Placements = Annotated[
    tuple[Placement, ...],
    BeforeValidator(_listed),
    AfterValidator(lambda found: () if "auto" in found else _distinct(found)),
]


class HardwareUse(Spec):
    """One kind of accelerator that may be used."""

    id: Name
    stock: Count | None = None
    """Accelerators to be had; none is as many as it takes."""
    price: Annotated[UsdPerHour, Field(gt=0)] | None = None
    """Per accelerator; none is the listed price of the provider."""
    provider: str | None = None


def _uses(value: object) -> object:
    items = _listed(value)
    if not isinstance(items, list | tuple):
        return items
    return [{"id": item} if isinstance(item, str) else item for item in items]


class LimitsSpec(Spec):
    """What the whole fleet must stay within."""

    max_gpus: Count | None = None
    budget: Annotated[UsdPerHour, Field(gt=0)] | None = None
    power: Annotated[Watts, Field(gt=0)] | None = None


class RoleSpec(Spec):
    """What is fixed for the pool of one stage string; an empty list leaves the search's."""

    hardware: Names = ()
    tp: Counts = ()
    pp: Counts = ()
    ep: Counts = ()
    dp: Counts = ()
    instances: Count | None = None
    weight_dtypes: Dtypes = ()
    kv_dtypes: CacheDtypes = ()
    max_batch: Counts = ()


class SearchSpec(Spec):
    """Choices the solver has; an empty list is automatic."""

    placements: Placements = ()
    split: Literal["auto", "never", "always"] = "auto"
    """Whether classes get pools of their own: where that is better, never, or every class."""
    tp: SomeCounts = (1, 2, 4, 8)
    pp: Counts = ()
    """Empty: the least pipeline at which the weights fit."""
    ep: Counts = ()
    dp: Counts = ()
    weight_dtypes: Dtypes = ()
    """Empty: the checkpoint's own."""
    kv_dtypes: Annotated[CacheDtypes, Field(min_length=1)] = ("bf16",)
    max_batch: Counts = ()
    schedulers: Annotated[Schedulers, Field(min_length=1)] = ("chunked",)
    chunk_tokens: Counts = ()
    parallel_encode: SomeCounts = (1,)
    """Instances of an encode pool that share the images of one request."""
    roles: dict[Stages, RoleSpec] = Field(default_factory=dict)


class ScenarioSpec(Spec):
    """One question: model, traffic, objectives, hardware, and what to minimise."""

    name: str = ""
    description: str = ""
    model: Name
    engine: Name = "vllm"
    speculative: SpeculativeSpec | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    """What published systems add to a placement; see `specs/options`."""
    workload: Name | dict[str, Any]
    """Id, path or the keys of a workload in place."""
    rate: Rate | None = None
    ttft: Objective | None = None
    tpot: Objective | None = None
    percentile: Percentiles | None = None
    """These four go before the workload's."""
    hardware: Annotated[tuple[HardwareUse, ...], BeforeValidator(_uses), Field(min_length=1)]
    objective: Aim = "cost"
    limits: LimitsSpec = LimitsSpec()
    whole_nodes: bool = False
    """Rent accelerators by the node."""
    routing: Routing = "least_loaded"
    first_token_from: Literal["decode", "prefill"] = "decode"
    search: SearchSpec = SearchSpec()

    @model_validator(mode="before")
    @classmethod
    def _itl_is_tpot(cls, data: Any) -> Any:  # noqa: ANN401  (raw YAML)
        return itl_is_tpot(data)
