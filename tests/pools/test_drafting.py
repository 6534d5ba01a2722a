"""Prompts beside requests that are away on devices between passes, against a simulation."""

import heapq

import numpy as np
import pytest

from pdplan.pools.drafting import DeviceCycles
from pdplan.pools.interleave import PromptWork, interleave
from pdplan.queueing import Outputs

BASE_S, RISE_S, PROMPT_S, ROUNDS = 0.012, 0.0002, 0.010, 40
SIZES = np.arange(1, 401)


def simulate(rate, away, seconds, seed=3):
    """Mean time to the end of a prompt's pass, and mean time per round after it."""
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / rate, int(rate * seconds)))
    coming = [(t, i, -1) for i, t in enumerate(arrivals)]
    first, ended, now = np.zeros(len(arrivals)), np.zeros(len(arrivals)), 0.0
    while coming:
        now = max(now, coming[0][0])
        batch = []
        while coming and coming[0][0] <= now:
            batch.append(heapq.heappop(coming))
        prompts = sum(done < 0 for _, _, done in batch)
        now += BASE_S + RISE_S * (len(batch) - prompts) + PROMPT_S * prompts
        for _, i, done in batch:
            if done < 0:
                first[i] = now
            if done + 1 == ROUNDS:
                ended[i] = now
            else:
                heapq.heappush(coming, (now + random.exponential(away), i, done + 1))
    kept = slice(len(arrivals) // 5, 4 * len(arrivals) // 5)
    return (first - arrivals)[kept].mean(), ((ended - first)[kept] / ROUNDS).mean()


@pytest.mark.parametrize("away", [0.03, 0.1])
@pytest.mark.parametrize("rate", [6.0, 20.0, 35.0])
def test_prompts_slow_passes_down_but_not_devices(rate, away):
    cycles = DeviceCycles.of(np.array([BASE_S + RISE_S * SIZES]), away)
    one = np.ones((1, 1))
    prompts = PromptWork(
        alone_s=(BASE_S + PROMPT_S) * one, added_s=PROMPT_S * one, encode_s=0 * one, rides=one,
        filled=0.01 * one,
    )  # fmt: skip
    found = interleave(
        prompts, cycles.alone.cycle_s, weight=np.ones(1), arrival_rps=np.array([rate]),
        decode_steps=float(ROUNDS), cap=np.array([400]), cycles=cycles,
        outputs=Outputs(np.array([float(ROUNDS)]), np.ones(1)),
    )  # fmt: skip
    ttft, pace = simulate(rate, away, 2000 / rate)
    ahead = float((found.prompt_s @ np.ones(1) + np.asarray(found.wait.mean_s))[0])
    assert float(found.tpot_mean_s[0]) == pytest.approx(pace, rel=0.05)
    assert ahead == pytest.approx(ttft, rel=0.06)
