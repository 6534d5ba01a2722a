"""Laws of one instance's iterations, tabulated from the physics for use one number at a time.

A simulation asks for the time of one step or pass at a time, millions of times: arrays of one
number would cost a hundred times the look-up. The tables below are filled once from the same
functions that the planner calls, and read with bisection.
"""

from bisect import bisect_right
from dataclasses import dataclass
from math import ceil, hypot, sqrt

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-9
"""Of a step: an arrival so close after a boundary joins there."""


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """A function of one variable from 0, linear between knots and beyond the last."""

    knots: list[float]
    values: list[float]
    slopes: list[float]

    @classmethod
    def through(cls, knots: ArrayLike, values: ArrayLike) -> "PiecewiseLinear":
        """Join points; the last one only gives the last slope."""
        x, y = np.asarray(knots, float), np.asarray(values, float)
        return cls(x[:-1].tolist(), y[:-1].tolist(), (np.diff(y) / np.diff(x)).tolist())

    def at(self, x: float) -> float:
        """Value.

        >>> PiecewiseLinear.through([0, 10, 11], [5, 25, 26]).at(4), 2.0 * 10 + 5 + 2
        (13.0, 27.0)
        """
        j = bisect_right(self.knots, x) - 1
        return self.values[j] + self.slopes[j] * (x - self.knots[j])

    def slope(self, x: float) -> float:
        """Slope to the right of x."""
        return self.slopes[bisect_right(self.knots, x) - 1]


@dataclass(frozen=True, slots=True)
class StepLaw:
    """Decode steps: tau(n, c) [s] of n requests at mean context c [tokens].

    Exact in n; linear between knots of c, in which the physics is linear but for a launch limit.
    Never falling with n, as the planner takes it.
    """

    contexts: list[float]
    values: list[list[float]]
    """[n][knot]; n = 0 is there and not used."""
    slopes: list[list[float]]
    growth: float = 1.0
    """Tokens by which every context grows in a step."""

    @classmethod
    def constant(cls, step_s: float, largest_batch: int) -> "StepLaw":
        """Steps that all last as long."""
        count = largest_batch + 1
        return cls([0.0], [[step_s]] * count, [[0.0]] * count)

    @property
    def largest_batch(self) -> int:
        """Largest n."""
        return len(self.values) - 1

    def step_s(self, n: int, context: float) -> float:
        """One step."""
        j = bisect_right(self.contexts, context) - 1
        return self.values[n][j] + self.slopes[n][j] * (context - self.contexts[j])

    def steps_s(self, n: int, context: float, steps: int) -> float:
        """Sum of tau(n, c + i growth) over i = 0..steps-1.

        >>> StepLaw([0.0, 10.0], [[], [1.0, 2.25]], [[], [0.125, 0.25]]).steps_s(1, 8.0, 4)
        8.875
        """
        knots, values, slopes, grow = self.contexts, self.values[n], self.slopes[n], self.growth
        j, last = bisect_right(knots, context) - 1, len(knots) - 1
        total = 0.0
        while True:
            end = context + grow * (steps - 1)
            if j == last or end <= knots[j + 1]:
                return total + steps * (values[j] + slopes[j] * ((context + end) / 2 - knots[j]))
            inside = ceil((knots[j + 1] - context) / grow)
            end = context + grow * (inside - 1)
            total += inside * (values[j] + slopes[j] * ((context + end) / 2 - knots[j]))
            context, steps, j = context + grow * inside, steps - inside, j + 1
            while j < last and knots[j + 1] <= context:
                j += 1

    def steps_until(self, n: int, context: float, elapsed_s: float) -> int:
        """Least number of steps, one at least, that last `elapsed_s` or longer.

        >>> law = StepLaw([0.0, 10.0], [[], [1.0, 2.25]], [[], [0.125, 0.25]])
        >>> [law.steps_until(1, 8.0, t) for t in (0.0, 2.0, 2.1, 8.875, 8.9)]
        [1, 1, 2, 4, 5]
        """
        knots, values, slopes, grow = self.contexts, self.values[n], self.slopes[n], self.growth
        j, last = bisect_right(knots, context) - 1, len(knots) - 1
        before = 0
        while True:
            first = values[j] + slopes[j] * (context - knots[j])
            more = slopes[j] * grow
            left = elapsed_s - ROUNDING * first
            half = first - more / 2
            root = sqrt(max(half * half + 2 * more * max(left, 0.0), 0.0))
            steps = max(ceil(2 * left / (half + root)), 1) if left > 0 else 1
            if j == last or context + grow * (steps - 1) <= knots[j + 1]:
                return before + steps
            inside = ceil((knots[j + 1] - context) / grow)
            elapsed_s -= inside * (first + more * (inside - 1) / 2)
            context, before, j = context + grow * inside, before + inside, j + 1
            while j < last and knots[j + 1] <= context:
                j += 1


@dataclass(frozen=True, slots=True)
class PassLaw:
    """Prefill passes: time [s] of T new tokens that attend to A = sum new (prefix + new / 2).

    Tables over (T, A / T), bilinear between knots, one for each number g of data-parallel groups
    that have work. Where A / T < T / 2g a group's tokens belong to several prompts, else to one
    with a prefix; what more prefixes than that have to be read comes on top, as does host time
    per sequence.
    """

    tokens: list[float]
    depths: list[float]
    values: list[list[list[float]]]
    """[g - 1][tokens][depths]."""
    attention: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Seconds per attended pair, per cached token read, per token of the longest row."""
    sequence_s: float = 0.0

    @classmethod
    def proportional(cls, base_s: float, token_s: float, most_tokens: float = 1e6) -> "PassLaw":
        """Passes of base + slope x tokens, whatever they attend to."""
        tokens = [0.0, most_tokens]
        return cls(tokens, [0.0, 1.0], [[[base_s + token_s * t] * 2 for t in tokens]])

    def pass_s(self, tokens: float, attended: float, reach: float, sequences: int) -> float:
        """One pass over pieces of so many prompts; `reach` is the sum of new and cached tokens.

        >>> PassLaw.proportional(0.25, 0.5).pass_s(3.0, 4.5, 3.0, 1)
        1.75
        """
        knots, depths = self.tokens, self.depths
        groups = min(sequences, len(self.values))
        table = self.values[groups - 1]
        depth = attended / tokens
        i = min(max(bisect_right(knots, tokens), 1), len(knots) - 1) - 1
        j = min(max(bisect_right(depths, depth), 1), len(depths) - 1) - 1
        v = (depth - depths[j]) / (depths[j + 1] - depths[j])
        low, high = table[i], table[i + 1]
        a = low[j] + v * (low[j + 1] - low[j])
        b = high[j] + v * (high[j + 1] - high[j])
        u = (tokens - knots[i]) / (knots[i + 1] - knots[i])
        total = a + u * (b - a) + self.sequence_s * sequences
        counted = max(tokens, groups * depth + tokens / 2)
        if reach > counted * 1.01:
            pair_s, cached_s, row_s = self.attention
            own = (pair_s * attended + cached_s * counted) / groups
            longest = row_s * (depth + min(tokens / groups, 2 * depth) / 2)
            more = own + cached_s * (reach - counted) / groups
            total += hypot(more, longest) - hypot(own, longest)
        return total

    def prompt_s(self, new: float, prefix: float, chunk_tokens: float) -> float:
        """One prompt alone, in as many passes as a token budget asks for."""
        total = 0.0
        while new > 0:
            part = min(new, chunk_tokens)
            total += self.pass_s(part, part * (prefix + part / 2), prefix + part, 1)
            new, prefix = new - part, prefix + part
        return total
