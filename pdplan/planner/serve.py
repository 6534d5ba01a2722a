"""`predict` phase `serve`: one colocated instance at steady state, open or closed loop.

Closed loop: N requests are always in the instance. Their number in decode is the fixed point
n = rate m tau(n) / (1 - b); a prompt waits as in M/G/1 at the rate of the N - 1 others; a request's
TPOT spreads only by the number of prompts that interrupt it, taken as Poisson.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.interleave import Interleaved, PromptWork, interleave
from pdplan.queueing import Wait, gigc_wait_allen_cunneen, sojourn_mean_s, sojourn_quantile_s
from pdplan.queueing import tpot_quantile_s as tpot_percentiles_s
from pdplan.specs.model import ModelSpec
from pdplan.stages.llm import decode_pass
from pdplan.stages.machine import Machines
from pdplan.stages.memory import cache_bytes_per_sequence, device_memory
from pdplan.stages.prompt import prompt_times

if TYPE_CHECKING:
    from pdplan.planner.points import Point

SERVE_OUTPUTS = (
    "ttft_mean_s", "ttft_p50_s", "ttft_p90_s", "ttft_p99_s",
    "tpot_mean_s", "tpot_p50_s", "tpot_p90_s", "tpot_p99_s",
    "throughput_rps", "output_tokens_per_s_per_gpu",
)  # fmt: skip
LEVELS = np.array([0.5, 0.9, 0.99])
SCORES = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
BLOCK = 512
"""Rows worked out at once, to bound memory."""


def serve(model: ModelSpec, m: Machines, points: "list[Point]") -> dict[str, Floats]:
    """Mean and percentiles of latency, throughput of each row [R]."""
    parts = [
        _serve(model, m.take(np.arange(at, min(at + BLOCK, len(points)))), points[at : at + BLOCK])
        for at in range(0, len(points), BLOCK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Rows:
    """Work of a block of rows on their instances."""

    def __init__(self, model: ModelSpec, m: Machines, points: "list[Point]") -> None:
        defaults = points[0].engine.defaults
        self.m = m
        self.isl = np.array([p.number("isl") for p in points])
        self.steps = np.maximum(np.array([p.number("osl") for p in points]) - 1, 1e-9)
        self.osl = self.steps + 1
        self.gpus = (m.tp * m.dp * m.pp)[:, 0]
        isl, chunk = self.isl[:, None], defaults.chunk_tokens
        prefix = np.array([p.number("prefix") for p in points])[:, None]
        times = prompt_times(model, m, tokens=isl, chunk_tokens=chunk, prefix_tokens=prefix)
        self.prompts = PromptWork(
            alone_s=times.alone_s,
            added_s=times.riding_s,
            encode_s=np.zeros_like(isl),
            rides=times.passes,
            filled=isl / chunk,
        )
        context = prefix + isl + self.osl[:, None] / 2
        concurrency = np.array([p.number("concurrency") for p in points])
        largest = int(max(defaults.max_batch, concurrency.max(initial=0)))
        batches = np.arange(1, largest + 1, dtype=float)
        steps = decode_pass(model, m, sequences=batches, context_tokens=context).total_s
        self.step_s = np.maximum.accumulate(steps, axis=1)
        memory = device_memory(model, m, pass_tokens=np.minimum(isl, chunk))
        one = cache_bytes_per_sequence(model, m, context)
        fit = np.floor(m.dp * np.maximum(memory.cache, 0) / one)[:, 0]
        limit = np.where(concurrency > 0, largest, defaults.max_batch)
        self.cap = np.clip(np.minimum(fit, limit), 1, largest).astype(np.int64)

    def at(self, rate: Floats) -> Interleaved:
        """State of the instances at arrival rates [R]."""
        return interleave(
            self.prompts,
            self.step_s,
            weight=np.ones(1),
            arrival_rps=rate,
            decode_steps=self.steps,
            cap=self.cap,
        )

    def capacity_rps(self) -> Floats:
        """Rate at which an instance saturates, by its decoding or by its prompts [R]."""
        full = np.take_along_axis(self.step_s, self.cap[:, None] - 1, axis=1)[:, 0]
        added, filled = self.prompts.added_s[:, 0], self.prompts.filled[:, 0]
        decoding = added + self.steps * full / self.cap
        return np.asarray(1 / np.maximum(decoding, added + filled * full))

    def loop(self, rate: Floats, requests: Floats) -> "_Loop":
        """State of a closed loop of so many requests at a throughput [R].

        A request meets the prompts and steps of the others, never its own.
        """
        added = self.prompts.added_s[:, 0]
        others = rate * (requests - 1) / np.maximum(requests, 1)
        busy = np.minimum(others * added, 0.999)
        need = rate * self.steps / (1 - busy)
        batch = np.arange(1, self.step_s.shape[1] + 1)
        enough = need[:, None] * self.step_s <= batch
        n = np.where(enough.any(1), enough.argmax(1), self.step_s.shape[1] - 1)
        n = np.minimum(n, self.cap - 1)
        step = np.take_along_axis(self.step_s, n[:, None], axis=1)[:, 0]
        decoding = others * self.steps / (1 - busy)
        running = np.minimum(decoding * self.step_s[:, 0], 1.0) * step
        prompt = np.maximum(
            self.prompts.alone_s, self.prompts.rides * running[:, None] + self.prompts.added_s
        )[:, 0]
        taken = added + self.prompts.filled[:, 0] * running
        wait = gigc_wait_allen_cunneen(others, taken, 0.0, 1)
        tail = np.minimum(wait.tail_mean_s, requests * taken)
        pace = step / (1 - busy)
        interruptions = others * self.steps * pace
        spread = np.sqrt(interruptions) * added / self.steps
        first = prompt + running / 2 + self.m.request_s[:, 0]
        return _Loop(pace, first, Wait(wait.probability, tail), spread)


@dataclass(frozen=True, slots=True)
class _Loop:
    """A closed loop at a throughput [R]."""

    tpot_s: Floats
    first_s: Floats
    wait: Wait
    tpot_spread_s: Floats

    @property
    def ttft_s(self) -> Floats:
        """Mean time to first token."""
        return np.asarray(self.first_s + self.wait.mean_s)


def _serve(model: ModelSpec, m: Machines, points: "list[Point]") -> dict[str, Floats]:
    rows = _Rows(model, m, points)
    asked = np.array([p.number("rate", np.nan) for p in points])
    requests = np.array([p.number("concurrency", np.nan) for p in points])
    closed = np.isfinite(requests)
    requests = np.where(closed, requests, 1.0)
    capacity = rows.capacity_rps()
    overloaded = ~closed & (asked >= capacity)
    rate = np.where(closed, _throughput(rows, requests), np.where(overloaded, capacity, asked))
    loop, mixed = rows.loop(rate, requests), rows.at(rate)
    tpot = np.where(closed, loop.tpot_s, mixed.states.tpot_mean_s)
    tpot = np.where(overloaded, np.inf, tpot)
    queued = np.maximum(requests / rate - loop.first_s - rows.steps * loop.tpot_s, 0.0)
    waits = loop.wait.probability > 0
    queue_tail = np.where(waits, queued / np.where(waits, loop.wait.probability, 1.0), 0.0)
    tpots = np.asarray(tpot_percentiles_s(mixed.states, mixed.step_s, LEVELS, 0.0))
    tpots = np.where(closed[:, None], tpot[:, None] + SCORES * loop.tpot_spread_s[:, None], tpots)
    admit = mixed.states.wait
    wait = gigc_wait_allen_cunneen(rate, mixed.occupancy_s[:, 0], 0.0, 1)
    ttfts = _ttft(
        np.where(closed, loop.first_s, (mixed.prompt_s + rows.m.request_s)[:, 0]),
        np.where(closed, loop.wait.probability, wait.probability),
        np.where(closed, queue_tail, wait.tail_mean_s),
        np.where(closed, 0.0, admit.probability),
        np.where(closed, 0.0, admit.tail_mean_s),
    )
    ttfts[overloaded] = tpots[overloaded] = np.inf
    latency = ttfts[:, 0] + rows.steps * tpot
    rate = np.where(closed, requests / latency, rate)  # the fixed point jumps with the batch
    nothing = np.full(len(points), np.nan)
    found = {
        "latency_s": latency,
        **dict.fromkeys(("compute_s", "memory_s", "network_s", "overhead_s"), nothing),
        "ttft_mean_s": ttfts[:, 0],
        "tpot_mean_s": tpot,
        "throughput_rps": rate,
        "output_tokens_per_s_per_gpu": rate * rows.osl / rows.gpus,
    }
    for k, name in enumerate(("p50", "p90", "p99")):
        found[f"ttft_{name}_s"] = ttfts[:, k + 1]
        found[f"tpot_{name}_s"] = tpots[:, k]
    return found


def _throughput(rows: _Rows, requests: Floats) -> Floats:
    """Rate at which requests cycle: N = rate (TTFT + m TPOT), by bisection [R]."""
    low = np.zeros(len(requests))
    high = requests / (rows.prompts.alone_s[:, 0] + rows.steps * rows.step_s[:, 0])
    high = np.minimum(high, 0.999 / np.maximum(rows.prompts.added_s[:, 0], 1e-12))
    for _ in range(50):
        middle = (low + high) / 2
        loop = rows.loop(middle, requests)
        many = middle * (loop.ttft_s + rows.steps * loop.tpot_s) > requests
        low, high = np.where(many, low, middle), np.where(many, middle, high)
    return np.asarray((low + high) / 2)


def _ttft(
    fixed_s: Floats, probability: Floats, tail_s: Floats, second: Floats, second_s: Floats
) -> Floats:
    """Mean and percentiles of a fixed time plus two waits [R, 1 + L]; infinite if overloaded."""
    probabilities = np.stack([probability, second], -1)
    means = np.stack([tail_s, second_s], -1)
    offsets, one = fixed_s[:, None], np.ones((len(fixed_s), 1))
    mean = np.asarray(sojourn_mean_s(one, offsets, probabilities, means))
    levels = [
        np.asarray(sojourn_quantile_s(level, one, offsets, probabilities, means))
        for level in LEVELS
    ]
    return np.column_stack([mean, *levels])
