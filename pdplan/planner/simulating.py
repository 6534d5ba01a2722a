"""`simulate`: let requests through the fleet of a plan, one by one."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from pdplan.errors import UnfitError
from pdplan.planner.evaluation import fleets_of
from pdplan.planner.fleet import Fleet, Fleets, Member
from pdplan.planner.settings import refuse_unfollowed
from pdplan.simulation.arrivals import Arrival, OpenArrivals, TwoRates
from pdplan.simulation.build import Kind, Serving, hops, laws, prompts
from pdplan.simulation.model import ClassModel, FleetModel, LaneModel, PoolModel
from pdplan.simulation.replay import Lane, Replay
from pdplan.simulation.request import Prompt
from pdplan.simulation.result import RequestRow, Simulation
from pdplan.simulation.run import run
from pdplan.specs.plan_file import PlanSpec
from pdplan.specs.traffic import Traffic
from pdplan.stages.machine import machines

REQUESTS = 20_000
"""Counted requests unless told otherwise: a p99 to about 5 % at moderate load."""


def simulate(
    spec: PlanSpec,
    *,
    requests: int | None = None,
    trace: Path | None = None,
    trace_speed: float = 1.0,
    concurrency: int | None = None,
    seed: int = 1,
    progress: Callable[[int, int | None], None] | None = None,
    rows: Callable[[RequestRow], None] | None = None,
) -> Simulation:
    """Run the fleet of a plan on random requests of its workload, or on those of a trace.

    requests: how many are counted; of a trace all, unless said. Of a trace come arrivals, which
    `trace_speed` makes come so many times as fast, lengths and numbers of images; the workload
    gives image sizes and objectives. With `concurrency` so many random requests are always in the
    fleet, whatever the rate. `progress` hears of requests counted and asked for, `rows` gets every
    counted request when it has finished. An interrupt from the keyboard ends the run with what has
    been counted. Raises SpecError for an
    unusable trace, UnfitError where a pool cannot hold or run the model.
    """
    fleets = fleets_of(spec)
    placements = [fleet.placement for fleet in fleets.groups]
    refuse_unfollowed("simulate", spec.options, placements, spec.model)
    lanes = [_kinds(fleet) for fleet in fleets.groups]
    model = _model(fleets, lanes)
    if trace is None:
        arrivals: Iterator[Arrival] = _open(fleets, lanes).draw(seed)
        return run(
            model, arrivals, requests=requests or REQUESTS, seed=seed, progress=progress, rows=rows,
            concurrency=concurrency,
        )  # fmt: skip
    if spec.options.encode_cache is not None:
        message = "simulate --trace does not follow option encode_cache; leave out one of them"
        raise UnfitError(message)
    recorded = islice(_replay(fleets, lanes, trace, seed), requests)
    arrivals = ((at / trace_speed, prompt, osl) for at, prompt, osl in recorded)
    return run(model, arrivals, seed=None, progress=progress, rows=rows)


def _kinds(fleet: Fleet) -> tuple[Kind, ...]:
    """How the instances of a fleet's pools are built."""
    return tuple(_kind(fleet, member) for member in fleet.members)


def _kind(fleet: Fleet, member: Member) -> Kind:
    pool = member.pool
    return Kind(
        name=member.name,
        stages=pool.stages,
        machine=machines([pool.shape], dict(fleet.hardware), fleet.engine),
        chunk_tokens=member.chunk_tokens,
        largest_batch=max(pool.max_batch, fleet.engine.defaults.max_batch),
        kv_dtype=pool.shape.kv_dtype,
        together=member.discipline.together(member.pool.stages, member.pool.instances),
    )


def _serving(fleet: Fleet) -> Serving:
    demand = fleet.demand
    return Serving(
        model=demand.model,
        speculation=demand.speculation,
        running_cross_tokens=demand.cross_tokens,
        prompt_cross_tokens=float(demand.mean(demand.media.cross_tokens)),
    )


