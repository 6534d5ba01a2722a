"""Command-line flags laid over the keys of a file; errors name the flag that is to blame."""

import copy
import re
from collections.abc import Mapping
from typing import Any

from pdplan.errors import Problem, SpecError
from pdplan.specs.base import suggestion
from pdplan.specs.source import Key, dotted

COMMAND_LINE = "command line"

_SEARCH = {
    "placement": "placements",
    "split": "split",
    "tp": "tp",
    "pp": "pp",
    "ep": "ep",
    "dp": "dp",
    "weight_dtype": "weight_dtypes",
    "kv_dtype": "kv_dtypes",
    "max_batch": "max_batch",
    "scheduler": "schedulers",
    "chunk_tokens": "chunk_tokens",
    "roles": "roles",
}
_TOP = (
    *("model", "engine", "workload", "rate", "ttft", "tpot", "percentile", "hardware"),
    *("speculative", "objective", "whole_nodes", "routing", "first_token_from"),
)
SCENARIO_FLAGS: dict[str, Key] = {
    **{name: (name,) for name in _TOP},
    "itl": ("tpot",),
    **{name: ("limits", name) for name in ("max_gpus", "budget", "power")},
    **{flag: ("search", key) for flag, key in _SEARCH.items()},
}
"""Flags, with `_` for `-`, and the scenario keys they set."""

WORKLOAD_FLAGS: dict[str, Key] = {
    "isl": ("isl",),
    "osl": ("osl",),
    "arrival_scv": ("arrival_scv",),
    "peak_factor": ("peak_factor",),
    "burst": ("burst",),
    "prefix_hit": ("prefix", "hit"),
    "turns": ("session", "turns"),
    "think": ("session", "think"),
    "images": ("images", "count"),
    "image_size": ("images", "width"),
}
OF_ARRIVALS = ("arrival_scv", "peak_factor", "burst")
"""Those that hold for all classes."""
HARDWARE_FLAGS = ("price", "stock", "provider")

_UNITS = {"rate": "req/s", "ttft": "ms", "tpot": "ms", "itl": "ms", "budget": "USD/h", "think": "s"}
_NUMBERS = (
    *("isl", "osl", "images", "arrival_scv", "percentile", "stock", "max_gpus"),
    *("peak_factor", "prefix_hit", "turns"),
)
_PARTS = {
    "burst": (("factor", "share", "length"), "4,0.1,30s"),
    "speculative": (("draft_tokens", "acceptance", "draft"), "3,0.7,mtp"),
}
"""Flags of several values with commas between: their keys, and an example."""
_REPLACED: dict[Key, Key] = {
    ("tpot",): ("itl",),
    ("peak_factor",): ("profile",),
    ("prefix", "hit"): ("prefix", "tokens"),
}
"""Keys of a file that a flag at another key takes the place of."""
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def blame(message: str, *, flag: str) -> SpecError:
    """Describe a defect of one flag."""
    return SpecError(Problem(COMMAND_LINE, None, "--" + flag.replace("_", "-"), message))


def given(overrides: Mapping[str, object]) -> dict[str, Any]:
    """Drop flags that were not given, and read plain numbers and their usual units."""
    known = (*SCENARIO_FLAGS, *WORKLOAD_FLAGS, *HARDWARE_FLAGS)
    found = {}
    for flag, value in overrides.items():
        if flag not in known:
            options = ["--" + name.replace("_", "-") for name in known]
            raise blame("unknown flag" + suggestion("--" + flag, options), flag=flag)
        if value is None or (isinstance(value, list | tuple) and not value):
            continue
        found[flag] = _read(flag, value)
    if "itl" in found and "tpot" in found:
        message = "is another name for --tpot, which is given too"
        raise blame(message, flag="itl")
    return found


def _read(flag: str, value: object) -> object:
    if flag == "percentile" and isinstance(value, str):
        return [_number(part) for part in value.split(",")]
    if flag in _PARTS and isinstance(value, str):
        return _parts(flag, value)
    if flag in _NUMBERS:
        return _number(value)
    if flag in _UNITS and not isinstance(value, bool):
        number = _number(value)
        return f"{number} {_UNITS[flag]}" if isinstance(number, int | float) else value
    if flag == "hardware" and isinstance(value, str):
        return value.split(",")
    return list(value) if isinstance(value, tuple) else value


def _parts(flag: str, value: str) -> dict[str, object]:
    names, example = _PARTS[flag]
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != len(names) or not all(parts):
        expected = ",".join(name.upper() for name in names)
        message = f"needs {expected}, for example '{example}'; got '{value}'"
        raise blame(message, flag=flag)
    found = {name: _number(part) for name, part in zip(names, parts, strict=True)}
    if isinstance(found.get("length"), int | float):
        found["length"] = f"{found['length']} s"
    return found


