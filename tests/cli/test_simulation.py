import csv
import importlib.util
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pdplan import planner
from pdplan.cli import app
from pdplan.cli.progress import Watch
from pdplan.errors import Problem, SpecError
from pdplan.planner import verifying
from pdplan.units import format_seconds

_SPEC = importlib.util.spec_from_file_location(
    "simulated_by_hand", Path(__file__).parents[1] / "report" / "simulated_by_hand.py"
)
by_hand = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(by_hand)

PLAN_FILE = """\
placement: P-D
model: llama-3.1-8b
workload: {rate: 20 req/s, isl: 1000, osl: 100, ttft: 800 ms, tpot: 40 ms}
pools:
  - {name: prefill, stages: P, hardware: h100-sxm, instances: 2}
  - {name: decode, stages: D, hardware: h100-sxm, instances: 2, max_batch: 64}
"""
FLAGS = [
    *("--model", "llama-3.1-8b", "--hardware", "h100-sxm", "--rate", "40", "--tp", "1,2"),
    *("--isl", "1000", "--osl", "200", "--ttft", "150", "--tpot", "15"),
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "plan.yaml").write_text(PLAN_FILE)
    (tmp_path / "trace.csv").write_text("arrival,isl,osl\n0,9,9\n0.25,9,9\n1,9,9\n")
    monkeypatch.chdir(tmp_path)

    def call(*args):
        return CliRunner().invoke(app, list(args))

    return call


@pytest.fixture
def asked(monkeypatch):
    """Simulate at once: the closed form with a TTFT 10 % longer, and three rows."""
    seen = []

    def simulate(spec, *, requests, trace, trace_speed, seed, progress, rows):
        seen.append(
            {"rate": spec.traffic.rate_rps, "workload": spec.workload.rate, "requests": requests,
             "trace": trace, "speed": trace_speed, "seed": seed}
        )  # fmt: skip
        for i in range(3):
            rows(by_hand.row(i, name="all"))
            progress(i + 1, 20_000)
        found = by_hand.simulated(planner.evaluate(spec), ttft=1.1, seed=None if trace else seed)
        return replace(found, rate_rps=25.0) if trace else found

    monkeypatch.setattr(planner, "simulate", simulate, raising=False)
    return seen


@pytest.fixture
def stopped(monkeypatch, asked):
    whole = planner.simulate
    monkeypatch.setattr(
        planner, "simulate", lambda *a, **k: replace(whole(*a, **k), complete=False)
    )


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], {"rate": 20.0, "requests": None, "trace": None, "seed": 1}),
        (["--requests", "5000", "--seed", "7"], {"requests": 5000, "seed": 7}),
        (["--rate", "90 req/min"], {"rate": 1.5, "workload": 1.5}),
        (["--trace", "trace.csv"], {"trace": Path("trace.csv"), "rate": 20.0, "speed": 1.0}),
        (["--trace", "trace.csv", "--rate", "5"], {"trace": Path("trace.csv"), "speed": 2.5}),
    ],
)
def test_flags_reach_the_simulation(run, asked, args, expected):
    result = run("simulate", "plan.yaml", *args)
    assert (result.exit_code, result.stderr) == (0, "")
    assert asked[0] | expected == asked[0]


def test_the_table_names_the_gap(run, asked):
    text = run("simulate", "plan.yaml").stdout
    assert text.startswith("P-D 2P2D: llama-3.1-8b on vllm at 20 req/s\n18,000 requests simulated")
    assert "\nClosed form against simulation\n  metric " in text
    for metric in ("TTFT", "TPOT", "ITL", "E2E"):
        for statistic in ("mean", "p50", "p90", "p95", "p99"):
            assert f"\n  {metric} {statistic} " in text
    assert "\n  Largest gap: TTFT " in text
    assert "(-9.1 %), outside the 95 % interval, " in " ".join(text.split())
    assert "\nWhere the first token's time goes\n" in text
    assert "INTERRUPTED" not in text


