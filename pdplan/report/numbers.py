"""Numbers as people read them; the unit is taken from the end of the column's name."""

import math

PERCENT = ("attainment", "utilization", "gap", "share")
"""Dimensionless columns that are shares."""

_SI = {
    "_bytes_per_s": "B/s",
    "_bytes_per_token": "B",
    "_bytes_per_request": "B",
    "_bytes_per_gpu": "B",
    "_bytes": "B",
    "_w": "W",
}
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))

_HEADINGS = {
    "usd_per_hour": "$/h",
    "usd_per_million_output_tokens": "$/M out tok",
    "kv_capacity_tokens": "KV tok/inst",
    "gpus": "GPUs",
    "utilization": "busy",
    "kv_bytes_per_token": "KV/token",
    "bytes_per_request": "a request",
    "link_utilization": "link busy",
    "weights/kv": "weights/KV",
    "output_tokens_per_s_per_gpu": "tok/s/GPU",
    "energy_j_per_token": "J/token",
    "saves_vs_colocated_percent": "saves vs colocated",
    "saves_vs_pd_percent": "saves vs P-D",
}
_WORDS = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "E2E", "kv": "KV", "gpus": "GPUs", "id": "id"}
_UNITS = ("_bytes_per_s", "_percent", "_bytes", "_rps", "_s", "_w", "_usd")


def significant(value: float, digits: int = 3) -> str:
    """Write a number to a few digits, without an exponent and without idle zeros.

    >>> significant(1234.5), significant(0.04125), significant(2.0), significant(math.inf)
    ('1,234', '0.0413', '2', 'endless')
    """
    if not math.isfinite(value):
        return "endless" if value > 0 else "-"
    if value == 0:
        return "0"
    decimals = min(12, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def scaled(value: float, unit: str) -> str:
    """Write a number with the decimal prefix that suits it.

    >>> scaled(3.35e12, "B/s"), scaled(512.0, "W"), scaled(1.25e6, "")
    ('3.35 TB/s', '512 W', '1.25 M')
    """
    size, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), (1.0, ""))
    return f"{significant(value / size)} {prefix}{unit}".rstrip()


def duration(value: float) -> str:
    """Write seconds the way people say them.

    >>> duration(0.0412), duration(2.5), duration(0.9996), duration(0.0), duration(3600.0)
    ('41.2 ms', '2.5 s', '1,000 ms', '0 s', '3,600 s')
    """
    if not math.isfinite(value):
        return "endless"
    size, unit = next(((s, u) for s, u in _SECONDS if abs(value) >= s), (1e-6, "us"))
    return f"{significant(value / size)} {unit}" if abs(value) >= 1e-9 else "0 s"


def dollars(value: float) -> str:
    """Write money to the cent, and to three digits below a dollar.

    >>> dollars(59.8), dollars(1234.5), dollars(0.0312), dollars(0.4)
    ('59.80', '1,234.50', '0.0312', '0.40')
    """
    cents = f"{value:,.2f}"
    return cents if abs(value) >= 1 else max(cents, significant(value), key=len)


def percent(share: float) -> str:
    """Write a share: shares near one keep the digits that tell them apart from it.

    >>> percent(0.714), percent(0.9987), percent(1.0), percent(0.0)
    ('71 %', '99.87 %', '100 %', '0 %')
    """
    decimals = 2 if 0.99 <= share < 1 else 1 if 0.9 <= share < 0.99 or abs(share) < 0.1 else 0
    text = f"{100 * share:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def show(name: str, value: object) -> str:
    """Write a cell of the column `name`.

    >>> show("ttft_s", 0.8), show("sent_bytes", 80e9), show("gpus", None), show("tp", 4)
    ('800 ms', '80 GB', '-', '4')
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return " ".join(str(value).split())
    if math.isinf(value):
        return "never" if name.endswith("_s") else "unbounded"
    return _number(name, float(value))


def _number(name: str, value: float) -> str:
    last = name.rpartition(".")[2]
    if last == "memory_bytes":
        return f"{significant(value / 2**30)} GiB"
    if last.endswith("_flops_per_s"):
        return significant(value / 1e12)
    unit = next((unit for end, unit in _SI.items() if ("_" + last).endswith(end)), None)
    if unit is not None:
        return scaled(value, unit)
    if last.startswith("usd") or last.endswith("_usd") or "usd_per" in last:
        return dollars(value)
    if last.endswith("_percent"):
        return f"{significant(value)} %"
    if last.rpartition("_")[2] in PERCENT:
        return percent(value)
    if last.endswith("_rps") or last == "rps":
        return f"{significant(value)} req/s"
    if "_per_s" not in last and last.endswith("_s"):
        return duration(value)
    if value == int(value) and abs(value) < 1e5:
        return f"{int(value):,}"
    return scaled(value, "") if abs(value) >= 1e5 else significant(value, 4)


def shortened(text: str, width: int) -> str:
    """Cut a text that is too long, and say so.

    >>> shortened("HDR 200 Gb/s a GPU, as Azure", 14)
    'HDR 200 Gb/...'
    """
    return text if len(text) <= width else text[: width - 3].rstrip(" ,;:") + "..."


def heading(name: str) -> str:
    """Turn a column's name into what stands above it.

    >>> heading("ttft_p90_s"), heading("memory_bytes"), heading("usd_per_hour")
    ('TTFT p90', 'memory', '$/h')
    """
    if name in _HEADINGS:
        return _HEADINGS[name]
    if name.endswith("_flops_per_s"):
        return name.removesuffix("_flops_per_s") + " TFLOP/s"
    stem = next((name.removesuffix(end) for end in _UNITS if name.endswith(end)), name)
    return " ".join(_WORDS.get(word, word) for word in (stem or name).split("_"))
