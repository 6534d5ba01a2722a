"""One entry for every format, so that each module is imported only when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdplan.plan import Plan
    from pdplan.report.blocks import Block, Grid

FORMATS = ("table", "json", "csv", "yaml", "md")


def render_plan(plan: Plan, form: str, *, width: int | None = None, color: bool = False) -> str:
    """Write a plan in one of `FORMATS`; `width` and `color` are those of a terminal."""
    if form in ("json", "yaml"):
        return render_data(plan.to_dict(), form)
    if form == "csv":
        return plan_csv(plan)
    from pdplan.report.plan_blocks import plan_blocks

    return render_blocks(plan_blocks(plan), form, width=width, color=color)


def plan_csv(*plans: Plan) -> str:
    """Write the rows of one or several plans."""
    from pdplan.report.plan_rows import PLAN_COLUMNS, plan_rows
    from pdplan.report.spreadsheet import csv_text

    return csv_text(PLAN_COLUMNS, [row for plan in plans for row in plan_rows(plan)])


def render_grid(grid: Grid, form: str, *, width: int | None = None, color: bool = False) -> str:
    """Write one table in one of `FORMATS`."""
    if form in ("json", "yaml"):
        return render_data(grid.records(), form)
    if form == "csv":
        return csv_grid(grid)
    return render_blocks([grid], form, width=width, color=color)


def csv_grid(grid: Grid) -> str:
    """Write one table as CSV."""
    from pdplan.report.spreadsheet import csv_text

    return csv_text(grid.columns, grid.records())


def render_data(data: Mapping[str, object] | Sequence[object], form: str) -> str:
    """Write plain data as `json` or `yaml`."""
    from pdplan.report.data import json_text, yaml_text

    return json_text(data) if form == "json" else yaml_text(data)


def render_blocks(
    blocks: Sequence[Block], form: str, *, width: int | None = None, color: bool = False
) -> str:
    """Write blocks as `table` or `md`."""
    if form == "md":
        from pdplan.report.markdown import markdown

        return markdown(blocks)
    from pdplan.report.terminal import WIDTH, terminal

    return terminal(blocks, width=width or WIDTH, color=color)
