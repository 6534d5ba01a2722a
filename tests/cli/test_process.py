"""The program as a process: start-up, pipes, exit codes, help."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pdplan
from pdplan.cli import app

HEAVY = {"numpy", "pulp", "pydantic", "rich", "yaml", "highspy", "scipy", "plotly"}
COMMANDS = (
    *("solve", "compare", "evaluate", "simulate", "explain", "predict", "calibrate", "validate"),
)
GROUPS = ("hardware", "models", "workloads", "engines")


def python(*args, **options):
    command = [sys.executable, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    "statement",
    [
        "import pdplan",
        "import pdplan.cli",
        "from pdplan.cli import app; app(['--version'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_imported(statement):
    result = python("-c", f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')")
    assert result.returncode == 0, result.stderr
    assert not HEAVY & set(result.stdout.splitlines())


def test_version():
    result = python("-m", "pdplan", "--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, "pdplan 0.1.0\n", "")
    file = Path(pdplan.__file__).parents[1] / "pyproject.toml"
    if file.is_file():
        assert pdplan.__version__ == tomllib.loads(file.read_text())["project"]["version"]


def test_bad_input_has_no_traceback(tmp_path):
    result = python("-m", "pdplan", "solve", "gone.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "gone.yaml: no such file\n"


def test_a_closed_pipe_is_quiet():
    code = (
        "import sys\nfrom pdplan.cli import output, pages\nimport typer\n"
        "app = typer.Typer(cls=pages.Group)\n"
        "app.callback()(lambda: None)\n"
        "app.command('x')(lambda: [output.say('line\\n' * 1000) for _ in range(1000)] and None)\n"
        "app()\n"
    )
    script = f'{sys.executable} -c "$CODE" x | head -1; echo ${{PIPESTATUS[0]}}'
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env={"CODE": code,
        "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (result.stdout, result.stderr) == ("line\n141\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_a_message():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "pdplan", "hardware", "list"]
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 2
    assert result.stderr == "stdout: cannot be written: No space left on device\n"


def test_output_is_not_coloured_without_a_terminal_or_against_no_color(monkeypatch):
    from pdplan.cli import output

    assert "\x1b" not in CliRunner().invoke(app, ["hardware", "list"]).stdout
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.screen()[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.screen()[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"pdplan {command} " in result.stdout
    assert "Example" in result.stdout


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("command", ["list", "show", "check", "schema"])
def test_help_of_specs_has_an_example(group, command):
    result = CliRunner().invoke(app, [group, command, "--help"])
    assert f"pdplan {group} {command}" in result.stdout


def test_public_names():
    for name in pdplan.__all__:
        assert name in dir(pdplan)
        assert getattr(pdplan, name) is not None
    with pytest.raises(AttributeError, match="module 'pdplan' has no attribute 'nothing'"):
        pdplan.nothing  # noqa: B018
