"""Models of the catalogue by the names that result files use: Hugging Face ids and paths."""

import re
from pathlib import Path

from pdplan.specs.base import suggestion
from pdplan.specs.catalog import find, names

_HEAD = 20
"""Lines of a model file in which its Hugging Face id is looked for."""
_HF_ID = re.compile(r"^hf_id:\s*['\"]?([^'\"#\s]+)")
_PLAIN = re.compile(
    r"meta|instruct|chat|it|hf|base|dynamic|block|kv|gptq|quantized|2507|0324|0528|20\d{6}"
)
"""Parts of a name that change neither the architecture nor the number format."""
_DTYPES = {
    "fp8": "fp8", "nvfp4": "nvfp4", "fp4": "nvfp4", "mxfp4": "mxfp4", "awq": "int4",
    "int4": "int4", "w4a16": "int4", "gptq": "int4", "int8": "int8", "w8a8": "int8",
    "bf16": "bf16", "fp16": "fp16",
}  # fmt: skip


class Models:
    """Looks up models; remembers what it found."""

    def __init__(self, specs_dir: Path | None = None) -> None:
        self.ids = names("model", specs_dir)
        self._known: dict[str, str] = {}
        for name in self.ids:
            self._known.setdefault(_core(name)[0], name)
        for name in self.ids:
            hf_id = _hf_id(find("model", name, specs_dir))
            if hf_id:
                self._known[hf_id.lower()] = name
                self._known.setdefault(_core(hf_id)[0], name)

    def match(self, name: str) -> tuple[str, str] | None:
        """Model id, and the number format of the weights where the name says one."""
        if name in self.ids or name.endswith((".yaml", ".yml")):
            return name, ""
        core, dtype = _core(name)
        found = self._known.get(name.lower()) or self._known.get(core)
        return None if found is None else (found, dtype)

    def nearest(self, name: str) -> str:
        """Write `; did you mean 'x'?` where a model is near."""
        return suggestion(_last(name).lower(), self.ids)


def _hf_id(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            lines = [file.readline(1000) for _ in range(_HEAD)]
    except (OSError, UnicodeDecodeError):
        return ""
    return next((match[1] for line in lines if (match := _HF_ID.match(line))), "")


def _last(name: str) -> str:
    """Last part of an id or of a path; a folder of the Hugging Face cache names the model."""
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    cached = [part for part in parts if part.startswith("models--")]
    return cached[0].rpartition("--")[2] if cached else parts[-1] if parts else ""


def _core(name: str) -> tuple[str, str]:
    """Name without what does not matter, and the number format it says.

    >>> _core("RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8-dynamic")
    ('llama3.170b', 'fp8')
    """
    parts = _last(name).lower().replace("quantized.", "").replace("_", "-").split("-")
    said = [_DTYPES[part] for part in parts if part in _DTYPES]
    kept = [part for part in parts if part not in _DTYPES and not _PLAIN.fullmatch(part)]
    return "".join(kept), said[-1] if said else ""
