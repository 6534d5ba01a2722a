"""How much of a session lies before a request: weighted points over all of its turns.

A request is the k-th turn of its session with probability P(turns >= k) / E[turns], and has k - 1
earlier prompts and answers before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.specs.points import Array, Points, strata
from pdplan.specs.reuse import MOST_TURNS

NODES = 7
"""Points of the Gauss-Hermite rule for the sum of the earlier turns' lengths."""


@dataclass(frozen=True, slots=True)
class Histories:
    """Tokens before a request in rising order, and the number of turns they come from."""

    points: Points
    earlier_turns: Array

    def coarse(self, count: int) -> "Histories":
        """Join points into at most `count` conditional means; first turns stay apart."""
        first = self.earlier_turns == 0
        rest = Points(self.points.values[~first], self.points.weights[~first])
        bins = np.zeros(first.size, dtype=np.intp)
        if rest.values.size:
            bins[~first] = strata(rest, max(count - 1, 1)) + 1
        return Histories(
            Points(*_means(bins, self.points.weights, self.points.values)),
            _means(bins, self.points.weights, self.earlier_turns)[0],
        )


def _means(bins: NDArray[np.intp], weights: Array, values: Array) -> tuple[Array, Array]:
    total = np.bincount(bins, weights)
    means = np.bincount(bins, weights * values) / total
    return means, np.asarray(total, float)


NO_HISTORY = Histories(Points(np.zeros(1), np.ones(1)), np.zeros(1))


def histories(turns: Points, growth: float, variance: float) -> Histories:
    """Points of the tokens before a request.

    turns: whole numbers of requests in a session; growth [tokens]: mean that a turn adds, prompt
    and answer; variance of the same. Turns are independent: after j of them the history has mean
    j growth and variance j variance, taken as lognormal. Means over all requests are exact:
    E[history] = growth E[T (T - 1)] / (2 E[T]).
    """
    most = min(int(turns.values[-1]), MOST_TURNS)
    turn = np.arange(1, most + 1)
    upto = np.searchsorted(turns.values, turn, "left")  # sessions with at least so many turns
    reached = np.append(np.cumsum(turns.weights[::-1])[::-1], 0.0)[upto]
    chance = reached / reached.sum()
    earlier = turn - 1.0
    spread = variance > 0 and most > 1
    z, mass = np.polynomial.hermite_e.hermegauss(NODES) if spread else (np.zeros(1), np.ones(1))
    mass = mass / mass.sum()
    squared = np.divide(variance, growth**2 * earlier, out=np.zeros(most), where=earlier > 0)
    law = np.exp(np.sqrt(np.log1p(squared))[:, None] * z)
    law /= (law @ mass)[:, None]
    tokens, weight = (growth * earlier)[:, None] * law, chance[:, None] * mass
    weight = np.where(earlier[:, None] > 0, weight, chance[:, None] * (z == z[0]))
    used = weight > 0
    order = np.argsort(tokens[used], kind="stable")
    return Histories(
        Points(tokens[used][order], weight[used][order]),
        np.broadcast_to(earlier[:, None], tokens.shape)[used][order],
    )
