"""`calibrate` as people type it: texts, files, exit codes."""

import csv
import io
import json

import pytest
import yaml
from typer.testing import CliRunner

from pdplan.cli import app, measurements
from pdplan.specs.engine import load_engine

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


def test_a_profile_is_written_and_improves_the_score(run, tmp_path):
    result = run("calibrate", "steps.csv", "-o", "mine.yaml")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "wrote mine.yaml"
    assert "ada:gemm.mbu.bf16" in result.stdout
    engine = load_engine(str(tmp_path / "mine.yaml"))
    ada = engine.generations["ada"]
    assert (engine.name, ada.origin, ada.points, ada.measured) == ("mine", "fitted", 5, ("l40s",))
    assert ada.held_out == {}
    before = json.loads(run("validate", "steps.csv", "-f", "json").stdout)
    after = json.loads(run("validate", "steps.csv", "--engine", "mine.yaml", "-f", "json").stdout)
    assert after["totals"][0]["mape"] < before["totals"][0]["mape"] / 2
    assert after["totals"][0]["mape"] == pytest.approx(ada.in_sample["decode_s"], abs=0.002)


def test_the_same_measurements_give_the_same_file(run, tmp_path):
    run("calibrate", "steps.csv", "-o", "mine.yaml", "--name", "x")
    first = (tmp_path / "mine.yaml").read_bytes()
    run("calibrate", "steps.csv", "-o", "mine.yaml", "--name", "x")
    assert (tmp_path / "mine.yaml").read_bytes() == first
    assert yaml.safe_load(first)["name"] == "x"


def test_formats_of_a_calibration(run):
    data = json.loads(run("calibrate", "steps.csv", "-f", "json").stdout)
    told = [row for row in data["constants"] if row["status"] == "told"]
    assert told[0]["low"] <= told[0]["after"] <= told[0]["high"]
    assert data["errors"][0]["after"] < data["errors"][0]["before"]
    rows = list(csv.DictReader(io.StringIO(run("calibrate", "steps.csv", "-f", "csv").stdout)))
    assert [row["constant"] for row in rows] == [row["constant"] for row in data["constants"]]
    result = run("calibrate", "steps.csv", "-f", "md")
    assert "| ada:gemm.mbu.bf16 |" in result.stdout
    assert result.stderr.endswith("nothing written; -o FILE writes the profile\n")


def test_what_silicon_does_not_allow_is_refused_or_left_out(run, tmp_path):
    (tmp_path / "fast.csv").write_text(STEPS.replace(",29\n", ",2.9\n"))
    result = run("calibrate", "fast.csv", "-o", "mine.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "fast.csv:2: decode_s: 2.9 ms is faster than silicon allows: at least 17.5 ms on l40s\n"
        "check model, number formats, parallelism and what was timed, or leave them out with "
        "--drop-impossible\n"
    )
    assert not (tmp_path / "mine.yaml").exists()
    result = run("calibrate", "fast.csv", "--drop-impossible", "-f", "json", "-o", "mine.yaml")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert (data["numbers"], [row["line"] for row in data["left_out"]]) == (4, [2])
    assert load_engine(str(tmp_path / "mine.yaml")).generations["ada"].points == 4
    result = run("validate", "fast.csv")
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "1 of 5 numbers: faster than silicon allows; the first: fast.csv"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "command line: MEASUREMENTS: name at least one file; - is stdin\n"),
        (["gone.csv", "no.csv"], "gone.csv: no such file\nno.csv: no such file\n"),
        (["steps.csv", "-o", "x.txt"], "x.txt: must end in .yaml to be found again\n"),
        (
            ["steps.csv", "-o", "a/x.yaml"],
            "a/x.yaml: cannot be written: there is no folder a\n",
        ),
        (["steps.csv", "--engine", "vlm"], "unknown engine 'vlm'; did you mean 'vllm'?\n"),
        (
            ["steps.csv", "--tp", "x"],
            "no measurement is left to fit:\n"
            + "".join(f"steps.csv:{i}: tp: 'x' is not a number\n" for i in range(2, 7)),
        ),
    ],
)
def test_bad_input_is_two(run, tmp_path, args, message):
    result = run("calibrate", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message)
    assert list(tmp_path.glob("*.yaml")) == []


def test_a_refused_fit_leaves_the_old_file(run, tmp_path):
    (tmp_path / "mine.yaml").write_text("old")
    result = run("calibrate", "steps.csv", "--only", "experts", "-o", "mine.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("nothing to calibrate: not identified by these 5 numbers:\n")
    assert (tmp_path / "mine.yaml").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "steps.csv"]


def test_several_engines_are_refused(run, tmp_path):
    rows = HEAD.replace("phase", "engine,phase") + (
        "llama-3.1-8b,l40s,vllm,decode,1,1000,29\nllama-3.1-8b,l40s,sglang,decode,1,1000,29\n"
    )
    (tmp_path / "two.csv").write_text(rows)
    result = run("calibrate", "two.csv")
    assert (result.exit_code, result.stderr) == (
        2,
        "measurements of several engines (sglang, vllm); calibrate them one by one\n",
    )


@pytest.mark.parametrize(("torch", "cuda", "rest"), [
    (False, False, "needs PyTorch, which is not installed; pip install 'pdplan[measure]'"),
    (True, False, "needs a CUDA device; PyTorch finds none"),
])  # fmt: skip
def test_measuring_says_what_is_missing(run, monkeypatch, torch, cuda, rest):
    from types import SimpleNamespace

    fake = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: cuda))
    monkeypatch.setattr(measurements, "find_spec", lambda name: torch or None)
    monkeypatch.setattr(measurements, "import_module", lambda name: fake)
    result = run("calibrate", "--measure")
    assert (result.exit_code, result.stderr) == (2, f"command line: --measure: {rest}\n")
