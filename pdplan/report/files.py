"""Files that are either complete or not there."""

import contextlib
import os
import stat
from pathlib import Path

from pdplan.errors import Problem, SpecError


def check_writable(*paths: Path | None) -> None:
    """Refuse what cannot be written before any work is done; raises SpecError."""
    wanted = [path for path in paths if path is not None]
    problems = [_problem(path) for path in wanted]
    twice = [str(path) for i, path in enumerate(wanted) if path in wanted[:i]]
    found = [problem for problem in problems if problem is not None]
    found += [Problem(name, None, "", "is named for two outputs") for name in twice]
    if found:
        raise SpecError(*found)


def _problem(path: Path) -> Problem | None:
    if path.is_dir():
        reason = "is a folder"
    elif not path.parent.is_dir():
        reason = f"there is no folder {path.parent}"
    elif path.exists() and not os.access(path, os.W_OK):
        reason = "the file is read-only"
    elif not path.exists() and not os.access(path.parent, os.W_OK):
        reason = f"the folder {path.parent} is read-only"
    else:
        return None
    return Problem(str(path), None, "", f"cannot be written: {reason}")


def write_file(path: Path, text: str) -> None:
    """Write a text as it is, in one step: readers see the old file or the new one."""
    try:
        _write(path.resolve(), text.encode("utf-8"))
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        raise SpecError(Problem(str(path), None, "", reason)) from None


def _write(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode if path.exists() else None
    if mode is not None and not stat.S_ISREG(mode):  # a pipe or a device: nothing to replace
        path.write_bytes(data)
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(data)
        if mode is not None:
            beside.chmod(stat.S_IMODE(mode))
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
