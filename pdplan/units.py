"""Quantities with units: the only place that knows powers of ten and two.

Inside the program every number is in its SI base unit and its name ends in it (`_s`, `_bytes`,
`_flops_per_s`); outside, people write `80 GB`, `3.35 TB/s` or `250 ms`.
"""

import math
import re
from collections.abc import Mapping

_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}


def _scaled(
    prefixes: Mapping[str, float], names: tuple[str, ...], factor: float = 1.0
) -> dict[str, float]:
    return {p + name: scale * factor for p, scale in prefixes.items() for name in names}


_BYTES = _scaled(_DECIMAL, ("B",)) | _scaled(_BINARY, ("B",))
_BITS = _scaled(_DECIMAL, ("b", "bit"), 1 / 8)
_PER_SECOND = ("/s", "ps")

DIMENSIONS: dict[str, tuple[dict[str, float], str]] = {
    "bytes": (_BYTES, "80 GB"),
    "bytes_per_s": (
        {u + per: f for u, f in (_BYTES | _BITS).items() for per in _PER_SECOND},
        "450 GB/s",
    ),
    "flops_per_s": (
        _scaled(_DECIMAL, ("FLOP/s", "FLOPS", "FLOPs/s", "OP/s", "OPS")),
        "989 TFLOP/s",
    ),
    "s": (
        {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0},
        "300 ms",
    ),
    "rps": (
        {
            "req/s": 1.0,
            "rps": 1.0,
            "/s": 1.0,
            "1/s": 1.0,
            "req/min": 1 / 60,
            "rpm": 1 / 60,
            "req/h": 1 / 3600,
            "req/day": 1 / 86400,
        },
        "20 req/s",
    ),
    "usd_per_hour": (
        {"USD/h": 1.0, "USD/hr": 1.0, "USD/hour": 1.0, "$/h": 1.0, "USD/month": 1 / 730.5},
        "2.95 USD/h",
    ),
    "usd": ({"USD": 1.0, "$": 1.0, "kUSD": 1e3}, "25000 USD"),
    "w": ({"W": 1.0, "kW": 1e3, "MW": 1e6, "mW": 1e-3}, "700 W"),
    "hz": ({"/s": 1.0, "fps": 1.0, "Hz": 1.0}, "2 fps"),
    "pixels": ({"px": 1.0, "kpx": 1e3, "MP": 1e6}, "12.8 MP"),
}

_NUMBER_AND_UNIT = re.compile(
    r"^\s*([+-]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(1/s|[^\s\d.,_]\S*)\s*$"
)


def parse_quantity(value: object, dimension: str) -> float:
    """Read `'3.35 TB/s'` as a number in the base unit of `dimension`.

    Raises ValueError for bare numbers, unknown units, negatives, NaN and infinities; the text
    says what was expected and what was found.

    >>> parse_quantity("3.35 TB/s", "bytes_per_s")
    3350000000000.0
    >>> parse_quantity("400 Gb/s", "bytes_per_s")
    50000000000.0
    >>> parse_quantity("80 GiB", "bytes") - parse_quantity("80 GB", "bytes")
    5899345920.0
    """
    units, example = DIMENSIONS[dimension]
    match = _NUMBER_AND_UNIT.match(value) if isinstance(value, str) else None
    if match is None:
        shown = repr(value) if isinstance(value, str) else str(value)
        message = f"needs a number and a unit, for example '{example}'; got {shown}"
        raise ValueError(message)
    number, unit = float(match[1].replace(",", "").replace("_", "")), match[2]
    if unit not in units:
        message = f"unknown unit '{unit}'; expected for example '{example}'"
        raise ValueError(message)
    amount = number * units[unit]
    if amount < 0 or not math.isfinite(amount):
        message = f"must be a finite number of at least 0; got {value}"
        raise ValueError(message)
    return amount


def parse_milliseconds(value: str) -> float:
    """Read a latency flag: a bare number is milliseconds, a unit may be written.

    >>> parse_milliseconds("800"), parse_milliseconds("0.5s"), parse_milliseconds("300ms")
    (0.8, 0.5, 0.3)
    """
    try:
        return parse_quantity(f"{float(value)} ms", "s")
    except ValueError:
        return parse_quantity(value, "s")


_STEPS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def format_si(value: float, unit: str, digits: int = 3) -> str:
    """Write a number with the decimal prefix that suits it.

    >>> format_si(3.35e12, "B/s")
    '3.35 TB/s'
    """
    scale, prefix = next(((s, p) for s, p in _STEPS if abs(value) >= s), (1.0, ""))
    return f"{value / scale:.{digits}g} {prefix}{unit}"


def format_seconds(value: float) -> str:
    """Write a duration the way people say it.

    >>> format_seconds(0.0412), format_seconds(2.5), format_seconds(3e-6)
    ('41.2 ms', '2.5 s', '3 us')
    """
    if not math.isfinite(value):
        return "never"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(value) >= scale or unit == "us":
            return f"{value / scale:.3g} {unit}"
    raise AssertionError
