import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pdplan.report.blocks import Grid, Lines
from pdplan.report.comparison import comparison, explanation, long_rows, rates
from pdplan.report.data import json_text, yaml_text
from pdplan.report.markdown import markdown
from pdplan.report.numbers import show
from pdplan.report.render import FORMATS, render_grid, render_plan
from pdplan.report.terminal import terminal

GOLDEN = Path(__file__).parent / "golden"
KEYS = [
    *("schema_version", "status", "placement", "system", "label", "objective"),
    *("cost_usd_per_hour", "usd_per_million_output_tokens", "gpus", "power_w", "model"),
    *("workload", "engine", "pools", "transfers", "prediction", "binding", "alternatives"),
    *("infeasible", "provenance", "solver", "speculative", "options", "warnings"),
]


@pytest.mark.parametrize(("name", "form"), [("plan.txt", "table"), ("plan.md", "md")])
def test_plan_reads_as_before(plan, name, form):
    assert render_plan(plan, form) == (GOLDEN / name).read_text(encoding="utf-8")


def test_infeasible_says_why(no_plan):
    golden = (GOLDEN / "no_plan.txt").read_text(encoding="utf-8")
    assert render_plan(no_plan, "table") == golden


def test_a_plan_fits_a_page(plan):
    lines = render_plan(plan, "table").splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 100


def test_json_has_the_keys_of_the_contract(plan):
    data = json.loads(render_plan(plan, "json"))
    assert list(data) == KEYS
    assert data["pools"][0]["memory_bytes"]["weights"] == 35.3e9
    assert yaml.safe_load(render_plan(plan, "yaml")) == data


def test_several_classes_have_a_row_each(plan):
    from pdplan.plan import ClassPrediction

    found = plan.prediction
    classes = tuple(
        ClassPrediction(name, 0.5, 0.9, found.ttft_s, found.tpot_s, found.itl_s, found.e2e_s)
        for name in "ab"
    )
    targets = tuple(replace(target, request_class="b") for target in found.targets)
    several = replace(plan, prediction=replace(found, classes=classes, targets=targets))
    text = render_plan(several, "table")
    rows = [line.split("  ") for line in text.splitlines() if line.startswith("  ")]
    assert [row[1] for row in rows if row[1].endswith("TTFT")] == ["all TTFT", "a TTFT", "b TTFT"]


def test_the_same_reason_and_subject_are_said_once(plan):
    from pdplan.plan import Alternative, Provenance

    lost = tuple(Alternative(name, reason="no media") for name in ("EPD", "E-PD"))
    sources = tuple(Provenance(f"l4: {what}", "datasheet", "NVIDIA") for what in ("peak", "memory"))
    text = render_plan(replace(plan, alternatives=lost, provenance=sources), "md")
    assert "| EPD, E-PD | - | - | - | no media |" in text
    assert "| l4: peak, memory | datasheet | NVIDIA |" in text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_data_has_no_numbers_that_json_lacks(value):
    assert json_text({"a": [value]}) == '{\n  "a": [\n    null\n  ]\n}\n'
    assert yaml_text({"a": value}) == "a: null\n"


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-05, 1e300, 12345678.9, 2.5e17])
def test_yaml_keeps_the_last_digit(value):
    assert yaml.safe_load(yaml_text({"a": value}))["a"] == value


def test_colour_changes_nothing_else(plan):
    import re

    blocks = (Lines(("x",), "Title"), Grid(("a", "n"), (("x", 1),), "T"))
    colored = terminal(blocks, color=True)
    assert "\x1b[1m" in colored
    assert re.sub(r"\x1b\[\dm", "", colored) == terminal(blocks)


def test_numbers_are_never_wrapped_or_cut():
    columns = tuple(f"column_{i}_s" for i in range(30))
    text = terminal([Grid(columns, (tuple(1.234 for _ in columns),))], width=40)
    assert text.splitlines()[-1].split("  ") == ["1.23 s"] * 30


def test_long_words_are_wrapped_within_the_width():
    text = terminal([Grid(("n", "why"), ((1, "because " * 40),), "T")], width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("because") == 40


def test_markdown_cells_cannot_break_the_table():
    (row,) = [r for r in markdown([Grid(("a",), (("x|y\n<b>",),))]).splitlines() if "x" in r]
    assert row == "| x\\|y \\<b> |"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ttft_s", math.inf, "never"),
        ("ttft_s", 1e-18, "0 s"),
        ("bandwidth_bytes_per_s", 3.35e12, "3.35 TB/s"),
        ("memory_bytes", 80 * 2**30, "80 GiB"),
        ("bf16_flops_per_s", 989.4e12, "989"),
        ("attainment", 0.99983, "99.98 %"),
        ("usd_per_hour", 1234.5, "1,234.50"),
        ("tp", 4, "4"),
        ("x", math.nan, "-"),
        ("flag", True, "yes"),
    ],
)
def test_units_follow_the_column(name, value, text):
    assert show(name, value) == text


def test_comparison_is_sorted_and_measured_against_both_baselines(found):
    grid = comparison(found)
    assert "ttft_p90_s" in grid.columns
    rows = grid.records()
    assert [row["placement"] for row in rows] == ["P-D", "PD", "EPD"]
    assert [row["verdict"] for row in rows] == ["best", "+20 %", "no request carries media"]
    assert rows[0]["saves_vs_colocated_percent"] == pytest.approx(100 * (1 - 59.8 / 71.76))
    assert rows[1]["saves_vs_pd_percent"] == pytest.approx(-20.0)
    assert rows[2]["saves_vs_pd_percent"] is None
    assert rows[0]["pools"] == "P 3xtp4 h100-sxm, D 2xtp4 h100-sxm"


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_shows_every_placement(found, form):
    text = render_grid(comparison(found), form)
    assert all(name in text for name in ("P-D", "PD", "EPD"))
    assert text == render_grid(comparison(found), form)


def test_rates_have_a_row_each(plan, no_plan):
    rows = rates([plan, no_plan]).records()
    assert [row["rate_rps"] for row in rows] == [6.0, None]
    assert [row["objectives_met"] for row in rows] == [False, False]
    assert rows[1]["reason"] == "no placement meets TPOT"


class _Section:
    title, columns, rows, note = "Where", ("stage", "mean_s"), (("prefill", 0.2),), "a note"


def test_an_explanation_is_the_plan_and_its_sections(plan):
    text = terminal(explanation(plan, [_Section()]))
    assert "Where\n  stage      mean\n  prefill  200 ms\n  a note\n" in text
    assert long_rows([_Section()]).rows[1] == ("Where", 1, "mean_s", 0.2)
