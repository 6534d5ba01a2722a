"""What of a prompt has been computed before: shared prefixes, and the history of sessions."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from pdplan.specs.base import Seconds, Spec
from pdplan.specs.lengths import Length, Number

MOST_TURNS = 1000
"""Longer sessions, as the tail of a distribution has them, are taken to be so long."""

HitShare = Annotated[float, Field(ge=0, le=1, strict=True)]


def _few_turns(length: Length) -> Length:
    lowest = length.lowest()
    if lowest is not None and lowest < 1:
        message = f"must be at least 1; got {lowest:g}"
        raise ValueError(message)
    stated: list[float] = [length.fixed or 0]
    if length.uniform is not None:
        stated.append(length.uniform.max)
    if length.histogram is not None:
        stated += length.histogram.values
    if length.lognormal is not None:
        stated.append(length.lognormal.mean)
    if max(stated) > MOST_TURNS:
        message = f"must be at most {MOST_TURNS}; got {max(stated):g}"
        raise ValueError(message)
    return length


Turns = Annotated[Number, AfterValidator(_few_turns)]


class Prefix(Spec):
    """Part of the prompt that is found in the prefix cache of every instance."""

    hit: HitShare | None = None
    """Share of the prompt's text tokens."""
    shared_hit: HitShare | None = None
    """The same where other classes share the pools, and so the cache; the same as `hit` unless
    said."""
    tokens: Number | None = None
    """Tokens, such as those of a shared system prompt; all but one of the prompt at most."""

    @model_validator(mode="after")
    def _one_form(self) -> "Prefix":
        if (self.hit is None) == (self.tokens is None):
            message = "needs either hit or tokens"
            raise ValueError(message)
        if self.shared_hit is not None and (self.hit is None or self.shared_hit > self.hit):
            message = f"shared_hit: needs a hit that is no smaller; got {self.hit}"
            raise ValueError(message)
        return self


class Session(Spec):
    """Requests that follow each other, each with all of the session so far in its prompt."""

    turns: Turns
    """Requests of a session."""
    think: Annotated[Seconds, Field(ge=0)]
    """Time between an answer and the next request, over which the cache is kept."""
    cached: HitShare = 1.0
    """Share of the history that is found in the cache."""
