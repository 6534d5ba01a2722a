"""What arrives when: renewal processes, bursts, traces; lengths drawn from support points."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.simulation.request import Prompt

Floats = NDArray[np.float64]
Arrival = tuple[float, Prompt, int]
"""Time [s], prompt, tokens of the answer."""
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class TwoRates:
    """A rate that is `factor` times the mean in a share of the time, else lower."""

    factor: float
    share: float
    length_s: float
    """Mean length of a burst; exponential, as is the time between."""
    calm_factor: float


@dataclass(frozen=True, slots=True, eq=False)
class OpenArrivals:
    """Requests that arrive whatever becomes of the others.

    Times between arrivals are gamma-distributed with a squared coefficient of variation (1 is
    Poisson, 0 a clock). With bursts they are run through faster and slower: the time that they
    pass in is the integral of the rate.
    """

    rate_rps: float
    scv: float
    prompts: Sequence[Prompt]
    weight: Floats
    """Of the prompts [S]."""
    output_tokens: Floats
    """[S, O]."""
    output_weight: Floats
    bursts: TwoRates | None = None

    def draw(self, seed: int) -> Iterator[Arrival]:
        """Requests without end; times, lengths and bursts are drawn from streams of their own."""
        times, lengths = (np.random.default_rng([seed, part]) for part in (0, 1))
        warp = Warp(self.bursts, np.random.default_rng([seed, 2])) if self.bursts else None
        cumulative = np.cumsum(self.weight) / np.sum(self.weight)
        outputs = np.cumsum(self.output_weight, axis=1)
        outputs /= outputs[:, -1:]
        passed = 0.0
        while True:
            moments = passed + np.cumsum(self._gaps(times))
            passed = float(moments[-1])
            where = np.searchsorted(cumulative, lengths.random(BLOCK), side="right")
            where = np.minimum(where, len(self.weight) - 1)
            chosen = (lengths.random(BLOCK)[:, None] >= outputs[where]).sum(axis=1)
            chosen = np.minimum(chosen, outputs.shape[1] - 1)
            osl = np.floor(self.output_tokens[where, chosen] + lengths.random(BLOCK))
            osl = np.maximum(osl, 1).astype(int)
            for moment, point, tokens in zip(
                moments.tolist(), where.tolist(), osl.tolist(), strict=True
            ):
                at = moment if warp is None else warp.at(moment)
                yield at, self.prompts[point], tokens

    def _gaps(self, rng: np.random.Generator) -> Floats:
        """Times between arrivals at the mean rate."""
        if self.scv == 0:
            return np.full(BLOCK, 1 / self.rate_rps)
        if self.scv == 1:
            return rng.standard_exponential(BLOCK) / self.rate_rps
        return rng.gamma(1 / self.scv, self.scv / self.rate_rps, BLOCK)


class Warp:
    """Time under a rate with bursts, for moments in the time that an even rate would take."""

    __slots__ = ("_began", "_ends", "_factor", "_passed", "_rates", "_rng", "_until")

    def __init__(self, bursts: TwoRates, rng: np.random.Generator) -> None:
        calm_s = bursts.length_s * (1 - bursts.share) / bursts.share
        self._rates = ((bursts.calm_factor, calm_s), (bursts.factor, bursts.length_s))
        self._rng = rng
        self._began = self._passed = 0.0
        """Where the present rate began, in time and in the integral of the rate."""
        self._begin(0.0, bursting=bool(rng.random() < bursts.share))

    def _begin(self, now: float, *, bursting: bool) -> None:
        self._factor, mean_s = self._rates[bursting]
        self._began, self._ends = now, now + self._rng.exponential(mean_s)
        self._until = self._passed + self._factor * (self._ends - now)

    def at(self, moment: float) -> float:
        """When a moment comes; moments have to be asked for in their order."""
        while moment > self._until:
            self._passed = self._until
            self._begin(self._ends, bursting=self._factor < 1)
        return self._began + (moment - self._passed) / self._factor
