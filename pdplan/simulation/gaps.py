"""Gaps between tokens, counted in narrow logarithmic bins: there are too many to keep."""

from math import ceil, exp, log

WIDTH = 0.005
"""Of a bin, in the logarithm of the gap: a percentile is known to 0.25 %."""
LEAST = 1e-9
"""Gaps below are counted as this [s]."""
MOST_BATCHES = 64


class Gaps:
    """Weighted gaps in batches of requests; batches are joined in pairs when there are many."""

    __slots__ = ("batches", "count", "current", "on", "per_batch", "requests", "sums", "total")

    def __init__(self) -> None:
        self.on = True
        self.current: dict[int, float] = {}
        self.count, self.total = 0.0, 0.0
        self.batches: list[dict[int, float]] = []
        self.sums: list[tuple[float, float]] = []
        """Number and sum of the gaps of each batch."""
        self.requests, self.per_batch = 0, 64

    def add(self, gap_s: float, weight: float) -> None:
        """Count gaps of one length."""
        if self.on and weight:
            place = round(log(gap_s if gap_s > LEAST else LEAST) / WIDTH)
            self.current[place] = self.current.get(place, 0.0) + weight
            self.count += weight
            self.total += gap_s * weight

    def stretch(self, first_s: float, last_s: float, weight: float) -> None:
        """Count gaps that grow or shrink evenly from one length to another."""
        spread = abs(log(max(last_s, LEAST) / max(first_s, LEAST)))
        parts = min(max(ceil(spread / WIDTH), 1), 1000)
        for i in range(parts):
            self.add(first_s + (last_s - first_s) * (i + 0.5) / parts, weight / parts)

    def finished(self) -> None:
        """Hear of a finished request; so many of them make a batch."""
        self.requests += 1
        if self.requests == self.per_batch:
            self.close()

    def close(self) -> None:
        """End the current batch."""
        if self.current:
            self.batches.append(self.current)
            self.sums.append((self.count, self.total))
        self.current, self.requests, self.count, self.total = {}, 0, 0.0, 0.0
        if len(self.batches) == MOST_BATCHES:
            self._join_pairs()

    def _join_pairs(self) -> None:
        self.batches = [joined(self.batches[i : i + 2]) for i in range(0, len(self.batches), 2)]
        self.sums = [
            (one[0] + two[0], one[1] + two[1])
            for one, two in zip(self.sums[::2], self.sums[1::2], strict=True)
        ]
        self.per_batch *= 2


def joined(batches: list[dict[int, float]]) -> dict[int, float]:
    """All batches in one."""
    total: dict[int, float] = {}
    for batch in batches:
        for place, weight in batch.items():
            total[place] = total.get(place, 0.0) + weight
    return total


def quantiles_s(batch: dict[int, float], levels: tuple[float, ...]) -> list[float]:
    """Percentiles of the gaps in a batch; nan where there are none."""
    places = sorted(place for place, weight in batch.items() if weight > 0)
    count = sum(batch[place] for place in places)
    if not places:
        return [float("nan")] * len(levels)
    found, seen, at = [], 0.0, iter(places)
    place = next(at)
    seen = batch[place]
    for level in sorted(levels):
        while seen < level * count * (1 - 1e-12):
            step = next(at, None)
            if step is None:
                break
            place = step
            seen += batch[place]
        found.append(exp(place * WIDTH))
    return found
