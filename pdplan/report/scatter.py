"""Predicted against measured as one self-contained HTML page."""

from importlib.util import find_spec
from typing import Any

import numpy as np

from pdplan.calibration.validation import Validation
from pdplan.errors import Problem, SpecError

BAND = 0.2
"""Error that the lines beside the diagonal mark."""
COLORS = (
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5",
    "#9c6b4e", "#9498a0",
)  # fmt: skip
ACROSS = 2
HEIGHT = 460


def check_plotly(flag: str) -> None:
    """Refuse to plot where Plotly is not installed."""
    if find_spec("plotly") is None:
        message = "needs Plotly, which is not installed; pip install 'pdplan[plots]'"
        raise SpecError(Problem("command line", None, flag, message))


def scatter_html(found: Validation) -> str:
    """One log-log panel an output, coloured by group; plotly.js is inside the page."""
    from plotly.subplots import make_subplots

    outputs = [score.output for score in found.totals]
    down = -(-len(outputs) // ACROSS)
    across = min(ACROSS, len(outputs))
    titles = [
        f"{score.output}: MAPE {score.mape:.0%}, n = {score.points}" for score in found.totals
    ]
    figure = make_subplots(rows=down, cols=across, subplot_titles=titles)
    labels = np.array(found.data.labels)
    groups = [
        ", ".join(found.data.said(int(i), column) for column in found.by) or "all"
        for i in found.data.index
    ]
    colors = dict(zip(dict.fromkeys(groups), _cycle(len(groups)), strict=False))
    seen: set[str] = set()
    for at, output in enumerate(outputs):
        cell = {"row": at // ACROSS + 1, "col": at % ACROSS + 1}
        places = np.flatnonzero(labels == output)
        _diagonals(figure, found, places, cell)
        for group in dict.fromkeys(groups[k] for k in places):
            own = [int(k) for k in places if groups[k] == group]
            figure.add_trace(_dots(found, own, group, colors[group], group not in seen), **cell)
            seen.add(group)
        figure.update_xaxes(type="log", title_text="measured", **cell)
        figure.update_yaxes(type="log", title_text="predicted", **cell)
    figure.update_layout(
        template="plotly_white", height=HEIGHT * down, title_text="Predicted against measured"
    )
    page: str = figure.to_html(include_plotlyjs=True, div_id="validation")
    return page


def _cycle(count: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _dots(found: Validation, places: list[int], group: str, color: str, first: bool) -> Any:  # noqa: ANN401
    from plotly.graph_objects import Scatter

    texts = []
    for k in places:
        one = found.data.measured[found.data.index[k]]
        error = found.predicted[k] / found.data.values[k] - 1
        texts.append(f"{one.source}:{one.line or ''} {error:+.0%}")
    return Scatter(
        x=found.data.values[places].tolist(),
        y=found.predicted[places].tolist(),
        mode="markers",
        name=group,
        legendgroup=group,
        showlegend=first,
        marker={"color": color, "size": 7, "opacity": 0.75},
        text=texts,
        hovertemplate="%{text}<br>measured %{x:.4g}<br>predicted %{y:.4g}",
    )


def _diagonals(figure: Any, found: Validation, places: Any, cell: dict[str, int]) -> None:  # noqa: ANN401
    """Draw where predictions are right, and where they are 20 % off."""
    from plotly.graph_objects import Scatter

    both = np.concatenate([found.data.values[places], found.predicted[places]])
    ends = [float(both.min()) / 1.2, float(both.max()) * 1.2]
    for factor, dash in ((1.0, "solid"), (1 + BAND, "dot"), (1 - BAND, "dot")):
        line = Scatter(
            x=ends,
            y=[factor * end for end in ends],
            mode="lines",
            line={"color": "#888", "width": 1, "dash": dash},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_trace(line, **cell)
