"""Scores against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from pdplan.calibration.predictable import predictable
from pdplan.calibration.validation import validation
from pdplan.report.scatter import scatter_html
from pdplan.report.validation import points_grid, score_rows, validation_blocks, validation_data


@pytest.fixture(scope="module")
def rows(made):
    """Measurements that are 0.8, 1, 1.25 and 2 times what is predicted."""
    factors = {"l40s": (1 / 1.1, 1.0, 1.25), "h100-sxm": (2.0,)}
    found = []
    for hardware, times in factors.items():
        steps = made.decode((1, 8, 64)[: len(times)], hardware=hardware)
        for one, factor in zip(made.measured(steps, made.base), times, strict=True):
            found.append(replace(one, values={"latency_s": factor * one.values["latency_s"]}))
    return found


def test_scores_are_those_worked_out_by_hand(rows):
    found = validation(predictable(rows), ["hardware"])
    assert [score.group for score in found.groups] == [("h100-sxm",), ("l40s",)]
    (total,) = found.totals
    assert (total.output, total.points) == ("decode_s", 4)
    assert total.mape == pytest.approx((0.1 + 0.0 + 0.2 + 0.5) / 4)
    assert total.median == pytest.approx(0.15)
    assert total.bias == pytest.approx((0.1 - 0.2 - 0.5) / 4)
    assert total.worst == pytest.approx(-0.5)
    assert found.groups[1].rank == pytest.approx(1.0)
    assert [len(found.above(limit)) for limit in (0.19, 0.21)] == [1, 0]


def test_the_engine_of_a_row_is_used_unless_another_is_named(made, rows, tmp_path):
    from pdplan.calibration.profile import profile_text

    true, _ = made.truth(gemm__mbu__bf16=0.5)
    path = tmp_path / "slow.yaml"
    path.write_text(profile_text(true))
    mixed = [replace(rows[3], row=dict(rows[3].row) | {"engine": str(path)}), rows[3]]
    slow, usual = predictable(mixed).predicted
    assert slow > 1.3 * usual
    assert predictable(mixed, str(path)).predicted.tolist() == pytest.approx([slow, slow])
    found = validation(predictable(mixed), ["engine"])
    assert {score.group[0] for score in found.groups} == {str(path), "vllm"}


def test_rows_are_groups_and_a_total(rows):
    found = score_rows(validation(predictable(rows), ["hardware", "phase"]))
    assert [(row["hardware"], row["phase"], row["points"]) for row in found] == [
        ("h100-sxm", "decode", 1),
        ("l40s", "decode", 3),
        ("all", "", 4),
    ]


def test_every_number_is_in_the_data_and_every_lost_row(rows):
    lost = replace(rows[0], row=dict(rows[0].row) | {"model": "none"}, line=77)
    found = validation(predictable([*rows, lost]), ["hardware"])
    data = validation_data(found)
    assert [row["line"] for row in data["points"]] == [2, 3, 4, 2]
    assert [row["line"] for row in data["unpredicted"]] == [77]
    grid = points_grid(found)
    assert len(grid.rows) == 5
    assert grid.rows[-1][-1].startswith("unknown model 'none'")
    blocks = validation_blocks(found)
    assert blocks[0].lines == (
        "Measurements: 4, with 4 numbers. Rows that could not be predicted in full: 1.",
    )
    assert blocks[-1].title == "Not predicted"
    assert blocks[-1].lines[0].startswith("made.csv:77: unknown model 'none'")


def test_the_histogram_counts_every_number(rows):
    (histogram,) = [
        block
        for block in validation_blocks(validation(predictable(rows), ["hardware"]))
        if block.title == "How the errors are spread"
    ]
    counted = {row[0]: row[1].split()[-1] for row in histogram.rows if row[1]}
    assert sum(map(int, counted.values())) == 4


def test_the_plot_works_alone_and_is_the_same_every_time(rows):
    pytest.importorskip("plotly")
    found = validation(predictable(rows), ["hardware"])
    page = scatter_html(found)
    assert page == scatter_html(found)
    assert "<script src=" not in page
    assert len(page) > 1_000_000  # plotly.js is inside
    assert '"type":"log"' in page
    assert page.count('"dash":"dot"') == 2
    for name in ("l40s", "h100-sxm"):
        assert f'"name":"{name}"' in page


def test_rank_correlation_needs_three_values(rows):
    (total,) = validation(predictable(rows[:2]), []).totals
    assert np.isnan(total.rank)
