"""A profile's constants as a flat table of names and numbers that a fit can move.

A name is a path into one generation of a profile: `hopper:gemm.mfu.bf16`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from pdplan.specs.engine import EngineSpec, Generation

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Law:
    """How far a constant may move and how far it is expected to, as factors."""

    least: float
    most: float
    spread: float
    """Standard deviation of its logarithm about a profile's value, before any measurement."""


SHARE = Law(0.02, 1.0, 0.2)
GROUPED = Law(0.02, 1.0, 0.5)
"""Grouped products: kernels of one accelerator and format differ by a factor of five."""
TIME = Law(1e-7, 0.5, 0.7)
LAWS = {
    "norm": Law(1.0, 16.0, 0.4),
    "attention_fill": Law(10.0, 1e6, 0.5),
    "prefill_fill": Law(10.0, 1e6, 0.5),
    "padding": Law(0.1, 512.0, 0.7),
    "skew": Law(0.05, 2.0, 0.3),
    "clump": Law(1.0, 8.0, 0.5),
    "imbalance": Law(0.05, 4.0, 0.3),
    "prefill_layer": Law(1e-7, 0.01, 0.3),
    "prefill_launch": Law(1e-7, 1e-3, 0.5),
    "request": Law(1e-4, 0.5, 0.4),
}
"""Of constants that are neither shares of a peak nor times, by their last name."""
SHARES = (
    "mfu", "mbu", "efficiency", "prefill_mfu", "prefill_mbu", "decode_mbu", "latent_mfu",
    "latent_mbu", "elementwise_mbu", "attention_mfu", "library_efficiency", "exchange_efficiency",
)  # fmt: skip
FIXED = (
    "gemm.norm", "experts.skew", "memory", "network.layerwise", "collectives.limit",
    "collectives.contention",
)  # fmt: skip
"""Not told by latencies: how memory is divided, what the engine does."""


def constants(generation: Generation) -> dict[str, float]:
    """Every fitted number of a generation by its path.

    >>> from pdplan.specs.engine import load_engine
    >>> constants(load_engine("vllm").generations["hopper"])["encoder.layer"] < 1e-4
    True
    """
    return dict(_leaves(generation, ""))


def _leaves(spec: BaseModel, prefix: str) -> Iterator[tuple[str, float]]:
    for name in type(spec).model_fields:
        value, path = getattr(spec, name), prefix + name
        if path in FIXED or isinstance(value, (str, bool)):
            continue
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{path}.")
        elif isinstance(value, Mapping) and "." in path:
            yield from ((f"{path}.{key}", float(number)) for key, number in value.items())
        elif isinstance(value, float):
            yield path, value


def law(path: str) -> Law:
    """Bounds and expectation of a constant."""
    names = path.split(".")
    if path.startswith("experts.mfu"):
        return GROUPED
    for name in reversed(names):
        if name in LAWS:
            return LAWS[name]
        if name in SHARES:
            return SHARE
    return TIME


def matches(name: str, wanted: str) -> bool:
    """Whether a constant is meant by a name or by the beginning of one, in whole words.

    >>> matches("hopper:gemm.mfu.bf16", "gemm.mfu"), matches("hopper:gemm.mfu.bf16", "ada:gemm")
    (True, False)
    """
    path = name if ":" in wanted else name.partition(":")[2]
    return f"{path}.".startswith(f"{wanted}.")


def moved(generation: Generation, changes: Mapping[str, float]) -> Generation:
    """The generation with some constants replaced, taken as they are and without intervals."""
    found = _moved(generation, {tuple(path.split(".")): v for path, v in changes.items()})
    told = {path: ends for path, ends in generation.intervals.items() if path not in changes}
    return found.model_copy(update={"intervals": told})


def _moved(spec: T, changes: Mapping[tuple[str, ...], float]) -> T:
    update: dict[str, object] = {}
    for name in {path[0] for path in changes}:
        value = getattr(spec, name)
        inner = {path[1:]: v for path, v in changes.items() if path[0] == name}
        if isinstance(value, BaseModel):
            update[name] = _moved(value, inner)
        elif isinstance(value, Mapping):
            keys = {str(key): key for key in value}
            update[name] = dict(value) | {keys[path[0]]: v for path, v in inner.items()}
        else:
            update[name] = inner[()]
    return spec.model_copy(update=update)


def with_constants(engine: EngineSpec, changes: Mapping[str, float]) -> EngineSpec:
    """The profile with some constants replaced, by `generation:path`."""
    generations = dict(engine.generations)
    split = {name: name.split(":", 1) for name in changes}
    for generation in sorted({first for first, _ in split.values()}):
        own = {path: changes[name] for name, (g, path) in split.items() if g == generation}
        generations[generation] = moved(generations[generation], own)
    return engine.model_copy(update={"generations": generations})
