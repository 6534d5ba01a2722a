"""Specs from a Hugging Face `config.json`: what it says, what it leaves open, nothing guessed."""

from collections.abc import Mapping
from typing import Any

from pdplan.errors import Problem, SpecError
from pdplan.specs.base import suggestion
from pdplan.specs.huggingface_config import FAMILIES, MISSING, Config
from pdplan.specs.huggingface_text import decoder
from pdplan.specs.huggingface_vision import TOWERS

_NESTED = ("text_config", "llm_config")


def known_types() -> list[str]:
    """Every `model_type` that can be read, sorted."""
    return sorted({*FAMILIES, *TOWERS})


def from_huggingface(config: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    """Turn a `config.json` into the mapping of a model spec, and a list of what it left open.

    Raises SpecError with every key that is missing and must not be guessed, or where the
    `model_type` is unknown. The list names each value that is assumed, and why.
    """
    if not isinstance(config, Mapping):
        raise SpecError(Problem(name, None, "", "config.json is not a mapping of keys"))
    unknown = ["published: config.json states no number of parameters"]
    root = Config(config, "", name, unknown)
    kind = str(config.get("model_type", ""))
    if kind not in known_types():
        found = f"'{kind}' is not known" if kind else "missing"
        hint = suggestion(kind, known_types()) or f"; known: {', '.join(known_types())}"
        raise SpecError(Problem(name, None, "model_type", found + hint))
    nested = next((key for key in _NESTED if isinstance(config.get(key), Mapping)), None)
    language = root.part(nested) if nested else root
    inner = kind if kind in FAMILIES else str(language.data.get("model_type", ""))
    if inner not in FAMILIES:
        found = f"'{inner}' is not known" if inner else "missing"
        key = f"{nested}.model_type" if nested else "model_type"
        raise SpecError(Problem(name, None, key, found))
    mapping = decoder(language, FAMILIES[inner], root)
    if kind in TOWERS and "vision_config" in config:
        mapping["vision"] = TOWERS[kind](root, root.part("vision_config"), language)
    elif "vision_config" in config or "audio_config" in config:
        unknown.append(f"vision, audio: encoders of '{kind}' are not read; this is the text alone")
    if root.missing:
        problems = (Problem(name, None, key, MISSING) for key in root.missing)
        raise SpecError(*problems)
    mapping["source"] = f"config.json of {name} (Hugging Face, model_type {kind})"
    mapping["confidence"] = "medium"
    return mapping, unknown


def dump_yaml(mapping: Mapping[str, Any]) -> str:
    """Write a spec mapping as the bundled files are written: short parts on one line.

    >>> print(dump_yaml({"name": "x", "ffn": {"layers": 2, "width": 8}}), end="")
    name: x
    ffn: {layers: 2, width: 8}
    """
    return "".join(line + "\n" for key, value in mapping.items() for line in _lines(key, value, ""))


def _lines(key: str, value: object, indent: str) -> list[str]:
    start = f"{indent}{key}:"
    if isinstance(value, Mapping):
        flat = f"{start} {_flow(value)}"
        nested = any(isinstance(item, Mapping | list) for item in value.values())
        if not nested and len(value) <= 6 and len(flat) <= 100:
            return [flat]
        below = [line for k, v in value.items() for line in _lines(k, v, indent + "  ")]
        return [start, *below]
    if isinstance(value, list):
        return [start, *(line for item in value for line in _item(item, indent + "  "))]
    return [f"{start} {_scalar(value)}"]


def _item(value: Mapping[str, Any], indent: str) -> list[str]:
    flat = f"{indent}- {_flow(value)}"
    if len(flat) <= 100:
        return [flat]
    lines = [line for k, v in value.items() for line in _lines(k, v, indent + "  ")]
    return [f"{indent}- {lines[0].strip()}", *lines[1:]]


def _flow(value: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(item)}" for key, item in value.items()) + "}"


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    plain = value.replace(" ", "").replace("/", "").replace("-", "").replace("_", "")
    plain = plain.replace(".", "").replace("(", "").replace(")", "")
    safe = plain.isalnum() and value[0].isalnum() and value == value.strip()
    word = value.lower() in ("true", "false", "yes", "no", "on", "off", "null")
    number = value.replace(".", "").replace("e", "").replace("_", "").replace("-", "").isdigit()
    if safe and not word and not number:
        return value
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
