"""Loads on colocated instances, and what the closed form says of them."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from pdplan.pools.interleave import PromptWork, interleave
from pdplan.pools.itl import NODES, lengthened_gaps_s
from pdplan.queueing import (
    Outputs,
    instance_stream,
    mixed_quantiles_s,
    sojourn_quantile_s,
    tpot_quantile_s,
)
from tests.pools.small_simulation import Load

LEVELS = np.array([0.5, 0.9, 0.99])
GRID = (np.arange(100) + 0.5) / 100
BUDGET = 2048.0
STEP_S = 0.010 + 5e-5 * np.arange(1, 513)


def lengths(mean, cv, points):
    """Lognormal lengths in points of equal weight, or one length."""
    if cv == 0:
        return np.array([float(mean)])
    sigma = np.sqrt(np.log(1 + cv**2))
    scores = [NormalDist().inv_cdf((i + 0.5) / points) for i in range(points)]
    spread = np.exp(sigma * np.array(scores))
    return np.maximum(np.round(mean * spread / spread.mean()), 1.0)


def load_of(
    share, fill=0.3, cv=0.0, steps=153, work=3.0, *, steps_cv=0.8, encode_s=0.0, **more
):  # fmt: skip
    """A share of what an instance can take.

    fill: prompt tokens over the budget; cv: of prompts; work: of a full chunk over a step alone;
    encode_s: of every second request.
    """
    tokens = lengths(fill * BUDGET, cv, 12)
    weight = np.full(len(tokens), 1 / len(tokens))
    encode = np.zeros_like(tokens)
    if encode_s:
        tokens, weight = np.repeat(tokens, 2), np.repeat(weight, 2) / 2
        encode = encode_s * (np.arange(len(tokens)) % 2)
    added = tokens / BUDGET * work * 0.010
    load = Load(
        rate_rps=1.0,
        tokens=tokens,
        added_s=added,
        alone_s=added + np.ceil(tokens / BUDGET) * 0.008,
        weight=weight,
        steps=lengths(steps, steps_cv, 40),
        step_s=STEP_S,
        budget=BUDGET,
        cap=512,
        encode_s=encode,
        **more,
    )
    return replace(load, rate_rps=share * capacity_rps(load))


def capacity_rps(load):
    """What all instances take, by hand: the largest batch that prompts let there be."""
    work = (load.added_s + load.encode_s) @ load.weight
    steps, tokens = load.steps.mean(), load.tokens @ load.weight
    batch = steps * load.budget / (tokens + steps)
    if load.scheduler == "layered":
        batch = steps / (np.ceil(load.tokens / load.budget) @ load.weight)
    batch = min(batch, load.cap)
    if load.scheduler == "prefill_first":
        together = max(1.0, min(load.cap / steps, load.budget / tokens))
        work += (load.alone_s - load.added_s) @ load.weight / together
        batch = load.cap
    step = np.interp(batch, np.arange(1, len(load.step_s) + 1), load.step_s)
    return load.instances / (work + steps * step / batch)


class Closed:
    """Mean and percentiles of TTFT and TPOT, percentiles of ITL."""

    def __init__(self, load):
        rides = np.ceil(load.tokens / load.budget)
        fill = rides if load.scheduler == "layered" else load.tokens / load.budget
        outputs = Outputs.of(load.steps, np.full(len(load.steps), 1 / len(load.steps)))
        work = PromptWork(*(
            values[None]
            for values in (load.alone_s, load.added_s + load.encode_s, load.encode_s, rides, fill)
        ))  # fmt: skip
        self.mixed = mixed = interleave(
            work,
            load.step_s[None],
            weight=load.weight,
            arrival_rps=np.array([load.rate_rps / load.instances]),
            decode_steps=load.steps.mean(),
            cap=np.array([load.cap]),
            scheduler=load.scheduler,
            budget_tokens=load.budget,
            outputs=outputs,
            stream=instance_stream(
                load.routing, load.rate_rps, np.array([load.instances]), load.arrival_scv
            ),
            central=load.routing == "central",
        )
        waits = (mixed.wait, mixed.states.wait)
        chances = [float(np.ravel(w.probability)[0]) for w in waits]
        tails = [float(np.ravel(w.tail_mean_s)[0]) for w in waits]
        self.ttft_s = np.array([
            mixed.prompt_s[0] @ load.weight + sum(np.multiply(chances, tails)),
            *sojourn_quantile_s(LEVELS, load.weight, mixed.prompt_s[0], chances, tails),
        ])  # fmt: skip
        recovery = mixed.states.recovery
        kept = outputs.averaging(outputs.steps, recovery)
        mean = mixed.states.tpot_mean_s[:, None]
        flat = tpot_quantile_s(mixed.states, mixed.step_s, GRID, averaging=np.ones(1)) - mean
        spread = (mixed.states.seen * (mixed.step_s - mean) ** 2).sum(1)
        apart = np.sqrt(kept)[..., None] * flat[:, None]
        paces = mean[..., None] + mixed.effect.lengthened(
            apart, kept * spread[:, None], outputs.steps, GRID
        )
        share = np.broadcast_to(outputs.weight[:, None] / len(GRID), paces[0].shape)
        self.tpot_s = np.array([
            mixed.tpot_mean_s[0], *mixed_quantiles_s(paces[0], share, LEVELS)
        ])  # fmt: skip
        left = 1 - mixed.effect.riding_s / mixed.states.tpot_mean_s
        alone = tpot_quantile_s(mixed.states, mixed.step_s, NODES, averaging=np.ones(1))
        self.itl_s = lengthened_gaps_s(alone * left[:, None], mixed.effect, LEVELS)[0]
