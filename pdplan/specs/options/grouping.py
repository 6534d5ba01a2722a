"""Requests told apart by what they carry, so that they can have pools of their own."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from pdplan.specs.base import Spec


class Grouping(Spec):
    """What tells groups of requests apart; `search.split` decides which groups share pools.

    With it a plan says of each pool how much more than its mean demand it can take, and how far
    prefill and decode are out of balance.
    """

    by: Literal["modality", "class"]
    """`modality`: each class falls into its requests with and without media, of the same
    objectives; `class`: groups are the classes of the workload."""

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, data: Any) -> Any:  # noqa: ANN401  (raw YAML)
        return data if isinstance(data, Mapping) else {"by": data}
