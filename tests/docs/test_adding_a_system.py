"""The walk-through of docs/ADDING_A_SYSTEM.md, done step by step in an empty folder."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdplan.cli import app

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "ADDING_A_SYSTEM.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([\w./-]+\.\w+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in NAMED.findall(TEXT):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def run(*words):
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_file_of_the_walk_through_is_a_system(reader):
    assert run("systems", "check", "my-specs/systems/sarathi.yaml").endswith(": ok\n")
    assert "sarathi" in run("systems", "list", "--specs", "my-specs")
    assert "OSDI 2024" in run("systems", "show", "sarathi", "--specs", "my-specs")


def test_the_system_of_the_walk_through_is_planned_and_compared(reader):
    asked = ("chat-70b", "--specs", "my-specs", "--hardware", "h100-sxm")
    assert '"system": "sarathi"' in run("solve", *asked, "--system", "sarathi", "--format", "json")
    rows = run("compare", *asked, "--format", "csv").splitlines()
    assert any(row.startswith("sarathi,PD,") for row in rows)


def test_the_test_of_the_walk_through_passes(reader):
    code = (reader / "my-specs" / "test_sarathi.py").read_text(encoding="utf-8")
    names = {}
    exec(compile(code, "test_sarathi.py", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()
