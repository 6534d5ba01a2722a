"""Plan files: a fleet as `solve -o` writes it or as a person does, read back for evaluation."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from pdplan.errors import SpecError
from pdplan.specs.base import Count, Spec, suggestion, validate
from pdplan.specs.catalog import find
from pdplan.specs.dtypes import CacheDtype, Dtype
from pdplan.specs.engine import EngineSpec, load_engine
from pdplan.specs.hardware import HardwareSpec, load_hardware
from pdplan.specs.modalities import with_options
from pdplan.specs.model import ModelSpec, load_model
from pdplan.specs.options import NO_OPTIONS, Options
from pdplan.specs.parallelism import unsplittable
from pdplan.specs.source import Key, load_yaml
from pdplan.specs.speculation import Speculation, SpeculativeSpec, is_model, speculation
from pdplan.specs.traffic import Traffic, traffic
from pdplan.specs.workload import WorkloadSpec, load_workload

Computed = Annotated[Any, Field(default=None)]
"""A key that `solve` writes and a reader works out again."""
ANSWERED = ("concurrency", "requests")
"""Keys of a plan's own workload: what `evaluate` was asked of it. A plan is read without them."""


EXTRAS: tuple[str, ...] = ("per_node", "compute_share")
"""Pool options that `solve` searches for single pools; each is None where it was not."""


VISITED = "MEPDAF"
"""Stages in the order that a request visits them."""


class PoolOptions(Spec):
    """How a pool's engine is run, beyond its shape."""

    scheduler: Literal["chunked", "prefill_first", "layered"] = "chunked"
    chunk_tokens: Count | None = None
    parallel_encode: Count = 1
    """Instances of an encode pool that share the images of one request."""
    routing: Literal["least_loaded", "central", "round_robin", "random"] = "least_loaded"
    moe_dtype: Dtype | None = None
    moe_tp: Count | None = None
    per_node: Count | None = None
    """Instances in each node, or run of nodes as long as its pipeline, where pools share nodes."""
    usd_per_gpu_hour: Annotated[float, Field(ge=0)] | None = None
    first_token_from: Literal["decode", "prefill"] = "decode"
    whole_nodes: bool = False
    classes: tuple[str, ...] = ()
    """Classes of requests that the pool serves; none where all share."""
    micro_batches: Count | None = None
    """Of the FFN half of decode: parts of the batch that pass both halves in turn."""
    copies: Count | None = None
    """Of the FFN half in a bundle, which serve its attention half in turn."""
    idle_share: Any = None
    halves: Any = None
    """Written for readers, as the share that a half is idle: stages of a step at the mean batch."""
    local_prefill: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the later turns of sessions that a pool which decodes prefills itself."""
    compute_share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of the compute units, where processes share devices; 1 for each is uncontrolled."""
    shares_devices_with: Any = None
    """Written for readers: the placement says it."""
    burst_tolerance: Any = None
    """Written where requests are grouped: capacity over mean demand."""
    mismatch: Any = None
    """Written where requests are grouped: how far prefill is from the capacity of decode."""
    device_rounds: Any = None
    """Written where devices draft: what a round takes and sends."""
    handed_over: Any = None
    """Written where devices finish answers: tokens that the fleet sends, and what that saves."""

    @property
    def extras(self) -> tuple[tuple[str, float | int | str], ...]:
        """What was searched beside shape, instances and batch, in the order of EXTRAS."""
        found = ((name, getattr(self, name)) for name in EXTRAS)
        return tuple((name, value) for name, value in found if value is not None)


class PoolSpec(Spec):
    """One pool of a plan file."""

    name: str
    stages: Annotated[str, Field(pattern="^[MEPDAF]+$")]
    hardware: str
    instances: Count
    tp: Count = 1
    pp: Count = 1
    ep: Count | None = None
    dp: Count = 1
    max_batch: Count | None = None
    weight_dtype: Dtype | None = None
    kv_dtype: CacheDtype = "bf16"
    options: PoolOptions = PoolOptions()
    gpus: Computed
    utilization: Computed
    capacity_rps: Computed
    kv_capacity_tokens: Computed
    memory_bytes: Computed
    usd_per_hour: Computed
    power_w: Computed
    mean_batch: Computed


class PlanFileSpec(Spec):
    """A plan file; keys that can be worked out are accepted and not read."""

    placement: str
    model: str
    engine: str = "vllm"
    speculative: SpeculativeSpec | None = None
    options: Options | None = None
    workload: str | dict[str, Any]
    pools: Annotated[tuple[PoolSpec, ...], Field(min_length=1)]
    system: str | None = None
    schema_version: Literal[1] = 1
    status: Computed
    label: Computed
    objective: Computed
    cost_usd_per_hour: Computed
    usd_per_million_output_tokens: Computed
    gpus: Computed
    power_w: Computed
    transfers: Computed
    warnings: Computed
    prediction: Computed
    binding: Computed
    alternatives: Computed
    infeasible: Computed
    provenance: Computed
    solver: Computed

    @model_validator(mode="after")
    def _pools_follow_the_placement(self) -> "PlanFileSpec":
        stages = [part for group in _stages(self.placement) for part in group]
        found = [pool.stages for pool in self.pools]
        if stages != found:
            message = f"pools: stages {found} do not follow the placement {self.placement}"
            raise ValueError(message)
        return self


