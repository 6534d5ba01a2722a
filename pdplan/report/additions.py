"""What a plan adds to its placement: options as given, and what was chosen of them by pool."""

from collections.abc import Iterator, Mapping
from typing import Any

from pdplan.plan import Plan
from pdplan.report.blocks import Lines
from pdplan.report.numbers import significant

USUAL = frozenset(
    {
        *("routing", "chunk_tokens", "scheduler", "moe_dtype", "moe_tp", "usd_per_gpu_hour"),
        *("classes", "first_token_from", "whole_nodes"),
    }
)
"""Options of pools that every plan has, or that other parts of the report tell."""


def additions(plan: Plan) -> Lines | None:
    """One line an option; none where the placement stands for itself."""
    found = [f"{name}: {words(value)}" for name, value in (plan.options or {}).items()]
    for pool in plan.pools:
        chosen = [
            f"{name} {words(value)}" for name, value in pool.options.items() if name not in USUAL
        ]
        if chosen:
            found.append(f"{pool.name}: {', '.join(chosen)}")
    return Lines(tuple(found), "Added to the placement") if found else None


def words(value: Any) -> str:  # noqa: ANN401  (whatever an option holds)
    """Write an option's value in a line.

    >>> words({"share": 0.25, "history": "read"}), words([1, 2]), words(True)
    ('share 0.25, history read', '1 2', 'yes')
    """
    if isinstance(value, Mapping):
        return ", ".join(_pairs(value)) or "as usual"
    if isinstance(value, list | tuple):
        return " ".join(words(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return significant(value, 4) if isinstance(value, float) else str(value)


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        inner = f"({words(value)})" if isinstance(value, Mapping) else words(value)
        yield f"{name} {inner}"
