import csv
import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pdplan.cli import app

TRACES = Path(__file__).parents[1] / "specs" / "traces"
AZURE = Path(__file__).parents[3] / "shared" / "data" / "traces" / "AzureLLMInferenceTrace_code.csv"


def run(*args):
    return CliRunner().invoke(app, ["workloads", "import", *(str(arg) for arg in args)])


def test_a_workload_and_its_lengths_are_written(tmp_path):
    output = tmp_path / "mine.yaml"
    result = run(TRACES / "azure_2023.csv", "-o", output)
    lengths = tmp_path / "mine.lengths.csv"
    assert (result.exit_code, result.stderr) == (0, f"wrote {lengths}\nwrote {output}\n")
    data = yaml.safe_load(output.read_text())
    assert data["name"] == "mine"
    assert data["rate"] == "2 req/s"
    assert data["isl"] == data["osl"] == {"trace": "mine.lengths.csv"}
    assert data["source"] == (
        "azure_2023.csv (Azure LLM inference trace): 3 requests, over 1 s, "
        "2023-11-16 18:17:03 to 2023-11-16 18:17:04 UTC"
    )
    assert lengths.read_text() == "isl,osl\n4808,10\n3180,8\n110,27\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.lengths.csv", "mine.yaml"]
    checked = CliRunner().invoke(app, ["workloads", "check", str(output)])
    assert (checked.exit_code, checked.stdout) == (0, f"{output}: ok\n")


def test_it_is_written_over_and_named(tmp_path):
    output = tmp_path / "mine.yaml"
    output.write_text("old")
    result = run(TRACES / "servegen.csv", "-o", output, "--name", "yours")
    assert result.exit_code == 0
    assert yaml.safe_load(output.read_text())["name"] == "yours"


def test_without_output_only_the_fit_is_told():
    result = run(TRACES / "table.csv")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("table.csv: table with columns of lengths, 3 requests.\n")
    assert "ISL p99" in result.stdout
    assert "prefix hit share" in result.stdout


def test_data_formats():
    rows = list(csv.DictReader(io.StringIO(run(TRACES / "table.csv", "-f", "csv").stdout)))
    found = {row["quantity"]: row for row in rows}
    assert list(rows[0]) == ["quantity", "trace", "workload"]
    assert found["isl_mean"] == {"quantity": "isl_mean", "trace": "200.0", "workload": "200.0"}
    data = json.loads(run(TRACES / "table.csv", "-f", "json").stdout)
    assert data["format"] == "table with columns of lengths"
    assert {"quantity": "images_mean", "trace": 1.0, "workload": 1.0} in data["fit"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            [TRACES / "table.csv", "-o", "w.yaml"],
            "command line: --image-size: the trace has images and does not say how large; "
            "for example 1280x960",
        ),
        (
            [TRACES / "table.csv", "--image-size", "big"],
            "command line: --image-size: needs WIDTHxHEIGHT, for example '1280x960'; got 'big'",
        ),
        (
            [TRACES / "table.csv", "--from", "10"],
            "command line: --from: needs a number and a unit, for example '300 ms'; got '10'",
        ),
        (
            [TRACES / "lengths.csv", "--until", "1 h"],
            "command line: --from, --until: the trace has lengths only, no arrival times",
        ),
        (
            [TRACES / "table.csv", "-o", "w.csv"],
            "w.csv: is no workload file; its name must end in .yaml",
        ),
        (
            [TRACES / "table.csv", "-o", "none/w.yaml"],
            "none/w.yaml: cannot be written: there is no folder none\n"
            "none/w.lengths.csv: cannot be written: there is no folder none",
        ),
        (["gone.csv"], "gone.csv: cannot be read as a trace: no such file"),
    ],
)
def test_wrong_wishes_are_two(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message + "\n")
    assert list(tmp_path.iterdir()) == []


def test_images_of_a_size(tmp_path):
    output = tmp_path / "w.yaml"
    result = run(TRACES / "azure_multimodal.csv", "-o", output, "--image-size", "640x480")
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "note: its prompt tokens count those of images too; --image-tokens takes them off\n"
    )
    images = yaml.safe_load(output.read_text())["images"]
    assert images["count"] == {"histogram": {"values": [0, 2], "weights": [0.5, 0.5]}}
    result = run(TRACES / "azure_multimodal.csv", "--image-tokens", 600)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_plot_needs_plotly(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setattr("pdplan.report.scatter.find_spec", lambda _: None)
    result = run(TRACES / "table.csv", "--plot", tmp_path / "p.html")
    assert result.exit_code == 2
    assert result.stderr == (
        "command line: --plot: needs Plotly, which is not installed; pip install 'pdplan[plots]'\n"
    )


@pytest.mark.parametrize("name", ["table.csv", "lengths.csv"])
def test_a_plot_is_one_page(name, tmp_path):
    pytest.importorskip("plotly")
    page = tmp_path / "p.html"
    result = run(TRACES / name, "--plot", page)
    assert (result.exit_code, result.stderr) == (0, f"wrote {page}\n")
    text = page.read_text()
    assert "trace-fit" in text
    assert "Prompt tokens" in text
    assert "https://cdn" not in text.split("</script>")[0]


def test_the_azure_trace_becomes_a_plan(tmp_path):
    if not AZURE.exists():
        pytest.skip(f"no trace {AZURE}")
    output = tmp_path / "code.yaml"
    assert run(AZURE, "-o", output).exit_code == 0
    question = ["--model", "llama-3.1-8b", "--hardware", "h100-sxm", "--workload", str(output)]
    wish = ["--ttft", "1s", "--tpot", "50ms", "--placement", "PD", "--format", "json"]
    result = CliRunner().invoke(app, ["solve", *question, *wish])
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["status"] == "optimal"
    assert plan["prediction"]["rate_rps"] == pytest.approx(2.5664, rel=1e-4)
