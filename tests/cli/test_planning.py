import csv
import io
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pdplan import planner
from pdplan.cli import app
from pdplan.errors import InfeasibleError

FLAGS = [
    *("--model", "llama-3.1-8b", "--hardware", "h100-sxm", "--rate", "5"),
    *("--isl", "1000", "--osl", "200", "--ttft", "800", "--tpot", "40"),
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*args, **options):
        return CliRunner().invoke(app, list(args), **options)

    return call


@pytest.fixture
def asked(monkeypatch, plan, found):
    """Answer at once, and remember the questions."""
    seen = []

    def answer(result):
        def ask(*args, **options):
            seen.append((*args, options))
            return result

        return ask

    monkeypatch.setattr(planner, "solve", answer(plan), raising=False)
    monkeypatch.setattr(planner, "compare", answer(found), raising=False)
    return seen


def test_flags_reach_the_scenario(run, asked):
    more = [
        *("--itl", "50", "--percentile", "90", "--percentile", "99"),
        *("--tp", "1,2", "--tp", "4", "--role", "P=h100-sxm"),
    ]
    result = run("solve", *FLAGS[:-2], *more, "--placement", "P-D", "--price", "h100-sxm=1.99")
    assert (result.exit_code, result.stderr) == (0, "")
    scenario = asked[0][0]
    assert scenario.traffic.rate_rps == 5
    (kind,) = scenario.traffic.classes
    assert (kind.ttft_s, kind.tpot_s, kind.percentiles) == (0.8, 0.05, (90, 99))
    assert scenario.search.tp == (1, 2, 4)
    assert scenario.search.placements == ("P-D",)
    assert scenario.search.roles["P"].hardware == ("h100-sxm",)
    assert scenario.hardware[0].usd_per_hour == 1.99


def test_solve_prints_and_writes(run, asked, tmp_path):
    result = run("solve", *FLAGS, "--format", "json", "-o", "plan.yaml", "--csv", "report.csv")
    data = json.loads(result.stdout)
    assert data["label"] == "3P2D"
    assert yaml.safe_load((tmp_path / "plan.yaml").read_text()) == data
    rows = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    assert [row["pool"] for row in rows] == ["prefill", "decode", "total"]


def test_infeasible_is_printed_and_nothing_written(run, monkeypatch, no_plan, tmp_path):
    monkeypatch.setattr(planner, "solve", lambda *_, **__: no_plan, raising=False)
    result = run("solve", *FLAGS, "-o", "plan.yaml", "--csv", "report.csv")
    assert result.exit_code == 1
    assert "No feasible plan" in result.stdout
    assert result.stderr == (
        "report.csv: not written, for there is no plan\n"
        "plan.yaml: not written, for there is no plan\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (
            ["solve"],
            "command line: model: missing; add 'model:' or give --model\n"
            "command line: workload: missing; add 'workload:' or give --workload\n"
            "command line: hardware: missing; add 'hardware:' or give --hardware\n",
        ),
        (["solve", "nope.yaml"], "nope.yaml: no such file\n"),
        (
            ["solve", *FLAGS, "--system", "distserv"],
            "command line: --system: unknown system 'distserv'; did you mean 'distserve'?\n",
        ),
        (
            ["solve", *FLAGS, "--role", "P"],
            "command line: --role: needs STAGES=ID, for example 'P=h200-sxm'; got 'P'\n",
        ),
        (["solve", *FLAGS, "--specs", "gone"], "command line: --specs: no such folder: gone\n"),
        (
            ["solve", *FLAGS, "-o", "gone/plan.yaml"],
            "gone/plan.yaml: cannot be written: there is no folder gone\n",
        ),
        (
            ["solve", *FLAGS, "-o", "a", "--csv", "a"],
            "a: is named for two outputs\n",
        ),
    ],
)
def test_bad_input_is_two_and_a_message(run, asked, tmp_path, args, text):
    result = run(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", text)
    assert asked == []
    assert list(tmp_path.iterdir()) == []


def test_usage_errors_are_two(run):
    result = run("solve", "--wrong")
    assert result.exit_code == 2
    assert "No such option: --wrong" in result.stderr
    assert run("solve", "--format", "xml").exit_code == 2
    assert run("nothing").exit_code == 2


def test_errors_keep_their_exit_code(run, monkeypatch):
    def fail(*_, **__):
        message = "pd: no fleet"
        raise InfeasibleError(message)

    monkeypatch.setattr(planner, "solve", fail, raising=False)
    result = run("solve", *FLAGS)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "pd: no fleet\n")


