"""What an engine profile must not say: rates above the datasheet's, names that lead nowhere."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, Field

from pdplan.specs.base import suggestion
from pdplan.specs.source import Key

if TYPE_CHECKING:
    from pdplan.specs.engine import EngineSpec, Generation


def _share_of(what: str) -> AfterValidator:
    def check(value: float) -> float:
        if not 0 < value <= 1:
            limit = "at most 1" if value > 1 else "above 0"
            message = f"must be {limit}: a share of {what}; got {value:g}"
            raise ValueError(message)
        return value

    return AfterValidator(check)


_LIMITS = Field(json_schema_extra={"exclusiveMinimum": 0, "maximum": 1})
PeakShare = Annotated[float, _share_of("the datasheet peak"), _LIMITS]
"""An achieved rate over the datasheet's: above 1 a prediction could beat the roofline."""
MemoryShare = Annotated[float, _share_of("device memory"), _LIMITS]


def problems(engine: "EngineSpec") -> Iterator[tuple[Key, str]]:
    """What is wrong across the keys of a profile: where, and what."""
    known = list(engine.generations)
    if engine.unknown not in known:
        yield ("unknown",), _no_generation(engine.unknown, known)
    for name, lender in engine.transferred.items():
        if lender not in known:
            yield ("transferred", name), _no_generation(lender, known)
        if name in known:
            yield ("transferred", name), "has constants of its own and need not borrow any"
    for name, constants in engine.generations.items():
        for path, message in _intervals(constants):
            yield ("generations", name, "intervals", path), message


def _no_generation(name: str, known: list[str]) -> str:
    hint = suggestion(name, known) or f"; they are {', '.join(known)}"
    return f"'{name}' is no generation of this profile{hint}"


def _intervals(constants: "Generation") -> Iterator[tuple[str, str]]:
    values = dict(_numbers(constants, ""))
    for path, (low, high) in constants.intervals.items():
        if path not in values:
            yield path, "is no constant" + suggestion(path, list(values))
        elif not low - 1e-6 * abs(low) <= values[path] <= high + 1e-6 * abs(high):
            yield path, f"[{low:g}, {high:g}] does not hold the constant, {values[path]:g}"


def _numbers(spec: BaseModel, prefix: str) -> Iterator[tuple[str, float]]:
    """Every constant of the groups of a generation by its path, such as `gemm.mfu.bf16`."""
    for name in type(spec).model_fields:
        value, path = getattr(spec, name), prefix + name
        if isinstance(value, BaseModel):
            yield from _numbers(value, f"{path}.")
        elif isinstance(value, Mapping) and prefix:
            yield from ((f"{path}.{key}", float(number)) for key, number in value.items())
        elif isinstance(value, int | float) and prefix:
            yield path, float(value)
