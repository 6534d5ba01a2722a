"""How processes on the same devices divide their compute units."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import Fraction, Spec, suggestion
from pdplan.specs.base import Share as Ratio

STAGES = "MEPDAF"
SENSITIVITY = {"E": 1.0, "P": 1.0, "D": 0.6284 / 1.0102}
"""Part of a stage's time that grows as its share of the compute units falls; the rest does not.
Decode: fit of measured steps .6284 / y + .3818 (arXiv 2504.19867, figure 10); the others are bound
by compute."""
INTERFERENCE = {"EP": 1.25, "ED": 1.10, "PD": 1.50}
"""Slowdown of either stage while the other runs beside it unhindered: modelling choices in the
order of figure 6 of arXiv 2601.11590, least where one is bound by compute and one by memory."""
Slowdown = Annotated[float, Field(ge=1, le=100)]


class Sharing(Spec):
    """How processes on the same devices divide their compute units."""

    shares: Literal["auto", "divided", "none"] | dict[str, Fraction] = "auto"
    """divided: searched on a grid of `step`; none: uncontrolled, they slow each other by
    `interference`; auto: the better of both; or the share of each process, e.g. {P: 0.6, D: 0.4}.
    """
    step: Annotated[float, Field(ge=0.01, le=0.5)] = 0.1
    """Of the grid of shares."""
    sensitivity: dict[str, Ratio] = Field(default={})
    """Part of a stage's time that goes as 1 / share; by stage."""
    interference: dict[str, Slowdown] = Field(default={})
    """Slowdown of two stages while both run uncontrolled; by pair of stages."""

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, data: Any) -> Any:  # noqa: ANN401  (raw YAML)
        return {"shares": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _known(self) -> "Sharing":
        for stage in self.sensitivity:
            if stage not in SENSITIVITY:
                message = f"sensitivity: '{stage}' is not a stage; known are E, P, D"
                raise ValueError(message)
        for pair in self.interference:
            if _ordered(pair) is None:
                hint = suggestion(pair, tuple(INTERFERENCE))
                message = f"interference: '{pair}' is not a pair of stages such as PD{hint}"
                raise ValueError(message)
        if isinstance(self.shares, dict):
            total = sum(self.shares.values())
            if total > 1 + 1e-9:
                message = f"shares: together {total:g}; at most 1 (none: uncontrolled sharing)"
                raise ValueError(message)
        return self

    def stage_sensitivity(self, stage: str) -> float:
        """Part of a stage's time that goes as 1 / share.

        >>> round(Sharing().stage_sensitivity("D"), 4)
        0.6221
        """
        return self.sensitivity.get(stage, SENSITIVITY.get(stage, 1.0))

    def slowdown(self, stage: str, other: str) -> float:
        """Slowdown of a stage while another runs beside it.

        >>> Sharing(interference={"DP": 2}).slowdown("P", "D"), Sharing().slowdown("D", "E")
        (2.0, 1.1)
        """
        known = INTERFERENCE | {_ordered(pair): s for pair, s in self.interference.items()}
        return float(known.get(_ordered(stage + other), 1.0))

    def share_of(self, process: str) -> float | None:
        """Share given to a process, if shares are given.

        >>> Sharing(shares={"P": 0.6, "D": 0.4}).share_of("D"), Sharing().share_of("D")
        (0.4, None)
        """
        return self.shares.get(process) if isinstance(self.shares, Mapping) else None


def _ordered(pair: str) -> str | None:
    """Write a pair of different stages in the order of a request."""
    if len(pair) != 2 or pair[0] == pair[1] or set(pair) - set(STAGES):
        return None
    return "".join(sorted(pair, key=STAGES.index))


def concrete(sharing: Sharing | None) -> tuple[Sharing, ...]:
    """Ways of sharing to try: where nothing is said, both divided and uncontrolled.

    >>> [way.shares for way in concrete(None)]
    ['divided', 'none']
    """
    asked = sharing or Sharing()
    if asked.shares != "auto":
        return (asked,)
    return tuple(asked.model_copy(update={"shares": way}) for way in ("divided", "none"))
