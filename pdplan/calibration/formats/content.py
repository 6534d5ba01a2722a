"""The bytes of a result file as the parts that readers read, whatever its extension."""

from pathlib import Path

from pdplan.calibration.formats.arrays import array_parts
from pdplan.calibration.formats.format import Part
from pdplan.calibration.formats.json_parts import json_parts
from pdplan.calibration.formats.table import header_part
from pdplan.errors import Problem, SpecError

MAX_BYTES = 256_000_000


def parts(path: Path) -> list[Part]:
    """Read a file; raises SpecError where it is none, too large, or broken."""
    name = str(path)
    data = _bytes(path)
    if data.startswith(b"PK\x03\x04"):
        return array_parts(name, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(Problem(name, None, "", "is not UTF-8 text")) from None
    if not text.strip():
        raise SpecError(Problem(name, None, "", "is empty; expected a benchmark result"))
    if text.lstrip()[0] in "{[":
        return json_parts(name, text)
    first = text.lstrip().splitlines()[0]
    if "," in first or first.strip().startswith("measured"):
        return [header_part(name, text)]
    heads = (line.partition(":")[0].strip() for line in text.splitlines()[:500])
    return [Part("text", tuple(dict.fromkeys(head for head in heads if head)), text, name)]


def _bytes(path: Path) -> bytes:
    name = str(path)
    try:
        if path.is_dir():
            raise SpecError(Problem(name, None, "", "is a folder; expected a file"))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # a pipe or a device says nothing of its size
    except FileNotFoundError:
        raise SpecError(Problem(name, None, "", "no such file")) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise SpecError(Problem(name, None, "", f"cannot be read: {reason}")) from None
    if len(data) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES // 10**6} MB; no more is read"
        raise SpecError(Problem(name, None, "", message))
    return data