def _model(fleets: Fleets, lanes: list[tuple[Kind, ...]]) -> FleetModel:
    speculation = fleets.demand.speculation
    kinds = fleets.demand.traffic.classes
    lane_of = {name: i for i, group in enumerate(fleets.groups) for name in group.classes}
    return FleetModel(
        lanes=tuple(_lane(f, k) for f, k in zip(fleets.groups, lanes, strict=True)),
        classes=tuple(ClassModel(kind.name, kind.ttft_s, kind.tpot_s) for kind in kinds),
        lane_of=tuple(lane_of[kind.name] for kind in kinds),
        speculation=(speculation.draft_tokens, speculation.acceptance) if speculation else None,
        gpus=fleets.gpus,
    )


def _lane(fleet: Fleet, kinds: tuple[Kind, ...]) -> LaneModel:
    serving = _serving(fleet)
    prefill = next(kind for kind in kinds if "P" in kind.stages)
    return LaneModel(
        pools=tuple(
            PoolModel(
                name=member.name,
                stages=member.pool.stages,
                instances=member.pool.instances,
                laws=laws(kind, serving),
                max_batch=member.pool.max_batch,
                routing=member.discipline.routing,
                scheduler=member.discipline.scheduler,
                parallel_encode=member.discipline.parallel_encode,
            )
            for member, kind in zip(fleet.members, kinds, strict=True)
        ),
        links=hops(kinds, serving),
        first_token_from=fleet.first_token_from,
        request_s=prefill.number("request_s"),
        mean_output=float(fleet.demand.traffic.output_mean),
    )


def _points(fleets: Fleets, lanes: list[tuple[Kind, ...]]) -> list[Prompt]:
    """A prompt for each support point of all classes, in the order of the fleets."""
    order = [kind.name for kind in fleets.demand.traffic.classes]
    found: list[Prompt] = []
    for fleet, kinds in zip(fleets.groups, lanes, strict=True):
        demand = fleet.demand
        position = np.array([order.index(name) for name in fleet.classes])
        found += prompts(
            kinds,
            _serving(fleet),
            tokens=demand.prompt_tokens,
            new_tokens=demand.new_tokens,
            media=demand.media,
            request_class=position[demand.traffic.class_index],
            images=np.asarray(demand.traffic.images, float),
        )
    return found


def _open(fleets: Fleets, lanes: list[tuple[Kind, ...]]) -> OpenArrivals:
    """Random requests of all classes; their outputs are padded to the same number of points."""
    parts = [fleet.demand.traffic for fleet in fleets.groups]
    width = max(part.output_tokens.shape[1] for part in parts)
    traffic, bursts = fleets.demand.traffic, fleets.demand.traffic.bursts
    return OpenArrivals(
        rate_rps=traffic.rate_rps,
        scv=traffic.arrival_scv,
        prompts=_points(fleets, lanes),
        weight=np.concatenate([part.weight * part.rate_rps for part in parts]),
        output_tokens=np.concatenate([_wide(part.output_tokens, width) for part in parts]),
        output_weight=np.concatenate([_wide(part.output_weight, width) for part in parts]),
        bursts=None
        if bursts is None
        else TwoRates(bursts.factor, bursts.share, bursts.length_s, bursts.calm_factor),
    )


def _wide(rows: np.ndarray, width: int) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])))


def _replay(
    fleets: Fleets, lanes: list[tuple[Kind, ...]], trace: Path, seed: int
) -> Iterator[Arrival]:
    traffic: Traffic = fleets.demand.traffic
    served = []
    for fleet, kinds in zip(fleets.groups, lanes, strict=True):
        positions = tuple(i for i, kind in enumerate(traffic.classes) if kind.name in fleet.classes)
        served.append(Lane(kinds, _serving(fleet), positions))
    return Replay(tuple(served), fleets.demand.model, traffic, seed).of(trace)
