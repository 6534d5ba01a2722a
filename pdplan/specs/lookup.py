"""Finding what a scenario names, and saying at which key or flag of it something is wrong."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pdplan.errors import Problem, SpecError
from pdplan.specs.flags import HARDWARE_FLAGS, SCENARIO_FLAGS, blamed, given
from pdplan.specs.source import Document, Key

T = TypeVar("T")


class Lookup:
    """Looks up names said in a file or in flags; gathers all that is wrong before it fails."""

    def __init__(
        self,
        document: Document,
        folder: Path,
        specs_dir: Path | None,
        overrides: Mapping[str, object],
    ) -> None:
        self.document = document
        self.folder = folder
        self.specs_dir = specs_dir
        self.flags = given(overrides)
        self.problems: list[Problem | str] = []

    def blamed(self, error: SpecError) -> SpecError:
        """Name the flags that are to blame, and say where a missing key may be given."""
        places = SCENARIO_FLAGS | dict.fromkeys(HARDWARE_FLAGS, ("hardware",))
        found = blamed(error, self.flags, places)
        return SpecError(*(_say_where(problem) for problem in found.problems))

    def attempt(self, build: Callable[[], T]) -> T | None:
        """Do it, or note what is wrong and go on."""
        try:
            return build()
        except SpecError as error:
            self.problems.extend(error.problems)
            return None

    def wrong(self, key: Key, message: str) -> None:
        """Note a defect at a key of the scenario file, and go on."""
        error = SpecError(self.document.problem(key, message))
        self.problems.extend(self.blamed(error).problems)

    def located(self, name: str) -> str:
        """Take a path relative to the scenario file first."""
        beside = self.folder / name
        return str(beside) if name.endswith((".yaml", ".yml")) and beside.is_file() else name

    def named(self, key: Key, name: str, load: Callable[[str, Path | None], T]) -> T | None:
        """Load a spec by name; a name that nobody knows is a problem of the file that says it."""
        try:
            return load(self.located(name), self.specs_dir)
        except SpecError as error:
            for problem in error.problems:
                if isinstance(problem, str) or problem.message == "no such file":
                    self.wrong(key, str(problem))
                else:
                    self.problems.append(problem)
            return None


def _say_where(problem: Problem | str) -> Problem | str:
    if isinstance(problem, Problem) and problem.message.startswith("missing; it has"):
        message = f"missing; add '{problem.key}:' or give --{problem.key}"
        if problem.key in ("model", "hardware", "workload"):
            return Problem(problem.source, None, problem.key, message)
    return problem
