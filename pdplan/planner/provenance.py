"""Where each number of a plan comes from, quantity by quantity and hardware by hardware."""

from collections.abc import Iterator, Mapping, Sequence

from pdplan.plan import Origin, Provenance
from pdplan.planner.fleet import Fleet, Fleets, Member
from pdplan.planner.measured_notes import measured_provenance
from pdplan.specs.dtypes import DTYPE_BYTES
from pdplan.specs.engine import Generation
from pdplan.specs.hardware import HardwareSpec
from pdplan.stages.machine import compute_dtype

_STAGES = {"prefill": "P", "decode": "D", "latent": "D"}
"""Constants that one stage uses, by the first word of their names."""


def provenance(fleets: Fleets) -> tuple[Provenance, ...]:
    """Where each kind of number comes from."""
    fleet = fleets.first
    workload = f"workload {fleet.workload.get('name', 'inline')}"
    origin: Origin = "user" if fleet.model.own else "literature"
    found = [
        Provenance(f"{workload}: traffic, objectives", "user", "as asked"),
        Provenance(f"model {fleet.model_id}: architecture", origin, fleet.model.source),
    ]
    found += measured_provenance(fleet)
    for name in sorted({m.pool.shape.hardware for m in fleets.members}):
        members = [m for m in fleets.members if m.pool.shape.hardware == name]
        spec = fleet.hardware[name]
        found += _datasheet(name, spec)
        found += _price(name, spec, members[0])
        found += _achieved(fleets, name, members)
    return tuple(found)


def gathered(rows: Sequence[Provenance]) -> list[Provenance]:
    """What is said of one thing by one kind of source as one row; a price stays apart."""
    groups: dict[tuple[str, Origin, bool], list[Provenance]] = {}
    for row in rows:
        about, _, what = row.quantity.partition(": ")
        groups.setdefault((about, row.origin, what == "price"), []).append(row)
    found = []
    for (about, origin, _), group in groups.items():
        told = ", ".join(r.quantity.partition(": ")[2] for r in group if ": " in r.quantity)
        sources = "; ".join(dict.fromkeys(row.source for row in group))
        found.append(Provenance(f"{about}: {told}" if told else about, origin, sources))
    return found


def _datasheet(name: str, spec: HardwareSpec) -> Iterator[Provenance]:
    origin: Origin = "user" if spec.own else "datasheet"
    links = dict.fromkeys(link.source for link in (spec.scale_up, spec.scale_out) if link)
    for quantity, source in (
        ("peak compute", spec.compute.source),
        ("memory bandwidth", spec.memory.source),
        ("memory capacity", spec.memory.source),
        ("links", "; ".join(links)),
    ):
        if source:
            yield Provenance(f"{name}: {quantity}", origin, source)


def _price(name: str, spec: HardwareSpec, member: Member) -> Iterator[Provenance]:
    if member.usd_per_gpu_hour is not None:
        given = spec.own or member.price_source == "user"
        source = member.price_source if member.price_source != "user" else "as given"
        yield Provenance(f"{name}: price", "user" if given else "literature", source or "as given")


def _achieved(fleets: Fleets, name: str, members: Sequence[Member]) -> Iterator[Provenance]:
    """What the engine makes of the datasheet, by group of constants."""
    fleet = fleets.first
    generation = fleet.hardware[name].generation
    constants, origin = fleet.engine.constants(generation, name)
    lender = fleet.engine.lender(generation)
    for quantity, group in _groups(fleets, members).items():
        told = [path for path in constants.intervals if path.partition(".")[0] == group]
        fitted = any(_used(fleet, constants, path, members) for path in told)
        own: Origin = origin
        source = f"engine {fleet.engine_id}, {lender}: {constants.source}"
        if origin == "transferred":
            missing = generation if lender != generation else name
            lent = ", ".join(constants.measured) if lender == generation else lender
            source = f"engine {fleet.engine_id}: borrowed from {lent}; {missing} is not measured"
        elif origin != "user" and constants.intervals:
            own = "fitted" if fitted else "literature"
        yield Provenance(f"{name}: {quantity}", own, source)


def _groups(fleets: Fleets, members: Sequence[Member]) -> dict[str, str]:
    """Quantities that pools use, and the group of constants behind each."""
    fleet = fleets.first
    stages = "".join(m.pool.stages for m in members)
    language = "P" in stages or "D" in stages
    shapes = [m.pool.shape for m in members]
    used = {
        "GEMM efficiency": ("gemm", True),
        "attention": ("attention", language),
        "experts": ("experts", language and fleet.model.moe is not None),
        "encoder": ("encoder", "E" in stages and fleets.demand.media.any),
        "collectives": ("collectives", any(shape.gpus > 1 for shape in shapes)),
        "overheads": ("overhead", True),
        "network": ("network", any(len(group.members) > 1 for group in fleets.groups)),
        "KV capacity": ("memory", language),
    }
    return {quantity: group for quantity, (group, needed) in used.items() if needed}


def _used(fleet: Fleet, constants: Generation, path: str, members: Sequence[Member]) -> bool:
    """Whether some pool uses a constant: that of its number formats, of its stages."""
    *parents, last = path.split(".")
    if last in DTYPE_BYTES or last == "fp4":
        table: object = constants
        for part in parents:
            table = getattr(table, part)
        assert isinstance(table, Mapping)
        shapes = [m.pool.shape for m in members]
        formats = {s.moe_dtype if parents[0] == "experts" else s.weight_dtype for s in shapes}
        if parents[-1] == "mfu":
            hardware = fleet.hardware[shapes[0].hardware]
            formats = {compute_dtype(hardware, dtype) or dtype for dtype in formats}
        return last in (formats & table.keys() or {"bf16"})
    word = last.partition("_")[0]
    if word == "latent" and all(group.kind != "latent" for group in fleet.model.attention):
        return False
    return word not in _STAGES or any(_STAGES[word] in m.pool.stages for m in members)
