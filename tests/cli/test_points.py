import csv
import io
import json

import pytest
from typer.testing import CliRunner

from pdplan import planner
from pdplan.cli import app, points

OUTPUTS = ("latency_s", "fits", "error")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def predict(rows, *, specs_dir=None):
        return [
            {"error": "bad tp"} if row["tp"] == "x" else {"latency_s": 0.25, "fits": True}
            for row in rows
        ]

    monkeypatch.setattr(planner, "predict", predict, raising=False)
    monkeypatch.setattr(planner, "PREDICT_OUTPUTS", OUTPUTS, raising=False)
    return lambda *args, **options: CliRunner().invoke(app, ["predict", *args], **options)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_input_columns_then_outputs(run):
    result = run("-", input="\ufeffid,tp\nb,1\na,x\nc\nd,1,2\n")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "id,tp,latency_s,fits,error"
    rows = rows_of(result.stdout)
    assert [row["latency_s"] for row in rows] == ["0.25", "", "0.25", ""]
    assert [row["error"] for row in rows] == ["", "bad tp", "", "has more cells than the header"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunks_do_not_show(run, monkeypatch, chunk):
    monkeypatch.setattr(points, "CHUNK", chunk)
    rows = rows_of(run("-", input="id,tp\n" + "a,1\nb,x\n" * 3).stdout)
    assert [row["id"] for row in rows] == ["a", "b"] * 3


def test_other_formats_and_files(run, tmp_path):
    (tmp_path / "in.csv").write_text("id,tp\na,1\n")
    data = json.loads(run("in.csv", "--format", "json").stdout)
    assert data == [{"id": "a", "tp": "1", "latency_s": 0.25, "fits": True, "error": None}]
    result = run("in.csv", "--csv", "out.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "out.csv").read_bytes() == (
        b"id,tp,latency_s,fits,error\r\na,1,0.25,true,\r\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "stdin: is empty; expected a header line\n"),
        ("id,tp\n", "stdin: has no rows below its header\n"),
        ("tp,tp\n1,2\n", "stdin:1: column 'tp' is named twice\n"),
        ("tp\nx\n", "stdin: no row could be predicted; the first: bad tp\n"),
    ],
)
def test_nothing_to_predict_is_two(run, tmp_path, text, message):
    result = run("-", "--csv", "out.csv", input=text)
    assert (result.exit_code, result.stderr) == (2, message)
    assert not (tmp_path / "out.csv").exists()


def test_files_that_cannot_be_read(run, tmp_path):
    assert run("gone.csv").stderr == "gone.csv: no such file\n"
    assert run(".").stderr == ".: is a folder; expected a file\n"
    (tmp_path / "bad.csv").write_bytes(b"tp\n\xff\xfe\n")
    assert run("bad.csv").stderr == "bad.csv: is not UTF-8 text\n"
    (tmp_path / "long.csv").write_text("tp\n" + "1" * 200_000 + "\n")
    result = run("long.csv")
    assert result.exit_code == 2
    assert result.stderr == (
        "long.csv:2: is not valid CSV: field larger than field limit (131072)\n"
    )


def test_formulas_in_the_input_do_not_come_out(run):
    assert rows_of(run("-", input="id,tp\n=1+1,1\n").stdout)[0]["id"] == "'=1+1"
