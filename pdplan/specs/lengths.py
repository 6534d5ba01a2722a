"""How long things are: a number, a distribution or a column of a trace."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from pdplan.specs.base import Spec

FORMS = ("fixed", "uniform", "lognormal", "histogram", "trace")
MAX_LENGTH = 1e9

Amount = Annotated[float, Field(ge=0, le=MAX_LENGTH, strict=True)]
Positive = Annotated[float, Field(gt=0, le=MAX_LENGTH, strict=True)]


class Uniform(Spec):
    """Every value between two ends is equally likely."""

    min: Amount
    max: Amount

    @model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        if self.min > self.max:
            message = f"min {self.min:g} is above max {self.max:g}"
            raise ValueError(message)
        return self


class Lognormal(Spec):
    """Skewed to the right, as prompts and answers are."""

    mean: Positive
    cv: Annotated[float, Field(ge=0, le=20, strict=True)]
    """Standard deviation divided by the mean."""


class Histogram(Spec):
    """Listed values with listed weights; the weights need not sum to one."""

    values: Annotated[tuple[Amount, ...], Field(min_length=1)]
    weights: Annotated[tuple[Amount, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _match(self) -> "Histogram":
        if len(self.values) != len(self.weights):
            message = (
                f"needs one weight for each value; got {len(self.values)} values "
                f"and {len(self.weights)} weights"
            )
            raise ValueError(message)
        if not sum(self.weights) > 0:
            message = "weights: at least one must be above 0"
            raise ValueError(message)
        return self


class Length(Spec):
    """Exactly one of the forms; a bare number is `fixed`."""

    fixed: Amount | None = None
    uniform: Uniform | None = None
    lognormal: Lognormal | None = None
    histogram: Histogram | None = None
    trace: Annotated[str, Field(min_length=1)] | None = None
    """CSV or JSONL file, relative to the file that names it."""
    column: str | None = None
    """Column of the trace; for `isl` and `osl` the usual names are found by themselves."""

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, value: Any) -> Any:  # noqa: ANN401  (raw YAML)
        if isinstance(value, Length | dict):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            message = f"needs a number or one of {', '.join(FORMS)}; got {value!r}"
            raise ValueError(message)
        if isinstance(value, float) and not math.isfinite(value):
            message = f"must be a finite number; got {value}"
            raise ValueError(message)
        if not 0 <= value <= MAX_LENGTH:
            message = f"must be between 0 and {MAX_LENGTH:g}; got {value}"
            raise ValueError(message)
        return {"fixed": value}

    @model_validator(mode="after")
    def _one_form(self) -> "Length":
        given = [form for form in FORMS if getattr(self, form) is not None]
        if len(given) != 1:
            message = (
                f"needs exactly one of {', '.join(FORMS)}; got {' and '.join(given) or 'none'}"
            )
            raise ValueError(message)
        if self.column is not None and self.trace is None:
            message = "column: only a trace has columns"
            raise ValueError(message)
        return self

    def lowest(self) -> float | None:
        """Smallest value that is stated; None where only reading a trace would tell."""
        if self.uniform is not None:
            return self.uniform.min
        if self.lognormal is not None:
            return self.lognormal.mean
        if self.histogram is not None:
            used = zip(self.histogram.values, self.histogram.weights, strict=True)
            return min(value for value, weight in used if weight > 0)
        return self.fixed


def _at_least_one(length: Length) -> Length:
    lowest = length.lowest()
    if lowest is not None and lowest < 1:
        message = f"must be at least 1; got {lowest:g}"
        raise ValueError(message)
    return length


def _positive(length: Length) -> Length:
    if length.lowest() == 0:
        message = "must be above 0; got 0"
        raise ValueError(message)
    return length


def _has_column(length: Length) -> Length:
    if length.trace is not None and length.column is None:
        message = "a trace needs its column named here, for example 'column: images'"
        raise ValueError(message)
    return length


Tokens = Annotated[Length, AfterValidator(_at_least_one)]
Number = Annotated[Length, AfterValidator(_has_column)]
"""How many of something; none is a number too."""
Duration = Annotated[Length, AfterValidator(_has_column), AfterValidator(_positive)]
"""Seconds, as the key says."""
