"""Prefill and decode in one process: one server, two kinds of work.

Prefill (and encode) take a share b = r E[w] of an instance's time at r requests per second, so a
decode step lasts tau(n) / (1 - b). `chunked`: a prompt's chunks ride on decode steps; w is what
they add, and the prompt lasts its chunks' steps. `prefill_first`: a prompt interrupts decoding and
lasts as long as it does alone. A new request first waits for what is left of the step it falls
into, which is longer than the mean one where prompts ride on some of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats
from pdplan.queueing import DecodeStates, decode_states
from pdplan.queueing.gated import gated_steps


@dataclass(frozen=True, slots=True, eq=False)
class PromptWork:
    """What prompts ask of one instance, each [K, S]."""

    alone_s: Floats
    """Prefill with the instance to itself."""
    added_s: Floats
    """Device time taken from decoding: marginal or whole prefill, and encoding."""
    encode_s: Floats
    """The part of it that encodes."""
    rides: Floats
    """Decode steps that a prompt's chunks ride on; 0 when prefill goes first."""
    filled: Floats
    """Whole chunks' worth of tokens: the share of a step's token budget it uses up."""


@dataclass(frozen=True, slots=True, eq=False)
class Interleaved:
    """K instances that prefill and decode, at their load."""

    states: DecodeStates
    step_s: Floats
    """Effective time per output token at batch 1..N [K, N]."""
    busy: Floats
    """Share of time that prompts take [K]."""
    prompt_s: Floats
    """Prefill as a request feels it, half a running step included [K, S]."""
    occupancy_s: Floats
    """How long a prompt keeps the next one waiting [K, S]."""


def interleave(
    prompts: PromptWork,
    step_s: Floats,
    *,
    weight: Floats,
    arrival_rps: ArrayLike,
    decode_steps: ArrayLike,
    cap: ArrayLike,
) -> Interleaved:
    """Work out steps, prompts and states of instances at a rate each.

    step_s [K, N]; weight of support points [S]; arrival_rps into one instance, decode_steps, cap
    [K] or scalars. Valid for: b below about 0.9; the slowdown is taken as even, though prompts
    come in clumps.
    Source: ITL_eff = T_dec / (1 - rho) as derived for local prefill in disaggregated serving
    (AMPD, arXiv 2602.14516, steady state).
    """
    rate = np.asarray(arrival_rps, float)
    busy = rate * (prompts.added_s @ weight)
    slowed = step_s / np.maximum(1 - busy, 1e-6)[:, None]
    states = decode_states(slowed, rate, decode_steps, cap)
    running = np.einsum("kn,kn->k", states.probability, step_s)[:, None]
    own = prompts.added_s - prompts.encode_s
    mean_added = prompts.added_s @ weight
    steps = gated_steps(np.maximum(running[:, 0], 1e-12), mean_added, rate)
    prompt = np.maximum(prompts.alone_s, prompts.rides * running + own)
    return Interleaved(
        states=states,
        step_s=slowed,
        busy=busy,
        prompt_s=prompt + np.where(prompts.rides > 0, steps.residual_s[:, None], running / 2),
        occupancy_s=prompts.added_s + prompts.filled * running,
    )
