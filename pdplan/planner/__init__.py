"""The questions people ask: solve, compare, evaluate, simulate, explain, predict."""

from importlib import import_module
from typing import Any

_HOMES = {
    "solve": "solving",
    "compare": "solving",
    "evaluate": "evaluation",
    "max_rate": "evaluation",
    "evaluate_closed": "closed_fleet",
    "evaluate_first": "first_requests",
    "explain": "explanation",
    "Explanation": "explanation",
    "Section": "explanation",
    "simulate": "simulating",
    "predict": "prediction",
    "PREDICT_INPUTS": "prediction",
    "PREDICT_OUTPUTS": "prediction",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of the names above)
    if name not in _HOMES:
        message = f"module 'pdplan.planner' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(f"pdplan.planner.{_HOMES[name]}"), name)