def _number(value: object) -> object:
    if not isinstance(value, str) or not _PLAIN.fullmatch(value.strip()):
        return value
    return int(value) if value.strip().lstrip("+-").isdecimal() else float(value)


def overlaid(data: Mapping[str, Any], flags: Mapping[str, Any], places: Mapping[str, Key]) -> Any:  # noqa: ANN401  (raw YAML)
    """Copy the data of a file and set the flags at their places; flags win."""
    result = copy.deepcopy(dict(data))
    for flag, value in flags.items():
        place = places.get(flag)
        if place is None:
            continue
        spot = result
        for part in place[:-1]:
            inner = spot.get(str(part))
            spot[str(part)] = spot = dict(inner) if isinstance(inner, dict) else {}
        spot[str(place[-1])] = value
        if place in _REPLACED:
            *inside, last = _REPLACED[place]
            (result[str(inside[0])] if inside else result).pop(str(last), None)
    return result


def with_images(data: dict[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `--images` and `--image-size` over a workload's images."""
    if not {"images", "image_size"} & flags.keys():
        return data
    old = data.get("images")
    images: dict[str, Any] = dict(old) if isinstance(old, dict) else {}
    if "images" in flags:
        images["count"] = flags["images"]
    if "image_size" in flags:
        width, height = _size(flags["image_size"])
        images |= {"width": width, "height": height}
        images.pop("sizes", None)
    if "width" not in images and "sizes" not in images:
        message = "needs --image-size, for example '--image-size 1280x960'"
        raise blame(message, flag="images")
    if "count" not in images:
        message = "needs --images, for example '--images 1'"
        raise blame(message, flag="image_size")
    return data | {"images": images}


def _size(value: object) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", str(value))
    if match is None:
        message = f"needs WIDTHxHEIGHT, for example '1280x960'; got '{value}'"
        raise blame(message, flag="image_size")
    return int(match[1]), int(match[2])


def with_hardware(data: dict[str, Any], flags: Mapping[str, Any], file: object) -> dict[str, Any]:
    """Keep what the file says of hardware that `--hardware` names; lay price and stock over it."""
    uses = data.get("hardware")
    uses = [uses] if isinstance(uses, str) else uses
    if not isinstance(uses, list):
        return data
    listed = [{"id": use} if isinstance(use, str) else use for use in uses]
    old = {u["id"]: u for u in (file if isinstance(file, list) else []) if _has_id(u)}
    if "hardware" in flags:
        listed = [dict(old.get(u["id"], u)) if _has_id(u) else u for u in listed]
    for flag in HARDWARE_FLAGS:
        for name, value in _pairs(flag, flags.get(flag)).items():
            matching = [i for i, use in enumerate(listed) if _has_id(use) and use["id"] == name]
            if not matching:
                known = ", ".join(str(use["id"]) for use in listed if _has_id(use))
                message = f"'{name}' is not among the hardware: {known}"
                raise blame(message, flag=flag)
            for i in matching:
                listed[i] = dict(listed[i]) | {flag: value}
    return data | {"hardware": listed}


def _has_id(use: object) -> bool:
    return isinstance(use, dict) and isinstance(use.get("id"), str)


def _pairs(flag: str, value: object) -> dict[str, object]:
    """Read `id=value` pairs, or a mapping of them; a bare price is in USD/h."""
    if isinstance(value, Mapping):
        pairs = dict(value)
    else:
        items = [value] if isinstance(value, str) else value or []
        pairs = {}
        for item in items if isinstance(items, list | tuple) else [items]:
            name, equals, text = str(item).partition("=")
            if not equals or not name or not text:
                message = f"needs ID=VALUE, for example '{_PAIR[flag]}'; got '{item}'"
                raise blame(message, flag=flag)
            pairs[name.strip()] = text.strip()
    read = {name: item if flag == "provider" else _number(item) for name, item in pairs.items()}
    if flag == "price":
        return {n: f"{v} USD/h" if isinstance(v, int | float) else v for n, v in read.items()}
    return read


_PAIR = {"price": "h100-sxm=1.99", "stock": "h100-sxm=16", "provider": "h100-sxm=lambda"}


def blamed(
    error: SpecError, flags: Mapping[str, Any], places: Mapping[str, Key], at: Key = ()
) -> SpecError:
    """Let problems at keys that flags have set name the flag, not the file."""
    return SpecError(*(_blamed(problem, flags, places, at) for problem in error.problems))


def _blamed(
    problem: Problem | str, flags: Mapping[str, Any], places: Mapping[str, Key], at: Key
) -> Problem | str:
    if isinstance(problem, str):
        return problem
    for flag in flags:
        key = dotted((*at, *places[flag])) if flag in places else None
        if key is not None and re.match(re.escape(key) + r"($|[.\[])", problem.key):
            return Problem(COMMAND_LINE, None, "--" + flag.replace("_", "-"), problem.message)
    return problem
