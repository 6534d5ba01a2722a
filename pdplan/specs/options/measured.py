"""Measured throughput of instances in the place of modelled times."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pdplan.specs.base import BytesPerSecond, Count, Fraction, Seconds, Spec

Queue = Literal["mm1", "md1", "mg1", "mmc"]
Rounding = Literal["ceil", "nearest", "min_attain"]
Positive = Annotated[float, Field(gt=0)]

LITTLE = 0.25
"""Largest gap between a measured batch and throughput x TPOT, which are the same by Little's law
but for what the measurement rounds."""


class MeasuredPrefill(Spec):
    """Prefill instances as benchmarked at full load."""

    tokens_per_s: Positive
    """Prompt tokens that one busy instance computes a second."""
    accelerators: Count
    """Of one instance."""


class DecodePoint(Spec):
    """One run at a steady batch; two of batch, TPOT and throughput tell the third."""

    tpot: Annotated[Seconds, Field(gt=0)]
    batch: Positive | None = None
    """Running requests; none is throughput x TPOT."""
    tokens_per_s: Positive | None = None
    """Output tokens of one instance a second; none is batch / TPOT."""

    @model_validator(mode="after")
    def _told(self) -> "DecodePoint":
        if self.batch is None and self.tokens_per_s is None:
            message = "tpot: needs batch or tokens_per_s beside it"
            raise ValueError(message)
        if self.batch is not None and self.tokens_per_s is not None:
            running = self.tokens_per_s * self.tpot
            if abs(running / self.batch - 1) > LITTLE:
                message = (
                    f"batch: {self.batch:g} running requests do not go with {self.tokens_per_s:g} "
                    f"tokens/s at {self.tpot * 1e3:g} ms a token: those are {running:.3g}"
                )
                raise ValueError(message)
        return self

    @property
    def running(self) -> float:
        """Requests in the batch: throughput x TPOT where throughput is known."""
        if self.tokens_per_s is not None:
            return self.tokens_per_s * self.tpot
        assert self.batch is not None
        return self.batch


class MeasuredDecode(Spec):
    """Decode instances as benchmarked batch by batch."""

    accelerators: Count
    """Of one instance."""
    load: Literal["fluctuating", "steady"] = "fluctuating"
    """Whether the batch varies as requests come and go, and they wait where it is full; or is
    always that at which the instance keeps up, as in the benchmark."""
    curve: Annotated[tuple[DecodePoint, ...], Field(min_length=1)]
    """By rising batch. Below the first point TPOT is taken to stay what it is there; the last point
    is the largest batch."""

    @model_validator(mode="after")
    def _rising(self) -> "MeasuredDecode":
        for a, b in pairwise(self.curve):
            if b.running <= a.running or b.tpot < a.tpot:
                message = "curve: batch must rise from point to point, and TPOT never fall"
                raise ValueError(message)
        if self.curve[-1].running < 1:
            message = "curve: its largest batch is below one request"
            raise ValueError(message)
        return self


class Measured(Spec):
    """Measured throughput of instances in the place of modelled times."""

    prefill: MeasuredPrefill
    decode: MeasuredDecode
    hardware: str | None = None
    """Kind of accelerator that was measured; none is every kind on offer."""
    overhead: Annotated[Seconds, Field(ge=0)] = 0.1
    """Scheduling and KV transfer of a request, part of its TTFT."""
    link: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    """Bandwidth over which KV is sent: adds prompt KV / link to the overhead."""
    queue: Queue = "mm1"
    """Service of prefill: exponential, constant or as prompts vary; mmc is exponential from one
    queue, the others from one queue an instance."""
    rounding: Rounding = "ceil"
    """What becomes of fractions of instances: always one more, the nearest whole number, or as few
    as carry `served_share`."""
    served_share: Fraction | None = None
    """Share of the traffic that the fleet must carry within its objectives under min_attain."""
    source: str = "measured by the user"

    @model_validator(mode="after")
    def _share_where_it_counts(self) -> "Measured":
        if (self.served_share is not None) != (self.rounding == "min_attain"):
            message = "served_share: goes with 'rounding: min_attain', and that with it"
            raise ValueError(message)
        return self
