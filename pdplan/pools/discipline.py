"""How the requests of a pool are spread over its instances and interleaved on one."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Discipline:
    """How requests are spread over instances and interleaved on one."""

    routing: str = "least_loaded"
    scheduler: Literal["chunked", "prefill_first", "layered"] = "chunked"
    parallel_encode: int = 1
    """Instances of an E pool that share the images of one request."""
