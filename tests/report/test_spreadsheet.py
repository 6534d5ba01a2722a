import csv
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.report.plan_rows import PLAN_COLUMNS, plan_id, plan_rows
from pdplan.report.render import plan_csv
from pdplan.report.spreadsheet import cell, csv_text

CONTRACT = [
    *("plan_id", "placement", "pool", "stages", "hardware", "instances", "tp", "pp", "ep", "dp"),
    *("gpus", "usd_per_hour", "utilization", "capacity_rps", "ttft_p50_s", "ttft_p90_s"),
    *("ttft_p99_s", "tpot_p50_s", "tpot_p90_s", "tpot_p99_s"),
]


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@SUM(A1)", "\tx", "\rx", "-1_0", "+inf"])
def test_no_cell_is_a_formula(text):
    assert cell(text) == "'" + text


@pytest.mark.parametrize("text", ["-3.5", "+2", "-1e-5", "a=b", "x-y", ""])
def test_numbers_and_plain_text_stay(text):
    assert cell(text) == text


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_nothing_is_an_empty_cell(value):
    assert cell(value) == ""


@given(
    st.lists(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")), min_size=1)
)
def test_what_is_written_is_read_back(texts):
    columns = [f"c{i}" for i in range(len(texts))]
    row = dict(zip(columns, texts, strict=True))
    text = csv_text(columns, [row])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == columns
    if len(texts) > 1 or texts[0]:
        assert rows[1] == [cell(t) for t in texts]


def test_columns_begin_with_the_contract(plan):
    assert list(PLAN_COLUMNS[: len(CONTRACT)]) == CONTRACT
    assert len(set(PLAN_COLUMNS)) == len(PLAN_COLUMNS)
    assert all(set(row) <= set(PLAN_COLUMNS) for row in plan_rows(plan))


def test_one_row_a_pool_and_one_of_totals(plan):
    text = plan_csv(plan)
    assert text.count("\r\n") == text.count("\n") == 4
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["pool"] for row in rows] == ["prefill", "decode", "total"]
    assert [row["usd_per_hour"] for row in rows] == ["35.88", "23.92", "59.8"]
    assert [row["ttft_p99_s"] for row in rows] == ["", "", "0.9996"]
    assert rows[2]["capacity_rps"] == "8.45"
    assert float(rows[0]["kv_capacity_tokens"]) == plan.pools[0].kv_capacity_tokens


def test_infeasible_is_a_row_with_its_reason(no_plan):
    (row,) = csv.DictReader(io.StringIO(plan_csv(no_plan), newline=""))
    assert (row["pool"], row["status"], row["usd_per_hour"]) == ("total", "infeasible", "")
    assert row["reason"] == "no placement meets TPOT"


def test_plan_id_names_choices_only(plan):
    from dataclasses import replace

    other = replace(plan, cost_usd_per_hour=1.0, prediction=None)
    assert plan_id(plan) == plan_id(other)
    bigger = (replace(plan.pools[0], instances=4), plan.pools[1])
    assert plan_id(plan) != plan_id(replace(plan, pools=bigger))
    assert plan_id(plan).startswith("p")
    assert len(plan_id(plan)) == 11
