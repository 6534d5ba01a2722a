import csv
import io
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from pdplan import planner
from pdplan.cli import app

PLAN_FILE = """\
placement: P-D
model: llama-3.1-8b
workload: {rate: 6 req/s, isl: 1000, osl: 100, ttft: 800 ms, tpot: 40 ms}
pools:
  - {name: prefill, stages: P, hardware: h100-sxm, instances: 3}
  - {name: decode, stages: D, hardware: h100-sxm, instances: 2, max_batch: 64}
"""
SECTION = SimpleNamespace(title="Terms", columns=("stage", "mean_s"), rows=(("P", 0.2),), note="n")


@pytest.fixture
def run(tmp_path, monkeypatch, plan):
    seen = []
    (tmp_path / "plan.yaml").write_text(PLAN_FILE)
    monkeypatch.chdir(tmp_path)

    def evaluate(_, *, rate_rps=None):
        seen.append(rate_rps)
        return plan

    explained = SimpleNamespace(plan=plan, sections=(SECTION,))
    monkeypatch.setattr(planner, "evaluate", evaluate, raising=False)
    monkeypatch.setattr(planner, "max_rate", lambda _: seen.append("max") or plan, raising=False)
    monkeypatch.setattr(planner, "explain", lambda _: explained, raising=False)

    def call(*args):
        result = CliRunner().invoke(app, list(args))
        return result, seen

    return call


@pytest.mark.parametrize(
    ("args", "rates"),
    [
        ([], [None]),
        (["--rate", "8"], [8.0]),
        (["--rate", "90 req/min"], [1.5]),
        (["--rates", "1, 2,3"], [1.0, 2.0, 3.0]),
        (["--max-rate"], ["max"]),
    ],
)
def test_rates_are_asked_for(run, args, rates):
    result, seen = run("evaluate", "plan.yaml", *args)
    assert result.exit_code == 0, result.output
    assert seen == rates


def test_rates_are_rows_or_whole_plans(run):
    result, _ = run("evaluate", "plan.yaml", "--rates", "1,2", "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(result.stdout, newline="")))) == 2
    result, _ = run("evaluate", "plan.yaml", "--rates", "1,2", "--format", "json")
    assert [item["label"] for item in json.loads(result.stdout)] == ["3P2D", "3P2D"]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (
            ["evaluate", "plan.yaml", "--rate", "5", "--rates", "1"],
            "command line: --rates: cannot be combined with --rate\n",
        ),
        (
            ["evaluate", "plan.yaml", "--rate", "0"],
            "command line: --rate: must be above 0; got 0 req/s\n",
        ),
        (
            ["evaluate", "plan.yaml", "--rates", "1,x"],
            "command line: --rates: needs a number and a unit, for example '20 req/s'; got 'x'\n",
        ),
        (["evaluate", "gone.yaml"], "gone.yaml: no such file\n"),
        (["explain", "."], ".: is a folder; expected a file\n"),
    ],
)
def test_bad_input(run, args, text):
    result, seen = run(*args)
    assert (result.exit_code, result.stdout, result.stderr, seen) == (2, "", text, [])


def test_nan_is_not_a_rate(run):
    assert run("evaluate", "plan.yaml", "--rate", "nan")[0].exit_code == 2
    assert run("evaluate", "plan.yaml", "--rate", "inf")[0].exit_code == 2


def test_explain_in_every_format(run):
    assert "Terms\n  stage    mean\n  P      200 ms\n  n\n" in run("explain", "plan.yaml")[0].stdout
    data = json.loads(run("explain", "plan.yaml", "--format", "json")[0].stdout)
    assert list(data) == ["plan", "sections"]
    assert data["sections"][0]["rows"] == [["P", 0.2]]
    rows = run("explain", "plan.yaml", "--format", "csv")[0].stdout.splitlines()
    assert rows[:3] == ["section,row,column,value", "Terms,1,stage,P", "Terms,1,mean_s,0.2"]
