"""The common ground of all specs: frozen pydantic models, unit-bearing fields, clear errors."""

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from pdplan.errors import Problem, SpecError
from pdplan.specs.source import Document, Key, shown
from pdplan.units import parse_quantity


class Spec(BaseModel):
    """A frozen mapping of known keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
    _own: bool = PrivateAttr(default=False)

    @property
    def own(self) -> bool:
        """Whether it was read from a file of the user's own, not from a bundled one."""
        return self._own

    def marked(self, *, own: bool) -> Self:
        """Note whether it is the user's own."""
        self._own = own
        return self


def _quantity(dimension: str) -> BeforeValidator:
    def read(value: object) -> float:
        return parse_quantity(value, dimension)

    vars(read)["dimension"] = dimension
    return BeforeValidator(read, json_schema_input_type=str)


def dimension_of(metadata: object) -> str | None:
    """Dimension of the quantities that a field's metadata reads, if it reads any."""
    found = getattr(getattr(metadata, "func", None), "dimension", None)
    return found if isinstance(found, str) else None


Bytes = Annotated[float, _quantity("bytes")]
BytesPerSecond = Annotated[float, _quantity("bytes_per_s")]
FlopsPerSecond = Annotated[float, _quantity("flops_per_s")]
Seconds = Annotated[float, _quantity("s")]
RequestsPerSecond = Annotated[float, _quantity("rps")]
UsdPerHour = Annotated[float, _quantity("usd_per_hour")]
Usd = Annotated[float, _quantity("usd")]
Watts = Annotated[float, _quantity("w")]
PerSecond = Annotated[float, _quantity("hz")]
Pixels = Annotated[float, _quantity("pixels")]
Count = Annotated[int, Field(gt=0, le=10**12, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]

S = TypeVar("S", bound=BaseModel)


def validate(document: Document, schema: type[S], data: object = None, at: Key = ()) -> S:
    """Build `schema` from a document (or from `data` found at key `at` in it); raises SpecError."""
    try:
        return schema.model_validate(document.data if data is None else data)
    except ValidationError as error:
        raise SpecError(*_problems(document, schema, error, at)) from None


def suggestion(wrong: str, known: Sequence[str]) -> str:
    """Write `; did you mean 'x'?` where one known name is near, else nothing."""
    near = [name for name in known if wrong and name.startswith(wrong)][:4]
    near = near or difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""


def _problems(
    document: Document, schema: type[BaseModel], error: ValidationError, at: Key
) -> list[Problem]:
    """All of a file's problems in the order of its lines."""
    found: dict[str, Problem] = {}
    items = error.errors(include_url=False)
    for item in items:
        if item["type"] == "too_short" and any(
            _inside(other["loc"], item["loc"]) for other in items
        ):
            continue  # it is short only of the members that are told to be wrong
        key = at + _real_key(document, at, item["loc"])
        message = _message(schema, item)
        inner, colon, rest = message.partition(": ")
        if item["type"] == "value_error" and colon and (*key, inner) in document.lines:
            key, message = (*key, inner), rest  # a check across keys names the one to change
        problem = document.problem(key, message)
        found.setdefault(str(problem), problem)
    return sorted(found.values(), key=lambda problem: problem.line or 0)


def _inside(loc: tuple[str | int, ...], of: tuple[str | int, ...]) -> bool:
    return len(loc) > len(of) and loc[: len(of)] == of


def _real_key(document: Document, at: Key, loc: tuple[str | int, ...]) -> Key:
    """Drop the parts of pydantic's location that are names of union members, not keys."""
    key: Key = ()
    last = len(loc) - 1
    for i, part in enumerate(loc):
        known = (*at, *key, part) in document.lines
        tag = isinstance(part, str) and ("[" in part or part[:1].isupper() or part in _SCALARS)
        if known or not tag or (i == last and not tag):
            key = (*key, part)
    return key


_SCALARS = frozenset({"int", "float", "str", "constrained-int", "constrained-float"})


def _message(schema: type[BaseModel], item: Any) -> str:  # noqa: ANN401  (pydantic's ErrorDetails)
    kind, found = item["type"], item["input"]
    if kind == "missing":
        return "missing; it has no default"
    if kind == "extra_forbidden":
        return "unknown key" + suggestion(str(item["loc"][-1]), _keys(schema, item["loc"][:-1]))
    text = str(item["msg"]).removeprefix("Value error, ").replace("Input should be", "must be", 1)
    if kind == "value_error":
        return text
    expected = _EXPECTED.get(kind) or text[0].lower() + text[1:]
    return f"{expected}; got {shown(found)}"


_EXPECTED = {
    "model_type": "expected a mapping of keys",
    "dict_type": "expected a mapping of keys",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "string_type": "expected text (quote it if it looks like a number)",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
}


def _keys(schema: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Names that are legal at a location: those of every spec class reachable there."""
    classes: list[Any] = [schema]
    for part in loc:
        nearer = [
            found
            for cls in classes
            if isinstance(part, str) and part in cls.model_fields
            for found in _classes(cls.model_fields[part].annotation)
        ]
        classes = nearer or classes
    return [name for cls in classes for name in cls.model_fields]


def _classes(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401  (any type expression)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [c for inner in getattr(annotation, "__args__", ()) for c in _classes(inner)]
