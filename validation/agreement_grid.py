"""Fleets on which the closed forms are held against the simulation, and how a cell is made."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from pdplan.planner import evaluate
from pdplan.specs.plan_file import PlanSpec, load_plan

LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
LENGTHS: dict[str, dict[str, Any]] = {
    "constant": {"isl": 1000, "osl": 200},
    "chat": {
        "isl": {"lognormal": {"mean": 1000, "cv": 0.8}},
        "osl": {"lognormal": {"mean": 200, "cv": 0.8}},
    },
    "heavy": {
        "isl": {"lognormal": {"mean": 1000, "cv": 2.0}},
        "osl": {"lognormal": {"mean": 200, "cv": 2.0}},
    },
    "prompts": {
        "isl": {"lognormal": {"mean": 4000, "cv": 1.2}},
        "osl": {"lognormal": {"mean": 50, "cv": 1.0}},
    },
    "answers": {
        "isl": {"lognormal": {"mean": 100, "cv": 1.0}},
        "osl": {"lognormal": {"mean": 1000, "cv": 0.5}},
    },
}
IMAGES = {"count": {"histogram": {"values": [0, 1, 2], "weights": [2, 5, 3]}}} | {
    "width": 1280,
    "height": 960,
}
TEXT_MODEL, IMAGE_MODEL, HARDWARE = "llama-3.1-8b", "qwen2.5-vl-7b", "h100-sxm"
NAMES = {"E": "encode", "P": "prefill", "D": "decode", "EP": "encode-prefill"}
TRIAL_RPS = 1e-3


@dataclass(frozen=True, slots=True)
class Cell:
    """One fleet under one load."""

    placement: str
    scheduler: str
    lengths: str
    instances: int
    """Of the pool that binds; the others follow from `slack`."""
    binding: str
    """Stages of the pool that the load refers to."""
    load: float
    slack: float = 1.6
    """Capacity of the other pools over that of the binding one."""
    max_batch: int = 128
    arrivals: str = "poisson"
    routing: str = "least_loaded"

    @property
    def name(self) -> str:
        """Short and unique."""
        parts = [self.placement, self.scheduler, self.lengths, str(self.instances), self.binding]
        parts += [f"{self.load:g}", str(self.max_batch), self.arrivals, self.routing]
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Sizing:
    """Instances of a cell's pools, in order, and its rate: fixed once it has been simulated."""

    counts: tuple[int, ...]
    rate_rps: float


def spec_of(cell: Cell, sizing: Sizing) -> PlanSpec:
    """The cell's fleet at its rate."""
    counts = dict(zip(cell.placement.split("-"), sizing.counts, strict=True))
    return _spec(cell, counts, sizing.rate_rps)


def with_objectives(spec: PlanSpec, ttft_s: float, tpot_s: float) -> PlanSpec:
    """The same fleet with both objectives at the 90th percentile."""
    classes = tuple(
        replace(kind, ttft_s=ttft_s, tpot_s=tpot_s, percentiles=(90,))
        for kind in spec.traffic.classes
    )
    return replace(spec, traffic=replace(spec.traffic, classes=classes))


def at_rate(spec: PlanSpec, rate_rps: float) -> PlanSpec:
    """The same fleet at another rate."""
    return replace(spec, traffic=replace(spec.traffic, rate_rps=rate_rps))


def sizing_of(cell: Cell) -> Sizing:
    """Size a cell by the closed form's capacities."""
    pools = cell.placement.split("-")
    counts = dict.fromkeys(pools, 1)
    one = _spec(cell, counts, TRIAL_RPS)
    each = {p.stages: p.capacity_rps for p in evaluate(one).pools}
    wanted = cell.instances * each[cell.binding]
    for stages in pools:
        share = 1.0 if stages == cell.binding else cell.slack
        counts[stages] = max(1, round(share * wanted / each[stages]))
    counts[cell.binding] = cell.instances
    trial = evaluate(_spec(cell, counts, TRIAL_RPS))
    capacity = min(pool.capacity_rps for pool in trial.pools)
    busiest = max((hop.link_utilization for hop in trial.transfers), default=0.0)
    if busiest > 0:
        capacity = min(capacity, TRIAL_RPS / busiest)
    return Sizing(tuple(counts.values()), float(f"{cell.load * capacity:.6g}"))


def _spec(cell: Cell, counts: dict[str, int], rate_rps: float) -> PlanSpec:
    media = "E" in cell.placement
    workload: dict[str, Any] = {"rate": f"{rate_rps} req/s", **LENGTHS[cell.lengths]}
    if media:
        workload["images"] = IMAGES
    if cell.arrivals == "bursty":
        workload["burst"] = {"factor": 2.0, "share": 0.2, "length": "1 s"}
    elif cell.arrivals != "poisson":
        workload["arrival_scv"] = float(cell.arrivals)
    pools = []
    for stages, count in counts.items():
        options: dict[str, Any] = {"routing": cell.routing}
        if "P" in stages and "D" in stages:
            options["scheduler"] = cell.scheduler
        pool: dict[str, Any] = {
            "name": NAMES.get(stages, stages.lower()),
            "stages": stages,
            "hardware": HARDWARE,
            "instances": count,
            "options": options,
        }
        if "D" in stages:
            pool["max_batch"] = cell.max_batch
        pools.append(pool)
    plan = {
        "placement": cell.placement,
        "model": IMAGE_MODEL if media else TEXT_MODEL,
        "engine": "vllm",
        "workload": workload,
        "pools": pools,
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plan.yaml"
        path.write_text(yaml.safe_dump(plan, sort_keys=False))
        return load_plan(path)


def grid() -> list[Cell]:
    """Every placement; loads, lengths and counts in a fractional design."""
    counts = (1, 4, 16, 64)
    found = []
    text = [("PD", "chunked"), ("PD", "prefill_first"), ("PD", "layered"), ("P-D", "chunked")]
    for place, (placement, scheduler) in enumerate(text):
        for i, lengths in enumerate(LENGTHS):
            for j, load in enumerate(LOADS):
                if scheduler == "layered" and (i + j) % 2:
                    continue
                pools = placement.split("-")
                binding = pools[(i + j) % len(pools)]
                count = counts[(place + 2 * i + 3 * j) % 4]
                found.append(Cell(placement, scheduler, lengths, count, binding, load))
    media = ["EPD", "EP-D", "E-P-D", "E-PD"]
    for place, placement in enumerate(media):
        for i, lengths in enumerate(("constant", "chat", "heavy")):
            for j, load in enumerate(LOADS):
                if (i + j + place) % 2:
                    continue
                pools = placement.split("-")
                binding = pools[(i + j // 2) % len(pools)]
                count = counts[(place + i + j // 2) % (3 if binding == "E" else 4)]
                found.append(Cell(placement, "chunked", lengths, count, binding, load))
    for load in (0.5, 0.7, 0.8):
        for arrivals in ("bursty", "3.0", "0.3"):
            found.append(Cell("P-D", "chunked", "chat", 4, "P", load, arrivals=arrivals))
            found.append(Cell("PD", "chunked", "chat", 4, "PD", load, arrivals=arrivals))
        for routing in ("central", "round_robin", "random"):
            found.append(Cell("P-D", "chunked", "chat", 8, "P", load, routing=routing))
            found.append(Cell("P-D", "chunked", "chat", 8, "D", load, routing=routing))
            found.append(Cell("PD", "chunked", "chat", 8, "PD", load, routing=routing))
    return found
