"""Integer program: exactly one column per pool at least objective, proven optimal."""

from pdplan.solver.columns import (
    ACCEPT,
    MATCH,
    Accept,
    BoolArray,
    Bound,
    Choice,
    FloatArray,
    IntArray,
    Pool,
    Rental,
)
from pdplan.solver.diagnose import Diagnosis, Relaxation, diagnose
from pdplan.solver.program import write_lp
from pdplan.solver.search import choose

__all__ = [
    "ACCEPT",
    "MATCH",
    "Accept",
    "BoolArray",
    "Bound",
    "Choice",
    "Diagnosis",
    "FloatArray",
    "IntArray",
    "Pool",
    "Relaxation",
    "Rental",
    "choose",
    "diagnose",
    "write_lp",
]