def test_interrupt_is_130_and_quiet(run, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(planner, "solve", stop, raising=False)
    result = run("solve", *FLAGS)
    assert (result.exit_code, result.output) == (130, "")


def test_compare(run, asked, tmp_path):
    result = run("compare", *FLAGS, "--format", "csv", "--csv", "all.csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    assert [row["placement"] for row in rows] == ["P-D", "PD", "EPD"]
    assert (tmp_path / "all.csv").read_bytes().decode().splitlines() == result.stdout.splitlines()


def test_compare_with_nothing_feasible_is_one(run, monkeypatch, found):
    monkeypatch.setattr(planner, "compare", lambda *_: found[2:], raising=False)
    result = run("compare", *FLAGS, "--csv", "all.csv")
    assert result.exit_code == 1
    assert result.stderr == "all.csv: not written, for there is no plan\n"


@pytest.mark.parametrize(
    "more",
    [
        ("--speculative", "3,0.7,mtp"),
        ("--peak-factor", "1.7"),
        ("--speculative", "2,0.6,mtp", "--peak-factor", "3", "--burst", "4,0.1,30s"),
    ],
)
def test_a_written_plan_has_the_numbers_that_it_was_solved_with(run, more):
    assert run("solve", *FLAGS, *more, "-o", "plan.yaml").exit_code == 0
    first = yaml.safe_load(Path("plan.yaml").read_text())
    again = run("evaluate", "plan.yaml", "--format", "json")
    assert (again.exit_code, again.stderr) == (0, "")
    second = json.loads(again.stdout)
    keys = ("prediction", "pools", "transfers", "workload", "speculative", "warnings")
    assert {key: second[key] for key in keys} == {key: first[key] for key in keys}
    assert (first["speculative"] is not None) == ("--speculative" in more)


@pytest.mark.parametrize("more", [("--rate", "4"), ("--max-rate",)])
def test_another_rate_of_the_busiest_time_reads_back(run, more):
    assert run("solve", *FLAGS, "--peak-factor", "1.7", "-o", "plan.yaml").exit_code == 0
    found = run("evaluate", "plan.yaml", *more, "--format", "yaml").stdout
    Path("again.yaml").write_text(found)
    first = yaml.safe_load(found)
    second = yaml.safe_load(run("evaluate", "again.yaml", "--format", "yaml").stdout)
    assert second["prediction"] == first["prediction"]
    assert second["workload"] == first["workload"]


@pytest.mark.parametrize("key", ["concurrency", "requests"])
def test_an_answer_of_few_requests_is_read_as_a_plan(run, key):
    assert run("solve", *FLAGS, "--peak-factor", "2", "-o", "plan.yaml").exit_code == 0
    found = run("evaluate", "plan.yaml", f"--{key}", "40", "--format", "yaml").stdout
    Path("again.yaml").write_text(found)
    first = yaml.safe_load(found)
    assert first["workload"][key] == 40
    again = run("evaluate", "again.yaml", "--format", "yaml")
    assert again.exit_code == 0, again.output
    second = yaml.safe_load(again.stdout)
    assert key not in second["workload"]
    assert second["prediction"]["rate_rps"] == first["prediction"]["rate_rps"]


def test_a_plan_that_is_written_can_be_evaluated(run):
    solved = run("solve", *FLAGS, "--format", "json", "-o", "plan.yaml")
    assert (solved.exit_code, solved.stderr) == (0, "")
    again = run("evaluate", "plan.yaml", "--format", "json")
    assert (again.exit_code, again.stderr) == (0, "")
    first, second = json.loads(solved.stdout), json.loads(again.stdout)
    assert second["status"] == "feasible"
    for key in ("placement", "label", "gpus", "cost_usd_per_hour"):
        assert second[key] == first[key]
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        assert second["prediction"][metric] == pytest.approx(first["prediction"][metric], rel=1e-9)
    assert run("explain", "plan.yaml").exit_code == 0
    assert run("compare", *FLAGS).exit_code == 0
