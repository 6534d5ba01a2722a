"""A fitted trace beside the workload that is written: a table, plain data and a plot."""

from typing import Any

import numpy as np

from pdplan.report.blocks import Block, Cell, Grid, Lines
from pdplan.report.numbers import percent, show
from pdplan.specs.points import Array
from pdplan.specs.trace_fit.arrivals import Arrivals
from pdplan.specs.trace_fit.fit import TraceFit
from pdplan.specs.trace_fit.lengths import moments_of

PERCENTILES = (50, 90, 99)
SHOWN_WINDOWS_S = (1, 10, 60, 600)
NOTE = "Dispersion is variance over mean of the requests in so long; Poisson is 1."
BINS = 60
HEIGHT = 900

Row = tuple[str, Cell, Cell]


def trace_rows(fit: TraceFit) -> list[Row]:
    """Quantity, its value in the trace, and what the workload keeps of it; None where nothing."""
    rows: list[Row] = [("requests", fit.moments.requests, len(fit.sample))]
    if fit.left_out:
        rows.append(("left_out", fit.left_out, None))
    if fit.arrivals is not None:
        rows += _arrival_rows(fit.arrivals)
    rows += _length_rows(fit)
    if fit.images is not None:
        with_images = 1 - float(fit.images.weights[fit.images.values == 0].sum())
        rows += [
            ("images_mean", fit.images.mean, fit.images.mean),
            ("with_images_share", with_images, with_images),
        ]
    if fit.hit is not None:
        rows.append(("prefix_hit_share", fit.hit, fit.hit))
    if fit.sessions is not None:
        found = fit.sessions
        rows += [
            ("sessions", found.sessions, None),
            ("turns_mean", found.turns_mean, None),
            ("between_turns_mean_s", found.between_mean_s, None),
            ("between_turns_median_s", found.between_median_s, None),
        ]
    return rows


def _arrival_rows(arrivals: Arrivals) -> list[Row]:
    peak = float(arrivals.profile.max()) if arrivals.profile is not None else 1.0
    rows: list[Row] = [
        ("span_s", arrivals.span_s, None),
        ("rate_rps", arrivals.rate_rps, arrivals.rate_rps),
    ]
    if arrivals.peak_hour_rps is not None:
        rows.append(("peak_hour_rps", arrivals.peak_hour_rps, arrivals.rate_rps * peak))
    if arrivals.peak_minute_rps is not None:
        rows.append(("peak_minute_rps", arrivals.peak_minute_rps, None))
    rows.append(("gap_scv", arrivals.gap_scv, None if arrivals.bursts else arrivals.arrival_scv))
    for window in arrivals.windows:
        if window.length_s in SHOWN_WINDOWS_S and window.number > 1:
            written = arrivals.written_dispersion(window.length_s)
            rows.append((f"dispersion_{window.length_s:g}s", window.dispersion, written))
    return rows


def _length_rows(fit: TraceFit) -> list[Row]:
    kept = moments_of(fit.sample[:, 0], fit.sample[:, 1])
    rows: list[Row] = []
    for place, name in enumerate(("isl", "osl")):
        for what in ("mean", "cv"):
            key = f"{name}_{what}"
            rows.append((key, getattr(fit.moments, key), getattr(kept, key)))
        levels = zip(
            PERCENTILES,
            np.percentile(fit.rows[:, place], PERCENTILES).tolist(),
            np.percentile(fit.sample[:, place], PERCENTILES).tolist(),
            strict=True,
        )
        rows += [(f"{name}_p{level}", all_, some) for level, all_, some in levels]
    rows.append(("correlation", fit.moments.correlation, kept.correlation))
    return rows


def trace_grid(fit: TraceFit) -> Grid:
    """All digits, for a spreadsheet."""
    return Grid(("quantity", "trace", "workload"), tuple(trace_rows(fit)))


def trace_data(fit: TraceFit) -> dict[str, object]:
    """Everything, as plain data."""
    data: dict[str, object] = {"source": fit.source, "format": fit.format}
    data["fit"] = [
        {"quantity": name, "trace": found, "workload": kept}
        for name, found, kept in trace_rows(fit)
    ]
    arrivals = fit.arrivals
    if arrivals is not None:
        data["arrival_scv"] = arrivals.arrival_scv
        bursts = arrivals.bursts
        if bursts is not None:
            data["burst"] = {
                "factor": bursts.factor,
                "share": bursts.share,
                "length_s": bursts.length_s,
            }
        if arrivals.profile is not None:
            data["profile"] = arrivals.profile.tolist()
        data["dispersion"] = [
            {"window_s": w.length_s, "windows": w.number, "dispersion": w.dispersion}
            for w in arrivals.windows
            if w.number > 1
        ]
    return data


