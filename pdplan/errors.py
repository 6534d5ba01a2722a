"""What can go wrong, by who has to act: the author of a file, of a model, or of a wish."""

from dataclasses import dataclass


class PdplanError(Exception):
    """Any expected failure; its text is meant for the person at the terminal."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place: `file:line: key.path: what is wrong; what was expected`."""

    source: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class SpecError(PdplanError):
    """A file or a flag that cannot be used as it is; carries every problem found in it."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class UnfitError(PdplanError):
    """A valid request that a model, a hardware or a placement cannot take part in."""


class InfeasibleError(PdplanError):
    """No fleet meets the objectives within the limits; an answer, not a fault."""

    exit_code = 1
