"""A gateway that holds requests until an instance is idle."""

from typing import Annotated

from pydantic import Field, model_validator

from pdplan.specs.base import Seconds, Spec


class Gateway(Spec):
    """Requests wait at the gateway, not at instances: offered, turned down, offered again.

    Whoever waits is found by the first idle instance, so the fleet is planned with `routing:
    central`, whatever the scenario says. It acts on pools that prefill apart from decode.
    """

    retry: Annotated[Seconds, Field(gt=0)] | None = None
    """Time between two offers of the same request; who waits waits half of it longer on average."""
    timeout: Annotated[Seconds, Field(gt=0)] | None = None
    """Requests without a first token by then have failed; a plan says how many those are, and how
    many they would be with a queue at each instance."""

    @model_validator(mode="after")
    def _something(self) -> "Gateway":
        if self.retry is None and self.timeout is None:
            message = "needs retry or timeout"
            raise ValueError(message)
        return self
