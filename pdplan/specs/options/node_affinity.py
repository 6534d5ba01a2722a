"""Prefill and decode in the same node, joined by its own links."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import BytesPerSecond, Spec

Affinity = Literal["high", "low", "auto"]


class NodeAffinity(Spec):
    """Whether prefill and decode instances must share a node, for the links inside it."""

    kind: Affinity = "auto"
    """high: any node, KV over the network. low: each node holds both, with equal pipelines whose
    stages lie side by side, KV over the node's own links. auto: whichever serves better."""
    network: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """One-way bandwidth from one node to others, of all its accelerators together; none is the
    hardware's."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:  # noqa: ANN401  (raw YAML)
        return {"kind": data} if isinstance(data, str) else data
