"""Which instance of a pool a request goes to."""

import random
from collections.abc import Callable

Choose = Callable[[list[float]], int]
"""Picks an instance, given the outstanding work of all of them."""


class LeastLoaded:
    """The instance with the least outstanding work; ties are broken in turn."""

    __slots__ = ("start",)

    def __init__(self) -> None:
        self.start = 0

    def __call__(self, work: list[float]) -> int:
        """Pick an instance.

        >>> choose = LeastLoaded()
        >>> [choose([2.0, 1.0, 1.0]) for _ in range(3)]
        [1, 2, 1]
        """
        least = min(work)
        try:
            found = work.index(least, self.start)
        except ValueError:
            found = work.index(least)
        self.start = (found + 1) % len(work)
        return found


class RoundRobin:
    """One after the other."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = -1

    def __call__(self, work: list[float]) -> int:
        """Pick an instance.

        >>> choose = RoundRobin()
        >>> [choose([0.0, 0.0]) for _ in range(3)]
        [0, 1, 0]
        """
        self.last = (self.last + 1) % len(work)
        return self.last


class Random:
    """Any, with equal chances."""

    __slots__ = ("uniform",)

    def __init__(self, seed: int) -> None:
        self.uniform = random.Random(seed).random

    def __call__(self, work: list[float]) -> int:
        """Pick an instance."""
        return int(self.uniform() * len(work))


def chooser(routing: str, seed: int, *, shared: bool = False) -> Choose:
    """Make the chooser that a routing names.

    Before instances that share one queue it only picks whose network takes what is sent there.
    """
    if routing == "random":
        return Random(seed)
    return RoundRobin() if shared or routing == "round_robin" else LeastLoaded()
