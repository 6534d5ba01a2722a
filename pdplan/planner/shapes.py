"""Which instances may be built at all: hardware, parallelism and number formats per pool."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from pdplan.pools.measured import unmeasured
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.model import ModelSpec
from pdplan.specs.parallelism import unsplittable
from pdplan.specs.scenario import Scenario
from pdplan.stages.machine import Shape, compute_dtype
from pdplan.stages.pruning import uneven

PIPELINES = (2, 4, 8)
"""Pipeline degrees tried, in turn, on hardware where nothing fits without one."""


@dataclass(slots=True)
class Shapes:
    """Candidate shapes of one pool, and how many were turned away for which reason."""

    found: list[Shape] = field(default_factory=list)
    turned_away: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str) -> None:
        """Count a candidate out."""
        self.turned_away[reason] = self.turned_away.get(reason, 0) + 1


def candidate_shapes(scenario: Scenario, stages: str, pipeline: int = 1) -> Shapes:
    """Every shape that the model, the hardware and the search space allow for a pool.

    `pipeline` is the pipeline degree where none is asked for.
    """
    shapes = Shapes()
    pins = scenario.search.roles.get(stages)
    allowed = {choice.id for choice in scenario.hardware}
    wanted = set(pins.hardware) & allowed if pins and pins.hardware else allowed
    for choice in scenario.hardware:
        if choice.id not in wanted:
            shapes.refuse(f"{choice.id} is not wanted in this role")
            continue
        for shape in _of_hardware(scenario, stages, choice.id, pipeline):
            reason = misfit(scenario.model, choice.spec, shape, stages)
            reason = reason or uneven(scenario.model, scenario.options.prune, shape.pp, stages)
            reason = reason or unmeasured(scenario.options.measured, stages, shape)
            domain = choice.spec.scale_up.domain if choice.spec.scale_up else 1
            if shape.tp > domain and not scenario.search.roles.get(stages):
                reason = f"tp={shape.tp} exceeds the scale-up domain of {choice.id} ({domain})"
            if reason is None:
                shapes.found.append(shape)
            else:
                shapes.refuse(reason)
    return shapes


def _of_hardware(scenario: Scenario, stages: str, hardware: str, pipeline: int) -> Iterator[Shape]:
    """Shapes of one hardware in the search space, before asking whether they can work."""
    if stages == "E":
        pins = scenario.search.roles.get("E")
        for tp in pins.tp if pins and pins.tp else (1,):
            yield Shape(hardware, tp=tp)
        return
    search, pins = scenario.search, scenario.search.roles.get(stages)
    tps = pins.tp if pins and pins.tp else search.tp
    pps = (pins.pp if pins and pins.pp else search.pp) or (pipeline,)
    dps = (pins.dp if pins and pins.dp else search.dp) or _data_parallel(scenario.model)
    eps = (pins.ep if pins and pins.ep else search.ep) or (None,)
    kv_dtypes = pins.kv_dtypes if pins and pins.kv_dtypes else search.kv_dtypes
    weights: tuple[str, ...] = (
        pins.weight_dtypes if pins and pins.weight_dtypes else search.weight_dtypes
    )
    weights = weights or (default_weight_dtype(scenario.model),)
    for tp, pp, dp, ep, weight, kv in product(tps, pps, dps, eps, weights, kv_dtypes):
        yield make_shape(scenario.model, hardware, tp, pp, dp, ep, weight, kv)


def _data_parallel(model: ModelSpec) -> tuple[int, ...]:
    """Data-parallel attention pays where heads cannot share a cache: MLA with experts."""
    latent = any(group.kind == "latent" for group in model.attention)
    return (1, 8, 16) if latent and model.moe is not None else (1,)


def default_weight_dtype(model: ModelSpec) -> str:
    """Type of the checkpoint; of a mixed one, that of its experts."""
    return "bf16" if model.checkpoint_dtype == "fp32" else model.checkpoint_dtype


def make_shape(
    model: ModelSpec, hardware: str, tp: int, pp: int, dp: int, ep: int | None, weight: str, kv: str
) -> Shape:
    """Complete a shape: experts spread over tp x dp ranks, mixed 4-bit weights for experts only."""
    ranks = tp * dp
    experts = model.moe is not None
    if ep is None:
        ep = ranks if dp > 1 and experts else 1
    moe_tp = max(ranks // ep, 1) if experts else 1
    mixed = weight == "mxfp4" and experts
    return Shape(
        hardware,
        tp=tp,
        pp=pp,
        ep=ep,
        dp=dp,
        moe_tp=moe_tp,
        weight_dtype="bf16" if mixed else weight,
        moe_dtype=weight,
        kv_dtype=kv,
    )


def misfit(model: ModelSpec, spec: HardwareSpec, shape: Shape, stages: str) -> str | None:
    """Why a shape cannot work, if it cannot, whatever the load."""
    domain = spec.scale_up.domain if spec.scale_up else 1
    if compute_dtype(spec, shape.weight_dtype) is None or compute_dtype(spec, "bf16") is None:
        return f"{shape.hardware} has no unit that multiplies {shape.weight_dtype} or 16 bits"
    if shape.gpus > domain and spec.scale_out is None:
        return f"{shape.hardware} has no network for {shape.gpus} accelerators"
    if stages == "E":
        return None
    reason = unsplittable(model, tp=shape.tp, pp=shape.pp, ep=shape.ep, dp=shape.dp)
    if reason is not None or model.moe is None:
        return reason
    if (shape.tp * shape.dp) % shape.ep or shape.ep * shape.moe_tp != shape.tp * shape.dp:
        return f"ep={shape.ep} does not divide tp x dp = {shape.tp * shape.dp}"
    if model.moe.expert_width % shape.moe_tp:
        return f"tp={shape.moe_tp} does not divide the experts' width"
    return None
