"""Integer program: exactly one column per pool at least objective, proven optimal.

`choose` solves it, `diagnose` says why it cannot be solved, `write_lp` shows it. Names are loaded
when they are asked for.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ACCEPT": "columns",
    "MATCH": "columns",
    "Accept": "columns",
    "BoolArray": "columns",
    "Bound": "columns",
    "Choice": "columns",
    "FloatArray": "columns",
    "IntArray": "columns",
    "Pool": "columns",
    "Rental": "columns",
    "Diagnosis": "diagnosis",
    "Relaxation": "diagnosis",
    "choose": "search",
    "diagnose": "diagnosis",
    "write_lp": "program",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of the names above)
    if name not in _HOMES:
        message = f"module 'pdplan.solver' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(f"pdplan.solver.{_HOMES[name]}"), name)
