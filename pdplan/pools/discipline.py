"""How the requests of a pool are spread over its instances and interleaved on one."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Discipline:
    """How requests are spread over instances and interleaved on one."""

    routing: str = "least_loaded"
    scheduler: Literal["chunked", "prefill_first", "layered"] = "chunked"
    parallel_encode: int = 1
    """Instances of an E pool that share the media of one request, if there are as many."""

    def together(self, stages: str, instances: int) -> int:
        """Instances of a pool that share the media of one request.

        >>> Discipline(parallel_encode=4).together("E", 3), Discipline().together("P", 3)
        (3, 1)
        """
        return min(self.parallel_encode, instances) if stages == "E" else 1
