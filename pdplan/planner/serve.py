"""`predict` phase `serve`: one colocated instance, open loop (steady) or closed loop (a run)."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.roofline import Floats
from pdplan.planner.closed_loop import RUN, ClosedLoops
from pdplan.planner.colocated import requests_of
from pdplan.pools.interleave import interleave
from pdplan.queueing import Outputs, sojourn_mean_s, sojourn_quantile_s
from pdplan.queueing import tpot_quantile_s as tpot_percentiles_s
from pdplan.specs.model import ModelSpec
from pdplan.stages.machine import Machines

if TYPE_CHECKING:
    from pdplan.planner.points import Point

SERVE_OUTPUTS = (
    "ttft_mean_s", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s",
    "tpot_mean_s", "tpot_p50_s", "tpot_p90_s", "tpot_p99_s",
    "throughput_rps", "output_tokens_per_s_per_gpu",
)  # fmt: skip
NAMES = ("p50", "p90", "p99")
LEVELS = np.array([0.5, 0.9, 0.99])
EQUAL = Outputs(np.ones(1), np.ones(1))
"""Answers of one length."""
SCORES = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
MOMENTS = (np.arange(8) + 0.5) / 8
"""Places in an opening burst at which its latencies are taken."""
BLOCK = 512
"""Rows worked out at once, to bound memory."""


@dataclass(frozen=True, slots=True)
class _Served:
    """What rows get [R]: means, and percentiles [R, L] where asked."""

    ttft_s: Floats
    tpot_s: Floats
    ttft_levels_s: Floats
    tpot_levels_s: Floats
    rate_rps: Floats


def serve(
    model: ModelSpec, m: Machines, points: "list[Point]", *, percentiles: bool = True
) -> dict[str, Floats]:
    """Mean and percentiles of latency, throughput of each row [R]."""
    names = ("latency_s", "compute_s", "memory_s", "network_s", "overhead_s", *SERVE_OUTPUTS)
    found = {name: np.full(len(points), np.nan) for name in names}
    closed = np.array(["concurrency" in p.numbers for p in points])
    for chosen, way in ((closed, _closed), (~closed, _open)):
        index = np.flatnonzero(chosen)
        for rows in np.split(index, range(BLOCK, len(index), BLOCK)):
            if len(rows):
                some = [points[i] for i in rows]
                _fill(found, rows, some, way(model, m.take(rows), some, percentiles))
    return found


def _fill(
    found: dict[str, Floats],
    rows: NDArray[np.intp],
    points: "list[Point]",
    served: _Served,
) -> None:
    """Write the outputs of some rows."""
    osl = np.array([p.number("osl") for p in points])
    gpus = np.array([p.shape.gpus for p in points])
    found["ttft_mean_s"][rows], found["tpot_mean_s"][rows] = served.ttft_s, served.tpot_s
    found["latency_s"][rows] = served.ttft_s + np.maximum(osl - 1, 0) * served.tpot_s
    found["throughput_rps"][rows] = served.rate_rps
    found["output_tokens_per_s_per_gpu"][rows] = served.rate_rps * osl / gpus
    for k, name in enumerate(NAMES[: served.ttft_levels_s.shape[1]]):
        found[f"ttft_{name}_s"][rows] = served.ttft_levels_s[:, k]
        found[f"tpot_{name}_s"][rows] = served.tpot_levels_s[:, k]


def _closed(model: ModelSpec, m: Machines, points: "list[Point]", percentiles: bool) -> _Served:
    """Runs that keep a number of requests in flight, opening burst included."""
    loops = ClosedLoops.of(model, m, points)
    requests, steps = loops.requests, loops.work.steps
    sent = np.array([p.number("requests", np.nan) for p in points])
    share = np.minimum(requests / np.where(np.isnan(sent), RUN * requests, sent), 1.0)
    rate = loops.throughput()
    loop = loops.at(rate)
    queued = np.maximum(requests / rate - loop.first_s - steps * loop.tpot_s, 0.0)
    certain = np.ones_like(rate)
    opening = 2 * np.maximum(loop.burst_s - loop.first_s, 0.0)[:, None] * MOMENTS
    ttfts = _ttft(
        np.column_stack([loop.fixed_s, loop.fixed_s[:, None] + opening]),
        np.column_stack([1 - share, *([share / len(MOMENTS)] * len(MOMENTS))]),
        np.stack([certain, certain], -1),
        np.stack([loop.delay_s, queued], -1),
        percentiles,
    )
    tpots = loop.tpot_s[:, None] + SCORES * loop.tpot_spread_s[:, None]
    later = np.where(steps > 1e-6, steps, 0.0)  # of one token only there are none
    latency = ttfts[:, 0] + later * loop.tpot_s
    return _Served(ttfts[:, 0], loop.tpot_s, ttfts[:, 1:], tpots, requests / latency)


def _open(model: ModelSpec, m: Machines, points: "list[Point]", percentiles: bool) -> _Served:
    """Poisson arrivals at steady state; infinite latencies where they are too many."""
    most = points[0].engine.defaults.max_batch
    batches = np.arange(1.0, most + 1)
    work = requests_of(model, m, points, batches, np.full(len(points), float(most)))
    asked = np.array([p.number("rate") for p in points])
    overloaded = asked >= work.capacity_rps
    rate = np.where(overloaded, work.capacity_rps, asked)
    mixed = interleave(
        work.prompts,
        work.step_s,
        weight=np.ones(1),
        arrival_rps=rate,
        decode_steps=work.steps,
        cap=work.cap.astype(np.int64),
        budget_tokens=points[0].engine.defaults.chunk_tokens,
        outputs=EQUAL,
        inverse_steps=1 / np.maximum(work.steps, 1.0),
    )
    admit, wait = mixed.states.wait, mixed.wait
    ttfts = _ttft(
        mixed.prompt_s + m.request_s,
        np.ones((len(points), 1)),
        np.stack([wait.probability, admit.probability], -1),
        np.stack([wait.tail_mean_s, admit.tail_mean_s], -1),
        percentiles,
    )
    tpot = np.array(mixed.tpot_mean_s)
    mean = np.asarray(mixed.states.tpot_mean_s)[:, None]
    alone = np.asarray(tpot_percentiles_s(mixed.states, mixed.step_s, LEVELS, 0.0)) - mean
    spread = mixed.averaged_s2(0.0)[:, None]
    steps = np.maximum(work.steps, 1.0)[:, None]
    tpots = mean + mixed.effect.lengthened(alone[:, None], spread, steps, LEVELS)[:, 0]
    for latencies in (ttfts, tpot, tpots):
        latencies[overloaded] = np.inf
    return _Served(ttfts[:, 0], tpot, ttfts[:, 1:], tpots, rate)


def _ttft(
    offsets: Floats, weights: Floats, chances: Floats, tails_s: Floats, percentiles: bool
) -> Floats:
    """Mean and percentiles of fixed times [R, S] of some weight plus two waits [R, 1 + L]."""
    mean = np.asarray(sojourn_mean_s(weights, offsets, chances, tails_s))
    levels = LEVELS if percentiles else LEVELS[:0]
    found = [
        np.asarray(sojourn_quantile_s(level, weights, offsets, chances, tails_s))
        for level in levels
    ]
    return np.column_stack([mean, *found])
