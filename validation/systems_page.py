"""`python -m validation.systems_page`: write the tables of docs/SYSTEMS.md from the presets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pdplan.plan import Alternative
from pdplan.planner.solving import compare
from pdplan.report.files import write_file
from pdplan.specs.catalog import names
from pdplan.specs.scenario import load_scenario
from pdplan.specs.system import SystemSpec, load_system
from validation.report import table

PAGE = Path(__file__).parents[1] / "docs" / "SYSTEMS.md"
BEGIN, END = "<!-- {}: written by python -m validation.systems_page -->", "<!-- end -->"


def presets() -> dict[str, SystemSpec]:
    """All bundled systems by name."""
    return {name: load_system(name) for name in names("system")}


def preset_rows(systems: dict[str, SystemSpec]) -> Iterator[str]:
    """One row a system: what it is in the notation."""
    rows = [
        [
            f"[`{name}`](#{name})",
            f"[{spec.citation}]({spec.source})",
            f"`{spec.placements}`",
            _compact(spec.options_text()),
            spec.reduces_to or "-",
        ]
        for name, spec in systems.items()
    ]
    yield from table(("system", "published", "placement", "adds", "the same as"), rows)


def _compact(options: dict[str, Any]) -> str:
    """Options in one cell: their names, and what is said of them where that is short."""
    if not options:
        return "-"
    return ", ".join(
        f"`{key}`" if isinstance(value, dict) else f"`{key}: {value}`"
        for key, value in options.items()
    )


def example_rows(systems: dict[str, SystemSpec]) -> Iterator[str]:
    """One row a system on its own example: its fleet, and what others cost there."""
    rows = []
    for name, spec in systems.items():
        found = compare(load_scenario(spec.example), systems)
        mine = next(row for row in found if row.system == name)
        plain = [row for row in found if row.system is None and "+" not in row.placement]
        others = {row.system: row for row in found if row.system in spec.relatives}
        rows.append(
            [
                f"`{spec.example}`",
                _told(mine),
                _worth(_cheapest(plain, apart=False), mine),
                _worth(_cheapest(plain, apart=True), mine),
                ", ".join(f"`{n}` {_worth(r, mine)}" for n, r in others.items()) or "-",
            ]
        )
    head = ("example", "its plan", "colocated", "prefill apart from decode", "relatives")
    yield from table(head, rows)


def _told(row: Alternative) -> str:
    if row.objective is None:
        return f"none: {row.reason}"
    return f"`{row.placement}` {row.label}, {_value(row)}"


def _value(row: Alternative) -> str:
    if row.cost_usd_per_hour is None:
        return f"{row.gpus} GPUs"
    return f"{row.cost_usd_per_hour:.2f} USD/h"


def _worth(row: Alternative | None, mine: Alternative) -> str:
    """What another costs beside this one."""
    if row is None or row.objective is None:
        return "none"
    if not mine.objective:
        return _value(row)
    more = row.objective / mine.objective - 1
    return f"{_value(row)} ({more:+.0%})"


def _cheapest(rows: list[Alternative], *, apart: bool) -> Alternative | None:
    kind = "-D" if apart else "-"
    mine = [r for r in rows if r.objective is not None and (kind in r.placement) == apart]
    return min(mine, key=lambda row: row.objective or 0.0, default=None)


def page(text: str) -> str:
    """The page with its tables written anew; all else is kept."""
    systems = presets()
    for title, lines in (("presets", preset_rows(systems)), ("examples", example_rows(systems))):
        begin = BEGIN.format(title)
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(END)
        text = f"{before}{begin}\n\n" + "\n".join(lines) + f"\n{END}{after}"
    return text


if __name__ == "__main__":
    write_file(PAGE, page(PAGE.read_text(encoding="utf-8")))
