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
    monkeypatch.setattr(
        planner, "evaluate_closed", lambda _, n: seen.append(("loop", n)) or plan, raising=False
    )
    monkeypatch.setattr(
        planner,
        "evaluate_first",
        lambda _, n, rate_rps: seen.append(("first", n, rate_rps)) or plan,
        raising=False,
    )

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
        (["--concurrency", "64"], [("loop", 64)]),
        (["--requests", "1000"], [("first", 1000, None)]),
        (["--rate", "8", "--requests", "5"], [("first", 5, 8.0)]),
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
        (
            ["evaluate", "plan.yaml", "--rate", "5", "--concurrency", "8"],
            "command line: --concurrency: cannot be combined with --rate\n",
        ),
        (
            ["evaluate", "plan.yaml", "--max-rate", "--concurrency", "8"],
            "command line: --concurrency: cannot be combined with --max-rate\n",
        ),
        (
            ["evaluate", "plan.yaml", "--rates", "1,2", "--requests", "8"],
            "command line: --requests: cannot be combined with --rates\n",
        ),
        (
            ["evaluate", "plan.yaml", "--max-rate", "--requests", "8"],
            "command line: --requests: cannot be combined with --max-rate\n",
        ),
        (
            ["evaluate", "plan.yaml", "--concurrency", "8", "--requests", "8"],
            "command line: --requests: cannot be combined with --concurrency\n",
        ),
        (
            ["evaluate", "plan.yaml", "--rate", "5", "--max-rate", "--requests", "8"],
            "command line: --max-rate: cannot be combined with --rate\n",
        ),
        (
            ["evaluate", "plan.yaml", "--concurrency", "0"],
            "command line: --concurrency: needs a whole number of at least 1; got '0'\n",
        ),
        (
            ["evaluate", "plan.yaml", "--requests", "many"],
            "command line: --requests: needs a whole number of at least 1; got 'many'\n",
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


@pytest.mark.parametrize(
    ("args", "texts"),
    [
        (["--concurrency", "64"], ["64 in flight", " at "]),
        (["--rate", "500", "--requests", "1000"], ["first 1000 requests of", "no steady state: "]),
        (
            ["--rate", "500"],
            ["no steady state: pool 'decode' saturates at ", "; give --requests N for what"],
        ),
        (["--rates", "5,500"], []),
    ],
)
def test_real_answers(tmp_path, monkeypatch, args, texts):
    (tmp_path / "plan.yaml").write_text(PLAN_FILE)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["evaluate", "plan.yaml", *args])
    assert (result.exit_code, result.stderr) == (0, "")
    shown = " ".join(result.stdout.split())
    assert all(text in shown for text in texts), result.stdout


def test_a_closed_loop_is_simulated(tmp_path, monkeypatch):
    (tmp_path / "plan.yaml").write_text(PLAN_FILE)
    monkeypatch.chdir(tmp_path)
    args = ["simulate", "plan.yaml", "--concurrency", "8"]
    result = CliRunner().invoke(app, [*args, "--requests", "300", "--format", "json"])
    assert (result.exit_code, result.stderr) == (0, "")
    data = json.loads(result.stdout)
    rate, stay = data["simulation"]["rate_rps"], data["simulation"]["e2e_s"]["mean"]["value"]
    assert rate * stay == pytest.approx(8, rel=0.05)
    assert data["closed_form"]["rate_rps"] == pytest.approx(rate, rel=0.05)
    result = CliRunner().invoke(app, [*args, "--rate", "5"])
    text = "command line: --rate: cannot be combined with --concurrency\n"
    assert (result.exit_code, result.stderr) == (2, text)
