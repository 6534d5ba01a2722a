"""Requests in service that are away on users' devices between the passes that check their drafts.

A round of n requests in service is `queueing.cycles`: away, waiting for the running pass, one's own
pass of fewer than n. It takes the place of the decode step: tokens come once a round, and cache is
held all the time.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.beside import RunningSteps
from pdplan.pools.demand import Demand
from pdplan.queueing import DecodeStates
from pdplan.queueing.cycles import Cycles, gated_cycles
from pdplan.stages.device_draft import rounds_of

Columnwise = Any
"""A whole number for each column [K]."""

if TYPE_CHECKING:
    from pdplan.pools.times import Times

LEFT = np.array([0.05, 0.2, 0.4, 0.6, 0.8, 1.0])
"""Shares of time that prompts leave, for which rounds are worked out; linear between them."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceCycles:
    """Rounds of C instances, by what prompts in the same process leave of their time."""

    every: Cycles
    """At each of LEFT [C, G, N], in units of time that prompts leave."""

    @classmethod
    def of(cls, pass_s: Floats, away_s: float) -> "DeviceCycles":
        """Work out rounds of passes v(1..N) [C, N].

        Prompts that take a share 1 - l of time make passes v / l. In units of l that is a round of
        v and Z l.
        """
        away = np.broadcast_to(away_s * LEFT, (len(pass_s), len(LEFT)))
        return cls(gated_cycles(pass_s[:, None], away))

    @property
    def alone(self) -> Cycles:
        """Without prompts [C, N]."""
        return _each(self.every, lambda values: values[:, -1])

    def take(self, config: Floats, most: int) -> "DeviceCycles":
        """Rounds of chosen candidates up to a batch."""
        return DeviceCycles(_each(self.every, lambda values: values[config, :, :most]))

    def beside(self, left: Floats) -> Cycles:
        """Rounds where prompts leave a share of time [C]; passes are without what they add."""
        at = np.interp(left, LEFT, np.arange(len(LEFT)))
        below = np.minimum(at.astype(np.int64), len(LEFT) - 2)
        part = (at - below)[:, None]
        rows = np.arange(len(at))
        found = _each(
            self.every,
            lambda values: values[rows, below] * (1 - part) + values[rows, below + 1] * part,
        )
        return replace(found, cycle_s=found.cycle_s / left[:, None])


def _each(cycles: Cycles, chosen: Callable[[Floats], Floats]) -> Cycles:
    return Cycles(*(chosen(getattr(cycles, f.name)) for f in fields(cycles)))


def in_rounds(times: "Times", demand: Demand) -> "Times":
    """Put rounds in the place of decode steps, where devices draft."""
    rounds = rounds_of(demand.options.device_draft, demand.model.vocab)
    if rounds is None or not times.step_s.shape[-1]:
        return times
    cycles = DeviceCycles.of(times.step_s, rounds.away_s)
    return replace(times, step_s=cycles.alone.cycle_s, cycles=cycles)


def taken(cycles: DeviceCycles | None, config: Columnwise, most: int) -> DeviceCycles | None:
    """Rounds of chosen candidates up to a batch, if there are any."""
    return None if cycles is None else cycles.take(config, most)


def waiting_share(states: DecodeStates, cycles: DeviceCycles, config: Columnwise) -> Floats:
    """What is left of a pass, over what would be left of a step as long as a round [K]."""
    some = cycles.take(config, states.probability.shape[-1]).alone
    part = np.einsum("kn,kn->k", states.probability, some.busy * some.pass_s)
    whole = np.einsum("kn,kn->k", states.probability, some.cycle_s)
    return np.asarray(part / np.maximum(whole, 1e-300))


def passing(cycles: DeviceCycles, config: Columnwise, batch: Columnwise) -> Floats:
    """Requests in a pass where so many are in service [K]."""
    each = cycles.alone.batch
    sizes = np.arange(1.0, each.shape[-1] + 1)
    return np.array([np.interp(n, sizes, each[c]) for c, n in zip(config, batch, strict=True)])


def saturated_rps(
    cycles: DeviceCycles, config: Columnwise, batch: Columnwise, steps: float, work_s: Floats
) -> Floats:
    """Rate at which an instance saturates whose requests bring a prompt of work_s each [K].

    r with r m R(n) = n where prompts leave l = 1 - r w, at the largest batch n; m = steps, w =
    work_s; linear between LEFT.
    """
    chosen = cycles.every.cycle_s[config, :, np.asarray(batch) - 1]
    decoding = LEFT * np.asarray(batch)[:, None] / (steps * chosen)
    spare = decoding - (1 - LEFT) / np.maximum(work_s, 1e-12)[:, None]
    above = np.clip((spare < 0).sum(axis=1), 1, len(LEFT) - 1)[:, None]
    low, high = (np.take_along_axis(spare, at, axis=1)[:, 0] for at in (above - 1, above))
    part = np.clip(-low / np.maximum(high - low, 1e-300), 0.0, 1.0)
    rates = [np.take_along_axis(decoding, at, axis=1)[:, 0] for at in (above - 1, above)]
    return np.asarray(rates[0] + part * (rates[1] - rates[0]))


@dataclass(frozen=True, slots=True, eq=False)
class AtFleet:
    """What of requests' rounds is spent at an instance, at its load [K]."""

    running: RunningSteps
    """Passes, without what prompts add."""
    idle: Floats
    """Share of the time that prompts leave in which no pass runs."""
    own_s: Floats
    """Part of a round that prompts can lengthen."""
    share: Floats
    """The same over the round."""

    @classmethod
    def of(cls, slowed: Cycles, alone: Cycles, states: DecodeStates, left: Floats) -> "AtFleet":
        """Read off the states of rounds that prompts slow down."""
        running = RunningSteps.of(states, slowed.pass_s)
        served = np.maximum(1 - states.idle, 1e-12)
        batch = np.einsum("kn,kn->k", states.probability, slowed.batch) / served
        away = (alone.cycle_s - alone.pass_s)[:, :1]
        least = np.einsum("kn,kn->k", states.seen, alone.cycle_s - away)
        mean = np.einsum("kn,kn->k", states.seen, alone.cycle_s)
        added = np.einsum("kn,kn->k", states.seen, slowed.cycle_s - alone.cycle_s)
        own = np.where(left < 1 - 1e-6, added / np.maximum(1 / left - 1, 1e-12), least)
        return cls(
            running=replace(running, batch=batch),
            idle=1 - np.einsum("kn,kn->k", states.probability, slowed.busy),
            own_s=np.clip(own, least, mean),
            share=np.clip(own / mean, 0.0, 1.0),
        )
