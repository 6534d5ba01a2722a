"""Where named specs live: the user's own folders first, then those that come with pdplan."""

import os
from functools import cache
from pathlib import Path

from pdplan.errors import Problem, SpecError
from pdplan.specs.base import suggestion

KINDS = {
    "hardware": "hardware_specs",
    "model": "models",
    "workload": "workloads",
    "engine": "engines",
    "example": "examples",
    "system": "systems",
}


@cache
def bundled_root() -> Path:
    """Folder that holds the bundled specs: inside a wheel, else beside the package."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "bundled"
    return inside if inside.is_dir() else package.parent


def bundled(path: Path) -> bool:
    """Whether a spec file comes with pdplan."""
    folder = path.resolve().parent
    return folder.parent == bundled_root() and folder.name in KINDS.values()


def plain_name(name: str) -> str:
    """Id of a spec given by name or by path.

    >>> plain_name("mine/x-1.5.yaml"), plain_name("x-1.5")
    ('x-1.5', 'x-1.5')
    """
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name


def folders(kind: str, specs_dir: Path | None = None) -> tuple[Path, ...]:
    """Folders searched for a kind, first match wins: `--specs DIR`, `$PDPLAN_SPECS`, bundled."""
    own = [specs_dir] if specs_dir is not None else []
    own += [Path(part) for part in os.environ.get("PDPLAN_SPECS", "").split(os.pathsep) if part]
    return tuple(root / KINDS[kind] for root in (*own, bundled_root()))


def names(kind: str, specs_dir: Path | None = None) -> list[str]:
    """Every name of a kind, sorted."""
    found: set[str] = set()
    for folder in folders(kind, specs_dir):
        inside = folder.glob("**/*.yaml" if kind == "example" else "*.yaml")
        found |= {path.relative_to(folder).with_suffix("").as_posix() for path in inside}
    return sorted(found)


def find(kind: str, name: str, specs_dir: Path | None = None) -> Path:
    """Path of a spec given by name or by path; raises SpecError with a suggestion."""
    nested = kind == "example" and "/" in name
    if name.endswith((".yaml", ".yml")) or (os.sep in name and not nested):
        path = Path(name)
        try:
            found = path.exists()
        except OSError:  # a name too long for the file system
            found = False
        if not found:
            raise SpecError(Problem(name[:200], None, "", "no such file"))
        return path
    for folder in folders(kind, specs_dir):
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    known = names(kind, specs_dir)
    listed = ", ".join(known) if kind == "example" else f"pdplan {_command(kind)} list"
    hint = suggestion(name.lower(), known) or f"; known: {listed}"
    message = f"unknown {kind} '{name}'{hint}"
    raise SpecError(message)


def _command(kind: str) -> str:
    return kind if kind == "hardware" else f"{kind}s"
