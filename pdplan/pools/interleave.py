"""Prefill and decode in one process: one server, two kinds of work.

`chunked`: prompts ride on decode steps, first come first served, up to a token budget. A step of n
requests takes tau(n) and what the chunks in it add, so prompts take a share b = r E[w] of time and
a decode step lasts tau / (1 - b). `prefill_first`: whenever a prompt waits a pass of prompts alone
runs, and decoding pauses; b also counts what passes take beside their prompts' work. `layered`: a
prompt's layers ride on decode steps a group at a time, one prompt after another.

What a prompt waits for is `queueing.rounds`, its own rounds are in `pools.served`, and what prompts
do to decoding is `pools.beside`.
"""

from dataclasses import replace
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats
from pdplan.pools.beside import RunningSteps, clumped
from pdplan.pools.drafting import AtFleet, DeviceCycles
from pdplan.pools.served import Interleaved, PromptWork, Serving, served
from pdplan.queueing import (
    POISSON,
    Outputs,
    PromptMoments,
    Stream,
    decode_states,
    pass_spread,
    passes_rps,
    rounds,
    saturated_shares,
)

__all__ = ["Interleaved", "PromptWork", "interleave", "mean_inverse"]

STEP_PICKED = 8.5
"""Arrivals at a pool within a step at which they meet a fifth more of it than by chance."""
HELD_BACK = 0.97
"""Decode utilization of a batch that is so full that prompts have to wait for places."""
MANY = Outputs(np.array([0.5, 1.5]), np.array([0.5, 0.5]))


class _Vacations(TypedDict, total=False):
    """What `rounds` is told of the time that prompts do not use."""

    pause_s: Floats
    pauses: Floats
    spread: Floats
    running: Floats
    paused: Floats
    wobble: Floats