def test_a_trace_is_compared_at_its_own_rate(run, asked):
    data = json.loads(run("simulate", "plan.yaml", "--trace", "trace.csv", "-f", "json").stdout)
    assert data["closed_form"]["rate_rps"] == 25.0
    assert (data["simulation"]["trace"], data["simulation"]["seed"]) == ("trace.csv", None)
    assert data["findings"][-1] == (
        "The closed form is of the plan's workload, prompts of 1,000 and answers of 100 tokens in "
        "mean with its kind of arrivals; the trace has prompts of 1,500 and answers of 250 tokens."
    )


def test_every_format(run, asked):
    data = json.loads(run("simulate", "plan.yaml", "--format", "json").stdout)
    assert list(data) == ["simulation", "closed_form", "gaps", "findings"]
    assert yaml.safe_load(run("simulate", "plan.yaml", "--format", "yaml").stdout) == data
    text = run("simulate", "plan.yaml", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(data["gaps"]) == 22
    assert run("simulate", "plan.yaml", "--format", "md").stdout.startswith("### P-D 2P2D")


def test_files_are_whole(run, asked, tmp_path):
    result = run("simulate", "plan.yaml", "--csv", "gaps.csv", "--rows", "rows.csv")
    assert result.exit_code == 0
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [row["request"] for row in rows] == ["0", "1", "2"]
    assert {row["complete"] for row in rows} == {"true"}
    gaps = list(csv.DictReader((tmp_path / "gaps.csv").read_text().splitlines()))
    assert {row["complete"] for row in gaps} == {"true"}
    assert {path.name for path in tmp_path.iterdir()} == {
        *("plan.yaml", "trace.csv", "rows.csv", "gaps.csv")
    }


def test_an_interrupted_run_is_printed_labelled_and_130(run, stopped, tmp_path):
    result = run("simulate", "plan.yaml", "--csv", "gaps.csv", "--rows", "rows.csv")
    line = (
        "INTERRUPTED after 18,000 of 20,000 requests: these are the numbers of the part that ran\n"
    )
    assert result.exit_code == 130
    assert line in result.stdout
    assert result.stderr == line
    for name in ("gaps.csv", "rows.csv"):
        found = list(csv.DictReader((tmp_path / name).read_text().splitlines()))
        assert {row["complete"] for row in found} == {"false"}


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (
            ["simulate", "plan.yaml", "--trace", "t.csv", "--requests", "500"],
            "command line: --requests: cannot be combined with --trace\n",
        ),
        (
            ["simulate", "plan.yaml", "--seed", "5", "--trace", "t.csv"],
            "command line: --seed: cannot be combined with --trace\n",
        ),
        (
            ["simulate", "plan.yaml", "--requests", "99"],
            "command line: --requests: needs a whole number of at least 100; got '99'\n",
        ),
        (
            ["simulate", "plan.yaml", "--requests", "1e5"],
            "command line: --requests: needs a whole number of at least 100; got '1e5'\n",
        ),
        (
            ["simulate", "plan.yaml", "--requests", "9" * 5000],
            f"command line: --requests: is at most 1,000,000,000; got '{'9' * 40}'\n",
        ),
        (
            ["simulate", "plan.yaml", "--seed", "-1"],
            "command line: --seed: needs a whole number of at least 0; got '-1'\n",
        ),
        (
            ["simulate", "plan.yaml", "--rate", "0"],
            "command line: --rate: must be above 0; got 0 req/s\n",
        ),
        (
            ["simulate", "plan.yaml", "--rows", "gone/a.csv"],
            "gone/a.csv: cannot be written: there is no folder gone\n",
        ),
        (
            ["simulate", "plan.yaml", "--rows", "a.csv", "--csv", "a.csv"],
            "a.csv: is named for two outputs\n",
        ),
        (["simulate", "gone.yaml"], "gone.yaml: no such file\n"),
        (["simulate", "plan.yaml", "--specs", "x"], "command line: --specs: no such folder: x\n"),
        (
            ["solve", *FLAGS, "--verify-requests", "500"],
            "command line: --verify-requests: needs --verify\n",
        ),
        (
            ["solve", *FLAGS, "--verify", "--verify-requests", "5"],
            "command line: --verify-requests: needs a whole number of at least 100; got '5'\n",
        ),
    ],
)
def test_bad_input_is_two_and_a_message(run, asked, tmp_path, args, text):
    result = run(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", text)
    assert asked == []
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_simulation_leaves_no_file(run, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise SpecError(Problem("t.csv", 3, "osl", "must be at least 1; got 0"))

    monkeypatch.setattr(planner, "simulate", fail, raising=False)
    result = run("simulate", "plan.yaml", "--trace", "t.csv", "--rows", "rows.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "t.csv:3: osl: must be at least 1; got 0\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupt_before_anything_ran_is_quiet(run, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(planner, "simulate", stop, raising=False)
    result = run("simulate", "plan.yaml", "--rows", "rows.csv")
    assert (result.exit_code, result.output) == (130, "")
    assert len(list(tmp_path.iterdir())) == 2


def test_help_has_examples(run):
    result = run("simulate", "--help")
    assert result.exit_code == 0
    assert "pdplan simulate plan.yaml --trace " in result.stdout
    assert "--verify" in run("solve", "--help").stdout


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", screen)
    watch = Watch()
    with watch.shown():
        for i in range(1, 1001):
            watch(i, 2000)
        watch.tell("verify: [all] is well")
    assert "/2000" in screen.getvalue()
    assert screen.getvalue().count("/2000") < 20
    assert "verify: [all] is well" in screen.getvalue()
    assert (watch.done, watch.total) == (1000, 2000)
    silent = io.StringIO()
    monkeypatch.setattr("sys.stderr", silent)
    with Watch().shown():
        pass
    assert silent.getvalue() == ""


@pytest.fixture
def checks(monkeypatch):
    """Let each round of `solve --verify` see the closed form, off by something."""

    def install(*rounds):
        left = list(rounds)

        def simulate(spec, **_):
            return by_hand.off_by(planner.evaluate(spec), left.pop(0))

        monkeypatch.setattr(verifying, "simulate", simulate)

    return install


def test_verify_that_holds_adds_what_was_simulated(run, checks):
    checks({})
    result = run("solve", *FLAGS, "--verify")
    assert result.exit_code == 0, result.output
    plain = run("solve", *FLAGS).stdout
    first, _, rest = result.stdout.partition("\n\nObjectives\n")
    assert first.splitlines()[:3] == plain.splitlines()[:3]
    assert "TTFT p90 <= 150 ms " in rest
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("verify: ") and " <= 1" in line for line in lines)


def test_verify_solves_again_and_says_so(run, checks, tmp_path):
    alone = json.loads(run("solve", *FLAGS, "--format", "json").stdout)
    (p90,) = (t["predicted_s"] for t in alone["prediction"]["targets"] if t["metric"] == "tpot")
    checks({"over_tpot": 1.2}, {})
    result = run("solve", *FLAGS, "--verify", "--format", "json", "-o", "out.yaml")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["status"] == "feasible"
    assert data["workload"]["ttft"] == "0.15 s"
    assert {t["objective_s"] for t in data["prediction"]["targets"]} == {0.15, 0.015}
    assert yaml.safe_load((tmp_path / "out.yaml").read_text()) == data
    first, again = result.stderr.splitlines()[:2]
    assert first.startswith("verify: ")
    assert " TPOT p90 simulated 18 ms (17.6 ms to 18.4 ms) > 15 ms" in first
    asked = format_seconds(p90 / 1.2 * (1 - verifying.MARGIN))
    assert again.startswith(f"verify: solving again with TPOT of {asked}")
    assert run("evaluate", "out.yaml").exit_code == 0


def test_verify_that_finds_nothing_is_one(run, checks, tmp_path):
    checks(*[{"over_ttft": 60.0}] * 9)
    result = run("solve", *FLAGS, "--verify", "-o", "out.yaml", "--csv", "out.csv")
    assert result.exit_code == 1
    assert "No feasible plan" in result.stdout
    assert "nearest miss: " in result.stdout
    assert result.stderr.splitlines()[-3:] == [
        "verify: no fleet tried keeps its objectives in simulation",
        "out.csv: not written, for there is no plan",
        "out.yaml: not written, for there is no plan",
    ]
    assert len(list(tmp_path.iterdir())) == 2


def test_verify_that_is_interrupted_is_130(run, checks, tmp_path):
    checks({"complete": False})
    result = run("solve", *FLAGS, "--verify", "-o", "out.yaml")
    assert result.exit_code == 130
    assert "proven optimal" in result.stdout
    assert result.stderr == (
        "verify: interrupted after 0 requests: the plan is not verified\n"
        "out.yaml: not written, for the plan is not verified\n"
    )
    assert not (tmp_path / "out.yaml").exists()


def test_a_real_run_end_to_end(run, tmp_path):
    args = ("simulate", "plan.yaml", "--requests", "800", "--format", "json", "--rows", "rows.csv")
    result = run(*args)
    assert (result.exit_code, result.stderr) == (0, "")
    data = json.loads(result.stdout)
    assert data["simulation"]["requests"] == 800
    assert data["simulation"]["complete"] is True
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert len(rows) == 800
    mean = sum(float(row["ttft_s"]) for row in rows) / 800
    assert data["simulation"]["ttft_s"]["mean"]["value"] == pytest.approx(mean, rel=1e-9)
    parts = [name for name in rows[0] if name.endswith(("_wait_s", "encode_s", "fill_s", "fer_s"))]
    for row in rows[:50]:
        assert sum(float(row[name]) for name in parts) == pytest.approx(float(row["ttft_s"]))
    gap = {(g["metric"], g["statistic"]): g["gap"] for g in data["gaps"]}
    assert abs(gap["tpot", "mean"]) < 0.1
    assert abs(gap["ttft", "mean"]) < 0.2
    assert run(*args).stdout == result.stdout
    assert run(*args, "--seed", "2").stdout != result.stdout


def test_a_real_run_that_is_interrupted_keeps_what_it_counted(run, monkeypatch, tmp_path):
    def stop(_, done, total):
        if done > 800:
            raise KeyboardInterrupt
        watched(_, done, total)

    watched = Watch.__call__
    monkeypatch.setattr(Watch, "__call__", stop)
    args = ("--requests", "2000", "--rows", "rows.csv", "--format", "json")
    result = run("simulate", "plan.yaml", *args)
    assert result.exit_code == 130
    data = json.loads(result.stdout)["simulation"]
    assert data["complete"] is False
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert 800 < data["requests"] < 2000
    assert abs(len(rows) - data["requests"]) <= 1
    assert {row["complete"] for row in rows} == {"false"}
    assert result.stderr.startswith(f"INTERRUPTED after {data['requests']:,} of 2,000 requests: ")


def test_a_real_trace_end_to_end(run, tmp_path):
    lines = [f"{0.2 * i:.1f},{900 + i},{40 + i % 5}" for i in range(300)]
    (tmp_path / "trace.csv").write_text("arrival,isl,osl\n" + "\n".join(lines) + "\n")
    result = run("simulate", "plan.yaml", "--trace", "trace.csv", "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    data = json.loads(result.stdout)
    assert (data["simulation"]["requests"], data["simulation"]["seed"]) == (300, None)
    assert data["simulation"]["rate_rps"] == pytest.approx(5, rel=0.01)
    assert data["closed_form"]["rate_rps"] == data["simulation"]["rate_rps"]
    faster = run("simulate", "plan.yaml", "--trace", "trace.csv", "--rate", "20", "-f", "json")
    data = json.loads(faster.stdout)
    assert data["simulation"]["requests"] == 300
    assert data["simulation"]["rate_rps"] == pytest.approx(20, rel=0.01)
    assert data["closed_form"]["rate_rps"] == data["simulation"]["rate_rps"]


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        (None, [], "cannot be read as a trace: no such file"),
        ("isl,osl\n100,10\n", [], "has lengths only; needs arrival times too, for example a "
         "column arrival_s"),
        ("arrival,isl,osl\n1,100,10\n1,200,20\n", ["--rate", "5"],
         "all requests come at once; such a trace has no rate that could be changed"),
    ],
)  # fmt: skip
def test_a_trace_that_cannot_be_replayed(run, tmp_path, text, args, message):
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    result = run("simulate", "plan.yaml", "--trace", "t.csv", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"t.csv: {message}\n")
