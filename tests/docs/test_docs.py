import ast
import os
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdplan.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("**/*.yaml"))
SPECS = ("hardware_specs", "models", "workloads", "engines", "examples", "systems")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w./-]+\.\w+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown_commands():
    """Every distinct command of the documentation, with the exit code stated beside it."""
    lines = []
    for page in DOCS:
        text = page.read_text(encoding="utf-8")
        for language, block in FENCE.findall(text):
            if language == "bash":
                lines += block.replace("\\\n", " ").splitlines()
        outside = FENCE.sub("", text)
        lines += [one for one in re.findall(r"`(pdplan [^`\n]+)`", outside) if is_whole(one)]
    for example in EXAMPLES:
        comments = [
            line.lstrip("# ") for line in example.read_text().splitlines() if line.startswith("#")
        ]
        lines += [line for line in comments if line.startswith("pdplan ")]
    found = {}
    for line in lines:
        if line.startswith("pdplan "):
            command, _, comment = line.partition(" #")
            stated = re.search(r"exit (\d)", comment)
            found[" ".join(command.split())] = int(stated[1]) if stated else 0
    return found


def is_whole(command):
    """Mentions such as `pdplan solve` or `pdplan KIND check FILE` are not meant to be typed."""
    words = command.split()[1:]
    return len(words) >= 2 and not any(word.isupper() for word in words)


COMMANDS = shown_commands()


def run(command):
    words = shlex.split(command)[1:]
    return CliRunner().invoke(app, words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that the documentation shows, beside the bundled specs, as in a checkout."""
    place = tmp_path_factory.mktemp("reader")
    for name in SPECS:
        (place / name).symlink_to(ROOT / name)
    for page in DOCS:
        for name, content in NAMED.findall(page.read_text(encoding="utf-8")):
            path = place / name
            assert not path.exists(), f"{page.name}: {name} is shown twice"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    before = Path.cwd()
    os.chdir(place)
    try:
        for command in COMMANDS:
            if " -o " in command:  # other commands read what these write, in any order of tests
                run(command)
        yield place
    finally:
        os.chdir(before)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_command_runs_as_shown(command, folder):
    result = run(command)
    assert result.exit_code == COMMANDS[command], result.output


def test_output_shown_in_the_readme_is_real(folder):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pattern = r"```bash\n(pdplan solve [^\n]+)\n```\n\n```text\n(.*?)^```"
    command, shown = re.search(pattern, readme, re.DOTALL | re.MULTILINE).groups()
    real = run(command).stdout.splitlines()
    assert [line for line in shown.splitlines() if line not in (*real, "...")] == []


def test_python_example_runs(folder, capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [code for language, code in FENCE.findall(readme) if language == "python"]
    exec(compile(ast.parse(block), "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("optimal ")


def test_first_commands_of_the_readme_are_the_install_and_the_tests():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [code for language, code in FENCE.findall(readme) if language == "bash"]
    first, second, *_ = [line for block in blocks for line in block.splitlines() if line]
    assert first == 'pip install -e ".[dev]"'
    assert second.startswith("python -m pytest")


def test_every_command_of_the_program_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [c.name or c.callback.__name__ for c in app.registered_commands]
    names += [group.name for group in app.registered_groups]
    assert [name for name in names if f"`{name}`" not in readme] == []


def test_every_path_named_in_the_architecture_exists():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:pdplan|tests)/[\w./]*)`", text)
    assert len(paths) > 20
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert [path for path in missing if path != "pdplan/bundled"] == []


def test_every_part_of_the_package_is_in_the_architecture():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    parts = [path.name for path in (ROOT / "pdplan").iterdir() if (path / "__init__.py").exists()]
    assert [part for part in parts if f"`pdplan/{part}/`" not in text] == []


def suffixes(line_start):
    text = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith(line_start)]
    return {name for line in lines for name in re.findall(r"`(_\w+)`", line)}


def identifiers():
    """Names that the package gives to arguments, fields and variables, by file."""
    for path in sorted((ROOT / "pdplan").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = {ast.Name: "id", ast.arg: "arg", ast.Attribute: "attr"}.get(type(node))
            if name is not None:
                yield path.relative_to(ROOT / "pdplan"), getattr(node, name)


def test_suffixes_of_the_glossary_are_used():
    used = {name for _, name in identifiers()}
    wanted = suffixes("| `_")
    assert len(wanted) >= 8
    unused = {end for end in wanted if not any(name.endswith(end) for name in used)}
    assert unused == set()


def test_suffixes_that_the_glossary_forbids_are_not_used():
    forbidden = tuple(suffixes("Not used:"))
    assert len(forbidden) >= 4
    found = {
        f"{path}: {name}"
        for path, name in identifiers()
        if name.endswith(forbidden) and path.parts[0] not in ("units.py", "report")
    }
    assert found == set()


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_of_the_documentation_resolve(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue  # nothing here asks the network
        name, _, heading = target.partition("#")
        aim = (page.parent / name).resolve() if name else page
        assert aim.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", aim.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in slugs, f"{page.name}: {target}"


def test_sections_that_docstrings_refer_to_exist():
    pattern = re.compile(r'docs/MODELS\.md,\s+"([^"]+)"')
    text = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    for path in (ROOT / "pdplan").rglob("*.py"):
        for title in pattern.findall(path.read_text(encoding="utf-8")):
            assert title in titles, f"{path.name}: {title}"


def test_changelog_has_an_unreleased_section():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.count("\n## Unreleased\n") == 1
    assert "### Numbers moved" in text


def test_keys_of_the_documented_tables_are_those_of_the_files():
    from pdplan.specs.scenario_file import ScenarioSpec, SearchSpec
    from pdplan.specs.workload import Requests, WorkloadSpec

    text = (ROOT / "docs" / "SPECS.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", FENCE.sub("", text)))))
    models = (ScenarioSpec, SearchSpec, Requests, WorkloadSpec)
    assert [k for model in models for k in model.model_fields if k not in words] == []