def interleave(
    prompts: PromptWork,
    step_s: Floats,
    *,
    weight: Floats,
    arrival_rps: ArrayLike,
    decode_steps: ArrayLike,
    cap: ArrayLike,
    scheduler: str = "chunked",
    budget_tokens: ArrayLike = np.inf,
    moments: PromptMoments | None = None,
    outputs: Outputs = MANY,
    inverse_steps: ArrayLike | None = None,
    stream: Stream = POISSON,
    central: bool = False,
    prompt_share: float = 1.0,
    cycles: DeviceCycles | None = None,
) -> Interleaved:
    """Work out steps, prompts and states of instances at a rate each.

    step_s [K, N] at batch 1..N; weight of support points [S]; arrival_rps into one instance,
    decode_steps m, cap and budget_tokens [K] or scalars. `moments` are those of `prompts`,
    `outputs` the steps of requests, inverse_steps the mean of 1 over them (told by `outputs`),
    `stream` the arrivals at an instance; central: instances take prompts from one queue;
    prompt_share of those who come bring a prompt (of these `prompts`, `weight` and `moments` are),
    the others only decode; cycles: what is behind step_s where it is a round in which requests are
    away (`pools.drafting`).

    Valid for: a batch limit that seldom keeps prompts waiting, b below about 0.85.
    *Measured error* against a simulation in steps (one instance; prompts of 0.05 to 8 budgets, cv 0
    and 1.5; a full chunk 0.5 to 20 steps long; answers of constant and lognormal length, 4 prompt
    tokens a decode step; loads 0.3, 0.7, 0.9), mean and worst |error| over the grid:
    mean TTFT 2.5 and 10 %, p50 4 and 11 %, p90 6 and 15 %, p99 6 and 17 % (the worst at load 0.9,
    where a simulated run itself varies by 3 to 7 %); mean TPOT 1.5 and 5 %, p90 4 and 15 % (the
    worst with full chunks 20 steps long).
    layered is like it; prefill_first too while the batch is not full, but mean TPOT is up to 10 %
    high where passes take more than three quarters of the time and prompts vary (cv 1.5). p99 of
    gaps between tokens within 15 % for chunked and layered, up to 30 % high for prefill_first; any
    percentile near the share of gaps without prompts is uncertain. Eight instances: least loaded
    mean TTFT within 10 %, but 16 % low at load 0.9 with prompts of cv 1.5, and p99 up to 40 % high;
    round robin up to 20 % off with prompts of cv 1.5. Arrivals of scv 1/4 and 4: mean TTFT 13 and
    9 %, mean TPOT 1 and 7 %.
    *Beyond*: where a prompt takes more than a tenth of a request's own decode time, TPOT is all
    or nothing (a prompt came or not): its mean stays within 9 %, its percentiles do not.
    Where prefill goes first, prompts are short and the batch is full, prompts wait for places,
    longer than is said here.
    Source: ITL = T_dec / (1 - rho) as derived for local prefill in disaggregated serving (AMPD,
    arXiv 2602.14516, steady state); the rest is `queueing.rounds` and this module's own.
    """
    arriving, steps = np.asarray(arrival_rps, float), np.asarray(decode_steps, float)
    rate, ratio = arriving * prompt_share, steps / prompt_share
    if moments is None:
        moments = PromptMoments.of(prompts.added_s, prompts.filled, prompts.rides, weight)
    beside = prompts.alone_s + prompts.encode_s - prompts.added_s
    base = np.maximum((beside / np.maximum(prompts.rides, 1.0)) @ weight, 0.0)
    work = rate * moments.w
    busy, passes, growing = work, np.zeros_like(work), work
    if scheduler == "prefill_first":
        passes = passes_rps(moments, rate, base, step_s, ratio, cap)
        busy, growing = _with_passes(moments, rate, base, passes, step_s, ratio, cap)
    left = np.maximum(1 - busy, 1e-6)
    beside_prompts = None if cycles is None else cycles.beside(left)
    slowed = step_s / left[:, None] if beside_prompts is None else beside_prompts.cycle_s
    everyone = replace(moments, w=moments.w * prompt_share, ww=moments.ww * prompt_share)
    reaching = clumped(stream, everyone, growing)
    states = decode_states(
        slowed, arriving, steps, cap, stream=reaching,
        length_scv=outputs.scv, overlap=outputs.overlap,
    )  # fmt: skip
    at = RunningSteps.of(states, step_s)
    idle = states.idle
    away = None
    if cycles is not None and beside_prompts is not None:
        away = AtFleet.of(beside_prompts, cycles.alone, states, left)
        at, idle = away.running, away.idle
    if prompt_share < 1:
        stream = picked_at_random(stream, prompt_share)
    level = np.asarray(stream.level, float)
    p, filled = moments, prompts.filled
    run: _Vacations
    if scheduler == "prefill_first":
        overhead, per_s = base, passes
        run = {"pause_s": at.step_s, "pauses": left * (1 - idle),
               "spread": pass_spread(p, rate, passes), "paused": 1 - idle}  # fmt: skip
    else:
        overhead = (1 - idle) * at.step_s + idle * np.minimum(base, at.step_s)
        per_s = np.maximum(1 - work, 1e-9) / np.maximum(overhead, 1e-12)
        run = {"running": 1 - idle}
        slope = at.slope_s
        if scheduler == "chunked":
            budget = np.asarray(budget_tokens, float)
            stretch = 1 / np.maximum(1 - at.batch / budget, 0.05)
            p, filled = moments.stretched(stretch), filled * stretch[:, None]
            slope = slope + at.step_s * stretch / budget
        else:
            used = np.minimum(rate * p.f / per_s, 1.0)
            run |= {"pause_s": at.step_s, "pauses": left * (1 - used),
                    "spread": np.zeros_like(busy)}  # fmt: skip
            per_s = np.maximum(per_s * used, 1e-12)
        run["wobble"] = (rate * p.f * slope) ** 2 * at.variance
    own_scv = np.asarray(stream.scv / level)
    picked = 1 - 1 / np.sqrt(1 + level * rate * (overhead + p.w * rate / per_s) / STEP_PICKED)
    full_load = np.clip(rate * (p.w + p.f * overhead), 0.0, 0.99)
    memory = full_load / np.maximum(rate, 1e-12) / (level * (1 - full_load) ** 2)
    seen_scv = 1 + (stream.scv - 1) / (1 + stream.settling_s / np.maximum(memory, 1e-12))
    alone = level == 1
    p = p.dispersed(np.where(alone, seen_scv - 1, 0.0))
    seen_scv = np.where(alone, 1.0, seen_scv)
    found = rounds(
        p, rate, overhead, per_s, servers=level, arrival_scv=seen_scv, own_scv=own_scv,
        met=1.0 if central else 1 + (1 - 1 / level**2) * picked, **run,
    )  # fmt: skip
    on = Serving(
        scheduler=scheduler,
        rate_rps=rate,
        busy=busy,
        overhead_s=overhead,
        filled=filled,
        moments=p,
        found=found,
        states=states,
        step_s=slowed,
        at=at,
        stream=replace(reaching, scv=stream.scv),
        own_scv=own_scv,
        steps=steps,
        inverse_steps=mean_inverse(outputs)
        if inverse_steps is None
        else np.asarray(inverse_steps, float),
        second_s2=moments.ww,
        prompt_share=prompt_share,
        away=away,
    )
    return served(prompts, on, weight)


def picked_at_random(stream: Stream, share: float) -> Stream:
    """Stream of a share of the arrivals: what is above Poisson's dispersion falls with it.

    *Source*: Whitt, The Queueing Network Analyzer, Bell Syst. Tech. J. 62 (1983) 2779-2815,
    splitting.
    """
    return replace(
        stream,
        scv=np.asarray(1 + share * (stream.scv - 1)),
        dispersion=np.asarray(1 + share * (stream.dispersion - 1)),
    )


def mean_inverse(outputs: Outputs) -> float:
    """Mean of 1 over the steps of a request."""
    return float(outputs.weight @ (1 / outputs.steps))


def _with_passes(
    p: PromptMoments, rate: Floats, base_s: Floats, passes: Floats, step_s: Floats, steps: Floats,
    cap: ArrayLike,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Share of time in passes, and as much of it as grows with the prompts that come.

    A prompt that shares a pass of k lengthens it by w only; what it adds to the number of passes
    falls with k^2. Where the batch would grow beyond its limit it stays full, prompts wait for
    places and share passes: what passes leave is as much as decoding then needs.
    """
    busy = rate * p.w + passes * base_s
    together = np.maximum(rate * np.maximum(p.rounds, 1.0) / passes, 1.0)
    growing = rate * p.w + passes * base_s / together**2
    least, decoding = saturated_shares(p, rate, base_s, step_s, steps, cap)
    full = (least + decoding < HELD_BACK) & (decoding >= HELD_BACK * np.maximum(1 - busy, 0.0))
    busy = np.where(full, 1 - decoding / HELD_BACK, busy)
    return np.asarray(busy), np.asarray(np.minimum(growing, busy))