def _stages(placement: str) -> list[list[str]]:
    """Stages of the pools of each group, in the order that requests visit them."""
    found = []
    for group in placement.split("+"):
        parts = [part for part in re.split(r"[()-]+", group.strip()) if part] or [""]
        found.append(sorted(parts, key=lambda part: VISITED.find(part[:1])))
    return found


@dataclass(frozen=True, slots=True)
class Group:
    """Classes of requests with pools of their own."""

    classes: tuple[str, ...]
    """In the workload's order; all of them where they share."""
    placement: str
    pools: tuple[PoolSpec, ...]


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """A plan file with everything it names read in."""

    placement: str
    system: str | None
    model_id: str
    model: ModelSpec
    engine_id: str
    engine: EngineSpec
    speculation: Speculation | None
    workload: WorkloadSpec
    workload_id: str
    traffic: Traffic
    pools: tuple[PoolSpec, ...]
    hardware: dict[str, HardwareSpec]
    workload_folder: Path
    alternatives: tuple[Mapping[str, Any], ...]
    """Other placements, as the file records them."""
    options: Options = NO_OPTIONS

    @property
    def groups(self) -> tuple[Group, ...]:
        """Groups of classes with their placements and pools, in the order of the file."""
        return _groups(self.placement, self.pools, tuple(k.name for k in self.traffic.classes))


def _groups(
    placement: str, pools: Sequence[PoolSpec], classes: tuple[str, ...]
) -> tuple[Group, ...]:
    found = []
    for text, stages in zip(placement.split("+"), _stages(placement), strict=True):
        mine, pools = tuple(pools[: len(stages)]), pools[len(stages) :]
        named = mine[0].options.classes or classes
        found.append(Group(tuple(c for c in classes if c in named), text.strip(), mine))
    return tuple(found)


def _wrong_classes(pools: Sequence[PoolSpec], placement: str, known: Sequence[str]) -> str | None:
    """What is wrong with the classes that pools serve: each group its own, together all."""
    groups = _stages(placement)
    served: list[str] = []
    for stages in groups:
        mine, pools = pools[: len(stages)], pools[len(stages) :]
        listed = [pool.options.classes for pool in mine]
        for pool in mine:
            if unknown := [name for name in pool.options.classes if name not in known]:
                hint = suggestion(unknown[0], known)
                return f"pool '{pool.name}': unknown class '{unknown[0]}'{hint}"
            if len(groups) > 1 and not pool.options.classes:
                return f"pool '{pool.name}': needs options: {{classes: [...]}}, as others have"
        if len({frozenset(names) for names in listed}) > 1:
            return f"pool '{mine[-1].name}': serves other classes than '{mine[0].name}' before it"
        served += dict.fromkeys(listed[0])
    if twice := [name for name in known if served.count(name) > 1]:
        return f"class '{twice[0]}' is served by two groups of pools"
    if served and (unserved := [name for name in known if name not in served]):
        return f"class '{unserved[0]}' is served by no pool"
    return None


T = TypeVar("T")


def load_plan(path: Path, specs_dir: Path | None = None) -> PlanSpec:
    """Read a plan file; raises SpecError with file, line and key."""
    document = load_yaml(path)
    file = validate(document, PlanFileSpec)

    def named(key: Key, name: str, load: Callable[[str, Path | None], T]) -> T:
        try:
            return load(name, specs_dir)
        except SpecError as error:
            found = (document.problem(key, p) if isinstance(p, str) else p for p in error.problems)
            raise SpecError(*found) from None

    folder = path.parent
    if isinstance(file.workload, str):
        workload = named(("workload",), file.workload, load_workload)
        workload_id = file.workload
        folder = find("workload", file.workload, specs_dir).parent
    else:
        stated = {key: value for key, value in file.workload.items() if key not in ANSWERED}
        workload = validate(document, WorkloadSpec, stated, at=("workload",))
        workload_id = workload.name or "inline"
    if workload.rate is None:
        raise SpecError(document.problem(("workload",), "has no rate; add 'rate: 20 req/s'"))
    model = named(("model",), file.model, load_model)
    drafted, draft = file.speculative, None
    if drafted is not None and is_model(drafted.draft):
        draft = named(("speculative", "draft"), drafted.draft, load_model)
    hardware = {
        pool.hardware: named(("pools", i, "hardware"), pool.hardware, load_hardware)
        for i, pool in enumerate(file.pools)
    }
    for i, pool in enumerate(file.pools):
        problem = unsplittable(model, tp=pool.tp, pp=pool.pp, ep=pool.ep or 1, dp=pool.dp)
        if problem is not None and pool.stages != "E":
            raise SpecError(document.problem(("pools", i), problem))
    found = with_options(traffic(workload, workload.rate, folder), file.options or NO_OPTIONS)
    mistaken = _wrong_classes(file.pools, file.placement, [kind.name for kind in found.classes])
    if mistaken is not None:
        raise SpecError(document.problem(("pools",), mistaken))
    return PlanSpec(
        placement=file.placement,
        system=file.system,
        model_id=file.model,
        model=model,
        engine_id=file.engine,
        engine=named(("engine",), file.engine, load_engine),
        speculation=None if drafted is None else speculation(drafted, draft),
        workload=workload,
        workload_id=workload_id,
        traffic=found,
        pools=file.pools,
        hardware=hardware,
        workload_folder=folder,
        alternatives=tuple(a for a in file.alternatives or () if isinstance(a, dict)),
        options=file.options or NO_OPTIONS,
    )
