"""When the requests of a trace arrived, and the arrivals of a workload that are most like it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pdplan.specs.arrivals import Bursts
from pdplan.specs.points import Array
from pdplan.specs.trace_fit.bursts import Dispersion, bursts_of, fit_dispersion, steady_dispersion
from pdplan.specs.trace_fit.counts import Bars, Gaps, Hours, Window, WindowCounts
from pdplan.specs.trace_fit.daily import DAY_S, daily_profile

WINDOWS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 100, 300, 600, 1800, 3600)
MINUTE_S, HOUR_S = 60, 3600
BELOW_A_SLOT_S = 600
"""Longest interval that tells of bursts beside a daily profile."""
SAME = 1.5
"""Ratio up to which the variation of gaps and the dispersion of counts say the same."""
MOST_SCV = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """What a trace shows, and the workload keys that stand for it."""

    clock_s: float
    """Time of day of the first arrival; 0 where it is not known."""
    span_s: float
    rate_rps: float
    gap_scv: float
    peak_minute_rps: float | None
    peak_hour_rps: float | None
    windows: tuple[Window, ...]
    bars: Array
    """Arrivals in equal intervals over the trace."""
    bar_s: float
    arrival_scv: float
    """Written: variation of gaps where nothing bursts, else dispersion at short times."""
    bursts: Bursts | None
    profile: Array | None
    """Rate of each hour of the day over the mean."""

    def dispersion(self) -> Dispersion:
        """Index of dispersion of the written workload, without its profile."""
        if self.bursts is None:
            return Dispersion(self.arrival_scv, self.arrival_scv, 0.0)
        limit = self.arrival_scv + self.bursts.excess_dispersion(self.rate_rps)
        return Dispersion(self.arrival_scv, limit, self.bursts.correlation_s)

    def written_dispersion(self, window_s: float) -> float:
        """Index of dispersion of the written workload over intervals of a length, at most a slot's.

        A profile adds lambda w Var(relative rate).
        """
        daily = 0.0
        if self.profile is not None:
            daily = self.rate_rps * window_s * float(self.profile.var())
        return self.dispersion().at(window_s) + daily


class ArrivalTally:
    """Follows arrivals through a trace; `clock_s` is the time of day of the first."""

    def __init__(self, clock_s: float = 0.0) -> None:
        self._clock_s = clock_s
        self._windows = [WindowCounts(length) for length in WINDOWS_S]
        self._gaps, self._bars, self._hours = Gaps(), Bars(), Hours(clock_s)

    def add(self, times_s: Array) -> None:
        """Take arrivals in, in rising order."""
        for window in self._windows:
            window.add(times_s)
        self._gaps.add(times_s)
        self._bars.add(times_s)
        self._hours.add(times_s)

    def found(self) -> Arrivals | None:
        """What was seen; None where all arrive at once."""
        rate, span, scv = self._gaps.rate_rps, self._gaps.span_s, self._gaps.scv
        if rate <= 0:
            return None
        windows = tuple(part.window() for part in self._windows)
        busiest = {w.length_s: w.most / w.length_s for w in windows if w.number > 0}
        profile = daily_profile(self._hours.counts, self._clock_s % DAY_S, span)
        blurred = profile is not None or self._gaps.clock_step_s > 0
        used = tuple(w for w in windows if w.length_s >= self._gaps.clock_step_s)
        used = _without_profile(used, profile) if profile is not None else used
        dispersion = fit_dispersion(used)
        bursts = bursts_of(dispersion, used, rate) if dispersion else None
        return Arrivals(
            *(self._clock_s, span, rate, scv, busiest.get(MINUTE_S), busiest.get(HOUR_S), windows),
            bars=self._bars.counts,
            bar_s=self._bars.length_s,
            arrival_scv=min(MOST_SCV, _scv(scv, dispersion, bursts, used, blurred=blurred)),
            bursts=bursts,
            profile=profile,
        )


def _scv(
    gaps: float,
    dispersion: Dispersion | None,
    bursts: Bursts | None,
    windows: Sequence[Window],
    *,
    blurred: bool,
) -> float:
    """Variation of gaps, or the dispersion of counts where it says something else.

    Gaps are blurred by a coarse clock and by a daily profile, the dispersion that is left is not.
    """
    if bursts is not None and dispersion is not None:
        return dispersion.scv
    steady = steady_dispersion(windows)
    if steady is None:
        return gaps
    return gaps if max(gaps, steady) <= SAME * min(gaps, steady) and not blurred else steady


def _without_profile(windows: Sequence[Window], relative: Array) -> tuple[Window, ...]:
    """Dispersion that is left when a profile's is taken off, of intervals shorter than its slots.

    Var N = lambda w + (lambda w)^2 Var(relative) + ..., and likewise the third cumulant. What is
    left is less certain than the whole by their ratio, as if it came from fewer intervals.
    """
    variance, third = float(relative.var()), float(np.mean((relative - relative.mean()) ** 3))
    found = []
    for w in windows:
        left = w.dispersion - w.mean * variance
        if left > 0 and w.length_s <= BELOW_A_SLOT_S:
            number = int(w.number * min(1.0, left / w.dispersion) ** 2)
            tail = w.third - w.mean**3 * third
            found.append(replace(w, dispersion=left, third=tail, number=number))
    return tuple(found)