def trace_blocks(fit: TraceFit) -> list[Block]:
    """Trace and workload side by side, in the units of people."""
    rows = tuple(
        (_said(name), *(_shown(name, value) for value in pair)) for name, *pair in trace_rows(fit)
    )
    lines = [f"{fit.source}: {fit.format}, {fit.moments.requests:,} requests."]
    arrivals = fit.arrivals
    if arrivals is None:
        lines.append("It tells no rate; give one with the workload.")
    elif arrivals.bursts is not None:
        bursts = arrivals.bursts
        lines.append(
            f"Arrivals burst: {show('', bursts.factor)} times the mean rate for "
            f"{show('_s', bursts.length_s)} on average, {percent(bursts.share)} of the time."
        )
    note = NOTE if arrivals is not None else ""
    return [Lines(tuple(lines)), Grid(("quantity", "trace", "workload"), rows, "Fit", note)]


def _said(name: str) -> str:
    """Write a quantity's name as people do.

    >>> _said("isl_p99"), _said("rate_rps"), _said("dispersion_10s")
    ('ISL p99', 'rate', 'dispersion in 10 s')
    """
    stem, _, window = name.partition("dispersion_")
    if window:
        return f"dispersion in {window[:-1]} s"
    stem = name.removesuffix("_rps").removesuffix("_s").replace("_", " ")
    return stem.replace("isl", "ISL").replace("osl", "OSL").replace("scv", "SCV")


def _shown(name: str, value: Cell) -> str:
    if name.endswith("_share") and isinstance(value, float):
        return f"{100 * value:.1f} %"
    return show(name, value)


def trace_html(fit: TraceFit) -> str:
    """Lengths and arrivals of the trace and of the workload; plotly.js is inside the page."""
    from plotly.subplots import make_subplots

    titles = ("Prompt tokens", "Output tokens", "Arrivals", "Dispersion of arrivals")
    figure = make_subplots(rows=2, cols=2, subplot_titles=titles)
    for place in (0, 1):
        _histograms(figure, fit.rows[:, place], fit.sample[:, place], place + 1)
    if fit.arrivals is not None:
        _over_time(figure, fit.arrivals)
        _dispersion(figure, fit.arrivals)
    figure.update_layout(template="plotly_white", height=HEIGHT, title_text=fit.source)
    page: str = figure.to_html(include_plotlyjs=True, div_id="trace-fit")
    return page


_TRACE, _WORKLOAD = "#4269d0", "#ff725c"


def _line(figure: Any, x: Array, y: Array, name: str, color: str, **cell: int) -> None:  # noqa: ANN401
    from plotly.graph_objects import Scatter

    dash = "dash" if color == _WORKLOAD else "solid"
    figure.add_trace(
        Scatter(
            x=x.tolist(),
            y=y.tolist(),
            mode="lines",
            name=name,
            legendgroup=name,
            showlegend=cell == {"row": 1, "col": 1},
            line={"color": color, "dash": dash, "shape": "linear"},
        ),
        **cell,
    )


def _histograms(figure: Any, trace: Array, kept: Array, col: int) -> None:  # noqa: ANN401
    """Share of requests in bins of equal width on a logarithmic axis."""
    ends = max(1.0, float(trace.min())), max(float(trace.max()), 2.0) * 1.001
    edges: Array = np.asarray(np.geomspace(*ends, BINS + 1), dtype=np.float64)
    middle: Array = np.sqrt(edges[1:] * edges[:-1])
    for values, name, color in ((trace, "trace", _TRACE), (kept, "workload", _WORKLOAD)):
        share = np.asarray(np.histogram(values, edges)[0] / len(values), dtype=np.float64)
        _line(figure, middle, share, name, color, row=1, col=col)
    figure.update_xaxes(type="log", title_text="tokens", row=1, col=col)
    figure.update_yaxes(title_text="share of requests", row=1, col=col)


def _over_time(figure: Any, arrivals: Arrivals) -> None:  # noqa: ANN401
    times: Array = arrivals.bar_s * (np.arange(len(arrivals.bars), dtype=np.float64) + 0.5)
    written = np.full(len(times), arrivals.rate_rps)
    if arrivals.profile is not None:
        hours = ((times + arrivals.clock_s) / 3600).astype(np.int64)
        written *= arrivals.profile[hours % len(arrivals.profile)]
    _line(figure, times, arrivals.bars / arrivals.bar_s, "trace", _TRACE, row=2, col=1)
    _line(figure, times, written, "workload", _WORKLOAD, row=2, col=1)
    figure.update_xaxes(title_text="seconds", row=2, col=1)
    figure.update_yaxes(title_text=f"requests a second, over {arrivals.bar_s:g} s", row=2, col=1)


def _dispersion(figure: Any, arrivals: Arrivals) -> None:  # noqa: ANN401
    used = [w for w in arrivals.windows if w.number > 1]
    if not used:
        return
    lengths = np.array([w.length_s for w in used])
    found = np.array([w.dispersion for w in used])
    fine = np.asarray(np.geomspace(lengths[0], max(lengths[-1], 1.1 * lengths[0]), BINS), float)
    written = np.array([arrivals.written_dispersion(float(w)) for w in fine])
    _line(figure, lengths, found, "trace", _TRACE, row=2, col=2)
    _line(figure, fine, written, "workload", _WORKLOAD, row=2, col=2)
    figure.update_xaxes(type="log", title_text="seconds", row=2, col=2)
    figure.update_yaxes(type="log", title_text="variance over mean", row=2, col=2)
