"""The kinds of spec files behind one set of commands."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdplan.errors import Problem, SpecError

if TYPE_CHECKING:
    from pydantic import BaseModel

_SCHEMAS = {
    "hardware": "HardwareSpec",
    "model": "ModelSpec",
    "workload": "WorkloadSpec",
    "engine": "EngineSpec",
    "system": "SystemSpec",
}


def schema_of(kind: str) -> "type[BaseModel]":
    """Pydantic model of a kind."""
    found: type[BaseModel] = getattr(import_module(f"pdplan.specs.{kind}"), _SCHEMAS[kind])
    return found


def load(kind: str, name: str, specs: Path | None) -> Any:  # noqa: ANN401  (one of the specs)
    """Read and check a spec by id or path; raises SpecError."""
    found = getattr(import_module(f"pdplan.specs.{kind}"), f"load_{kind}")(name, specs)
    if kind == "workload":
        _read_traces(found, name, specs)
    return found


def _read_traces(workload: Any, name: str, specs: Path | None) -> None:  # noqa: ANN401
    """Read the traces that a workload names, if any."""
    lengths = [length for kind in workload.kinds() for length in (kind.isl, kind.osl)]
    if any(length is not None and length.trace is not None for length in lengths):
        from pdplan.specs.catalog import find
        from pdplan.specs.traffic import traffic

        traffic(workload, workload.rate or 1.0, find("workload", name, specs).parent)


def check_deeper(kind: str, name: str, spec: Any, specs: Path | None) -> None:  # noqa: ANN401
    """Check what takes more than the file itself: engine profiles against all hardware."""
    if kind == "engine":
        from pdplan.planner.guard import misfits
        from pdplan.specs.catalog import find
        from pdplan.specs.source import load_yaml

        document = load_yaml(find(kind, name, specs))
        problems = [document.problem(key, message) for key, message in misfits(spec, specs)]
        if problems:
            raise SpecError(*problems)


def raw(kind: str, name: str, specs: Path | None) -> dict[str, Any]:
    """Read the data of a spec file as written."""
    from pdplan.specs.catalog import find
    from pdplan.specs.source import load_yaml

    found: dict[str, Any] = load_yaml(find(kind, name, specs)).data
    return found


def targets(kind: str, paths: list[str], specs: Path | None) -> list[str]:
    """Files that are meant: those named, those in folders named, else all that are known."""
    from pdplan.specs.catalog import names

    if not paths:
        return names(kind, specs)
    found: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            inside = sorted(str(p) for p in Path(path).glob("*.y*ml"))
            if not inside:
                raise SpecError(Problem(path, None, "", "holds no YAML files"))
            found += inside
        else:
            found.append(path)
    return found
