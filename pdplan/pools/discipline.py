"""How the requests of a pool are spread over its instances and interleaved on one."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Discipline:
    """How requests are spread over instances and interleaved on one."""

    routing: str = "least_loaded"
    scheduler: Literal["chunked", "prefill_first"] = "chunked"
