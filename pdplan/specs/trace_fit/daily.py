"""The daily pattern of a trace that is long enough to show one."""

import numpy as np

from pdplan.specs.points import Array

DAY_S = 86400.0
SLOTS = 24
CLEAR = 0.5
"""Share of the variation between hours that the hour of the day must explain."""
PEAK = 1.2
"""Rate of the busiest hour of the day over the mean, at least."""


def daily_profile(hour_counts: Array, clock_s: float, span_s: float) -> Array | None:
    """Mean rate of each hour of the day over the mean of all; None where no pattern is clear.

    hour_counts = arrivals in each hour from midnight of the first day on, clock_s = time of day of
    the first arrival [s], span_s = from the first arrival to the last. Needs 24 hours. A
    pattern is clear where the busiest hour has 1.2 times the mean and, of two days and more, the
    hour of the day explains half of the variance between hours; of fewer, neighbouring hours are
    alike (their correlation around the clock is a half).
    """
    if span_s < DAY_S:
        return None
    hours = np.arange(len(hour_counts))
    seen_s = np.minimum((hours + 1) * 3600, clock_s + span_s) - np.maximum(hours * 3600, clock_s)
    used = seen_s > 0
    slot, counts, seen = hours[used] % SLOTS, hour_counts[used], seen_s[used]
    in_slot = np.bincount(slot, weights=seen, minlength=SLOTS)
    rates = np.bincount(slot, weights=counts, minlength=SLOTS) / in_slot
    mean = counts.sum() / seen.sum()
    relative = np.asarray(rates / rates.mean())
    if relative.max() < PEAK:
        return None
    if span_s < 2 * DAY_S:
        clear = float(np.corrcoef(relative, np.roll(relative, 1))[0, 1])
    else:
        within = float(seen @ (counts / seen - rates[slot]) ** 2)
        clear = 1 - within / float(seen @ (counts / seen - mean) ** 2)
    return relative if clear >= CLEAR else None
