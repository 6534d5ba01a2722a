"""Capacity planning for LLM serving: how many accelerators, of what kind, in which roles.

The names below are looked up when they are first used, so that `import pdplan` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdplan.errors import PdplanError
    from pdplan.plan import Plan
    from pdplan.planner import compare, evaluate, explain, predict, simulate, solve
    from pdplan.specs.plan_file import load_plan
    from pdplan.specs.scenario import load_scenario

__version__ = "0.1.0"

__all__ = [
    "PdplanError",
    "Plan",
    "__version__",
    "compare",
    "evaluate",
    "explain",
    "load_plan",
    "load_scenario",
    "predict",
    "simulate",
    "solve",
]

_HOMES = {
    "PdplanError": "pdplan.errors",
    "Plan": "pdplan.plan",
    "compare": "pdplan.planner",
    "evaluate": "pdplan.planner",
    "explain": "pdplan.planner",
    "load_plan": "pdplan.specs.plan_file",
    "load_scenario": "pdplan.specs.scenario",
    "predict": "pdplan.planner",
    "simulate": "pdplan.planner",
    "solve": "pdplan.planner",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name not in _HOMES:
        message = f"module 'pdplan' has no attribute '{name}'"
        raise AttributeError(message)
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
