"""The arrays of an .npz file: numbers only, of bounded size, nothing executed."""

import io
import zipfile
import zlib

import numpy as np

from pdplan.calibration.formats.format import Part
from pdplan.errors import Problem, SpecError

MAX_ARRAY_BYTES = 256_000_000
"""Of all arrays together, unpacked."""

_BROKEN = (
    zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, KeyError, TypeError,
    SyntaxError, MemoryError, RuntimeError, OverflowError, AttributeError, RecursionError,
)  # fmt: skip


def array_parts(name: str, data: bytes) -> list[Part]:
    """Read a zip of arrays; raises SpecError where it is none or holds Python objects."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MAX_ARRAY_BYTES:
                message = f"unpacks to more than {MAX_ARRAY_BYTES // 10**6} MB; no more is read"
                raise SpecError(Problem(name, None, "", message))
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = {key: np.asarray(arrays[key]) for key in arrays.files}
    except SpecError:
        raise
    except _BROKEN as error:
        pickled = isinstance(error, ValueError) and "pickle" in str(error)
        message = "holds Python objects, which are not read" if pickled else "is not a valid .npz"
        raise SpecError(Problem(name, None, "", message)) from None
    numeric = {key: array for key, array in found.items() if array.dtype.kind in "iuf"}
    return [Part("npz", tuple(found), numeric, name)]
