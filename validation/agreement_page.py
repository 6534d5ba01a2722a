"""The part of docs/VALIDATION.md that holds the closed forms against the simulation."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from validation.agreement import read_rows
from validation.largest_rates import read_largest

Row = dict[str, str]

AIMS = {
    "ttft_mean_s": 0.05,
    "ttft_p50_s": 0.07,
    "ttft_p90_s": 0.07,
    "ttft_p99_s": 0.12,
    "tpot_mean_s": 0.02,
    "tpot_p90_s": 0.04,
}
COLUMNS = ("mean error", "bias", "p90 of errors", "worst", "within", "aim", "cells within aim")
ATTAINMENT_AIM, RATE_AIM = 0.03, 0.05
NAMES = {
    "ttft_mean_s": "mean TTFT",
    "ttft_p50_s": "TTFT p50",
    "ttft_p90_s": "TTFT p90",
    "ttft_p99_s": "TTFT p99",
    "tpot_mean_s": "mean TPOT",
    "tpot_p90_s": "TPOT p90",
    "itl_p50_s": "ITL p50",
    "itl_p99_s": "ITL p99",
    "e2e_mean_s": "mean E2E",
    "e2e_p90_s": "E2E p90",
}
TEXT = """## Closed forms against the simulation

Fleets of every placement, at loads of 0.3 to 0.95 of the largest rate they sustain, with constant
to heavy-tailed lengths (cv 0 to 2), 1 to 64 instances in the pool that binds, text and images,
Poisson and bursty arrivals and every routing: {cells} cells, each simulated with
`pdplan simulate`'s engine ({requests} requests and more). `python -m validation.agreement`
simulates them anew and writes `validation/agreement.csv`. Errors are those of the closed form;
"within" is the mean half width of the simulation's own 95 % interval. Both sides share the physics
of a pass and nothing else.
"""


def agreement() -> Iterator[str]:
    """Lines of the part."""
    rows = read_rows()
    usual = [r for r in rows if r["arrivals"] == "poisson" and float(r["load"]) <= 0.9]
    yield TEXT.format(cells=len(rows), requests="30,000")
    yield from _table("Loads up to 0.9, Poisson arrivals", usual, NAMES)
    yield from _attainment(usual)
    for title, key in (
        ("By placement, loads up to 0.9", _placement),
        ("By lengths, loads up to 0.9", lambda r: r["lengths"]),
        ("By instances of the binding pool, loads up to 0.9", lambda r: r["instances"].rjust(2)),
    ):
        yield from _groups(title, usual, key)
    poisson = [r for r in rows if r["arrivals"] == "poisson"]
    yield from _groups("By load", poisson, lambda r: r["load"])
    other = [r for r in rows if r["arrivals"] != "poisson" or r["routing"] != "least_loaded"]
    yield from _groups("By arrivals and routing", other, _arrivals)
    yield from _beyond(rows)
    yield from _largest()


def against_simulation() -> Iterator[tuple[str, float, float, str]]:
    """Lines of the page's head: what, reached, aimed at, remark."""
    rows = [r for r in read_rows() if r["arrivals"] == "poisson" and float(r["load"]) <= 0.9]
    for metric, aim in AIMS.items():
        sizes = np.abs([error(row, metric) for row in rows])
        remark = f"{np.mean(sizes <= aim):.0%} of {len(rows)} cells within the aim"
        yield f"closed form against simulation, {NAMES[metric]}", float(sizes.mean()), aim, remark
    points = np.abs([attainment_error(row) for row in rows])
    remark = f"{np.mean(points <= ATTAINMENT_AIM):.0%} of cells within the aim; points, not percent"
    yield "closed form against simulation, attainment", float(points.mean()), ATTAINMENT_AIM, remark
    rates = np.abs([rate_error(row) for row in read_largest()])
    remark = f"{np.mean(rates <= RATE_AIM):.0%} of {len(rates)} fleets within the aim"
    yield "closed form against simulation, largest rate", float(rates.mean()), RATE_AIM, remark


def _placement(row: Row) -> str:
    both = row["placement"] in ("PD", "EPD")
    return f"{row['placement']} {row['scheduler']}" if both else row["placement"]


def _arrivals(row: Row) -> str:
    kind = row["arrivals"]
    if kind == "poisson":
        return f"{row['routing']}, Poisson"
    return "two-rate bursts" if kind == "bursty" else f"renewal, SCV {kind}"


def error(row: Row, metric: str) -> float:
    """Relative error of the closed form."""
    closed, simulated = float(row[metric]), float(row[f"simulated_{metric}"])
    return closed / simulated - 1


def within(row: Row, metric: str) -> float:
    """Half of the simulation's interval, relative."""
    return float(row[f"simulated_{metric}_within"]) / float(row[f"simulated_{metric}"])


