"""`validate` as people type it: texts, files, exit codes."""

import csv
import io
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pdplan.cli import app
from pdplan.cli.hints import HINTS
from pdplan.planner.points import PREDICT_INPUTS

HEAD = "model,hardware,phase,batch,context,measured_ms\n"
STEPS = HEAD + "".join(
    f"llama-3.1-8b,l40s,decode,{batch},1000,{ms}\n"
    for batch, ms in ((1, 29), (8, 32.1), (32, 37.2), (64, 42.9), (128, 54.6))
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps.csv").write_text(STEPS)
    return lambda *args: CliRunner().invoke(app, list(args))


def test_hints_say_what_files_do_not(run, tmp_path):
    (tmp_path / "bare.csv").write_text("batch,context,measured_ms\n1,1000,29\n8,1000,32\n")
    flags = ["--model", "llama-3.1-8b", "--hardware", "l40s", "--phase", "decode"]
    result = run("validate", "bare.csv", *flags, "-f", "json")
    assert json.loads(result.stdout)["totals"][0]["points"] == 2
    assert set(HINTS) | {"engine"} == set(PREDICT_INPUTS)


def test_too_large_an_error_is_one(run):
    assert run("validate", "steps.csv", "--max-mape", "99%").exit_code == 0
    result = run("validate", "steps.csv", "--max-mape", "0.1")
    assert result.exit_code == 1
    assert result.stderr.startswith("decode_s: MAPE ")
    assert result.stderr.endswith(" % is above --max-mape 0.1\n")
    assert result.stdout.startswith("Measurements: 5, with 5 numbers.\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--by", "phse"], "command line: --by: no column 'phse'; did you mean 'phase'?\n"),
        (["--by", "tp", "--by", "tp"], "command line: --by: 'tp' is named twice\n"),
        (
            ["--max-mape", "-3"],
            "command line: --max-mape: must be a percentage above 0, for example 15; got -3\n",
        ),
        (["--engine", "vlm"], "unknown engine 'vlm'; did you mean 'vllm'?\n"),
        (["--csv", "a", "--plot", "a"], "a: is named for two outputs\n"),
    ],
)
def test_bad_flags_of_validate(run, args, message):
    result = run("validate", "steps.csv", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)


def test_no_plotly_is_a_message(run, monkeypatch):
    from pdplan.report import scatter

    monkeypatch.setattr(scatter, "find_spec", lambda name: None)
    result = run("validate", "steps.csv", "--plot", "x.html")
    assert (result.exit_code, result.stderr) == (
        2,
        "command line: --plot: needs Plotly, which is not installed; pip install 'pdplan[plots]'\n",
    )


def test_files_of_validate(run, tmp_path):
    pytest.importorskip("plotly")
    result = run("validate", "steps.csv", "--csv", "points.csv", "--plot", "x.html")
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "points.csv").read_text())))
    assert [row["line"] for row in rows] == ["2", "3", "4", "5", "6"]
    assert float(rows[0]["measured"]) == pytest.approx(0.029)
    assert (tmp_path / "x.html").read_text(encoding="utf-8").endswith("</html>")


def test_stdin_and_what_is_imported(tmp_path):
    command = [sys.executable, "-m", "pdplan", "validate", "-", "--format", "csv"]
    result = subprocess.run(command, input=STEPS, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("output,model,hardware,engine,points,mape")
    code = (
        "import sys\nfrom pdplan.cli import app\n"
        "app(['solve', '--model', 'llama-3.1-8b', '--hardware', 'h100-sxm', '--rate', '1', "
        "'--isl', '100', '--osl', '10', '--ttft', '900', '--tpot', '50'], standalone_mode=False)\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    loaded = set(result.stderr.splitlines())
    assert "pdplan.planner.solving" in loaded
    assert not loaded & {"scipy", "plotly", "torch", "pdplan.calibration"}