def _table(title: str, rows: Sequence[Row], metrics: dict[str, str]) -> Iterator[str]:
    yield f"### {title}\n"
    yield "| latency | cells | " + " | ".join(COLUMNS) + " |"
    yield "| --- |" + " ---: |" * (len(COLUMNS) + 1)
    for metric, name in metrics.items():
        errors = np.array([error(row, metric) for row in rows])
        noise = np.mean([within(row, metric) for row in rows])
        sizes = np.abs(errors)
        aim = AIMS.get(metric)
        cells = [name, str(len(rows)), *map(_percent, (sizes.mean(), errors.mean()))]
        cells += [_percent(np.quantile(sizes, 0.9)), _percent(errors[sizes.argmax()])]
        cells += [_percent(noise), "" if aim is None else _percent(aim)]
        cells.append("" if aim is None else _percent(float(np.mean(sizes <= aim))))
        yield "| " + " | ".join(cells) + " |"
    yield ""


def attainment_error(row: Row) -> float:
    """Difference of the shares of requests that meet both objectives."""
    return float(row["attainment"]) - float(row["simulated_attainment"])


def rate_error(row: Row) -> float:
    """Relative error of the largest rate."""
    return float(row["rate_rps"]) / float(row["simulated_rps"]) - 1


def _attainment(rows: Sequence[Row]) -> Iterator[str]:
    errors = np.array([attainment_error(row) for row in rows])
    sizes = np.abs(errors)
    yield (
        "**Attainment** of both objectives, each a tenth above the closed form's own p90: "
        f"{100 * sizes.mean():.1f} points off on average (aim "
        f"{100 * ATTAINMENT_AIM:.0f}), bias {100 * errors.mean():+.1f}, 90 % of cells within "
        f"{100 * np.quantile(sizes, 0.9):.0f}, worst {100 * errors[sizes.argmax()]:+.0f}.\n"
    )


def _largest() -> Iterator[str]:
    rows = read_largest()
    yield "### Largest rate that keeps the objectives\n"
    yield (
        "TTFT p90 within three times, TPOT p90 within 1.6 times that of an empty fleet; simulated "
        "by bisection to 1 % (`python -m validation.largest_rates`). Aim "
        f"{100 * RATE_AIM:.0f} %.\n"
    )
    errors = np.array([rate_error(row) for row in rows])
    yield (
        f"{len(rows)} fleets: {_percent(np.abs(errors).mean())} off on average, bias "
        f"{_percent(errors.mean())}.\n"
    )
    yield "| fleet | closed form, req/s | simulated, req/s | error |"
    yield "| --- | ---: | ---: | ---: |"
    for row in rows:
        cells = (row["name"], row["rate_rps"], row["simulated_rps"], _percent(rate_error(row)))
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _beyond(rows: Sequence[Row]) -> Iterator[str]:
    """The cells that miss most, so that the regions to be careful in have names."""
    yield "### The worst cells\n"
    yield (
        "Plans warn at utilisation above 0.9, under bursts, for prompts of an SCV above 3, where "
        "instances just begin to share passes, and for pass-based pools behind `central` and "
        "`round_robin`.\n"
    )
    yield "| cell | mean TTFT | TTFT p90 | TTFT p99 | mean TPOT | TPOT p90 | within (TTFT p90) |"
    yield "| --- |" + " ---: |" * 6
    metrics = ("ttft_mean_s", "ttft_p90_s", "ttft_p99_s", "tpot_mean_s", "tpot_p90_s")

    def miss(row: Row) -> float:
        return max(abs(error(row, metric)) / AIMS[metric] for metric in metrics)

    for row in sorted(rows, key=miss, reverse=True)[:16]:
        cells = [row["name"], *(_percent(error(row, metric)) for metric in metrics)]
        yield "| " + " | ".join([*cells, _percent(within(row, "ttft_p90_s"))]) + " |"
    yield ""


def _groups(title: str, rows: Sequence[Row], key: Callable[[Row], str]) -> Iterator[str]:
    """Mean absolute error of each group, and its worst cell."""
    metrics = [*AIMS, "itl_p99_s", "e2e_p90_s"]
    yield f"### {title}\n"
    yield "Mean absolute error (worst).\n"
    yield "| | cells | " + " | ".join(NAMES[m] for m in metrics) + " |"
    yield "| --- |" + " ---: |" * (len(metrics) + 1)
    for group in sorted({key(row) for row in rows}):
        mine = [row for row in rows if key(row) == group]
        cells = [group.strip(), str(len(mine))]
        for metric in metrics:
            errors = np.array([error(row, metric) for row in mine])
            worst = errors[np.abs(errors).argmax()]
            cells.append(f"{_percent(np.abs(errors).mean())} ({_percent(worst)})")
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"
