"""Constants of an engine profile from measurements.

Maximum a posteriori on logarithms: the residual of a measurement is ln(predicted / measured), that
of a constant its distance from the profile the fit starts from in units of what is plausible.
Outliers weigh less (soft L1); constants stay within physics (shares of a peak at most 1); what the
measurements cannot tell stays where it was and is said.
Source: Triggs et al., Bundle Adjustment, 1999, section 3 (robust, regularised least squares).
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdplan.calibration.constants import constants, law, matches, with_constants
from pdplan.calibration.numbers import Numbers
from pdplan.physics.roofline import Floats
from pdplan.specs.engine import EngineSpec

NOISE = 0.08
"""Error of the model itself at its best, as a logarithm: what a residual of one means."""
STIFFNESS = 0.25
STEP = 1e-3
EDGE = 1e-9
"""How near to its bounds a constant may come."""
FELT = 1e-3
"""A constant matters when a change of 100 % moves some prediction by more than 0.1 %."""
PASSES = 3
ENDLESS = 1e9
"""Stands for an infinite prediction, of an instance that is overloaded on the way to the fit."""
OUTLIER = 5.0
"""Robust standard deviations beyond which a measurement is left out."""
TOLD = 0.7
"""A constant is identified when measurements cut its uncertainty to this share of the prior's."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One fitted constant."""

    value: float
    low: float
    high: float
    """95 % confidence interval."""
    before: float
    told: bool
    """Whether the measurements identify it."""
    share: float
    """Uncertainty that measurements leave, as a share of what there was without them."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A profile fitted to measurements."""

    engine: EngineSpec
    estimates: dict[str, Estimate]
    predicted: Floats
    kept: NDArray[np.bool_]
    """Which numbers it stands on; the others are outliers."""


def fit(
    data: Numbers,
    base: EngineSpec,
    *,
    only: Collection[str] = (),
    noise: Floats | float = NOISE,
    spread: float = 1.0,
    stiff: Collection[str] = (),
    rounds: int = 30,
) -> Fit:
    """Fit the constants that the measurements feel, or `only` those that match.

    noise [-] of each number; spread scales how far constants may be expected to move, those
    that match `stiff` a quarter as far; rounds bounds the evaluations of each pass.
    """
    names = [
        f"{generation}:{path}"
        for generation in data.generations
        for path in constants(base.constants(generation)[0])
        if not only or any(matches(f"{generation}:{path}", each) for each in only)
    ]
    wide = _Posterior(data, _own(base, data.generations), names, noise, spread, stiff)
    felt = np.abs(wide.slopes(wide.centre)).max(0, initial=0.0) > FELT
    some = [name for name, moves in zip(names, felt, strict=True) if moves]
    posterior = _Posterior(data, wide.base, some, noise, spread, stiff)
    x, kept = posterior.centre, np.ones(len(data), bool)
    for _ in range(PASSES if some else 0):
        x, before = posterior.mode(x, kept, rounds), kept
        kept = posterior.inliers(x)
        if (before == kept).all():
            break
    estimates = posterior.estimates(x, kept) if some else {}
    return Fit(posterior.engine(x), estimates, np.exp(posterior.logs(x)), kept)


def uncertainty(data: Numbers, engine: EngineSpec, noise: Floats | float = NOISE) -> Fit:
    """How well the measurements tell the constants of a profile, at their values."""
    names = [f"{g}:{path}" for g in data.generations for path in constants(engine.generations[g])]
    wide = _Posterior(data, engine, names, noise)
    felt = np.abs(wide.slopes(wide.centre)).max(0, initial=0.0) > FELT
    some = [name for name, moves in zip(names, felt, strict=True) if moves]
    posterior = _Posterior(data, engine, some, noise)
    kept = posterior.inliers(posterior.centre)
    estimates = posterior.estimates(posterior.centre, kept) if some else {}
    return Fit(engine, estimates, np.exp(posterior.logs(posterior.centre)), kept)


class _Posterior:
    """Constants given measurements; x are the logarithms of the constants [K]."""

    def __init__(
        self,
        data: Numbers,
        base: EngineSpec,
        names: list[str],
        noise: Floats | float,
        spread: float = 1.0,
        stiff: Collection[str] = (),
    ) -> None:
        laws = [law(name) for name in names]
        self.data, self.base, self.names = data, base, names
        self.start = _values(base, names)
        self.low = np.log([each.least for each in laws]) + EDGE
        self.high = np.log([each.most for each in laws]) - EDGE
        self.centre = np.clip(np.log(np.maximum(self.start, 1e-12)), self.low, self.high)
        held = [any(matches(name, each) for each in stiff) for name in names]
        self.spreads = np.array([each.spread for each in laws]) * spread
        self.spreads = np.where(held, STIFFNESS * self.spreads, self.spreads)
        self.target = np.log(data.values)
        self.sigma = np.broadcast_to(np.asarray(noise, float), self.target.shape)
        self._last: tuple[bytes, Floats] = (b"", self.target)

    def engine(self, x: Floats) -> EngineSpec:
        """The profile at some constants."""
        return with_constants(self.base, dict(zip(self.names, np.exp(x).tolist(), strict=True)))

    def logs(self, x: Floats, generation: str | None = None) -> Floats:
        """Logarithms of the predictions [N]; the last ones are remembered."""
        key = x.tobytes()
        if generation is None and self._last[0] == key:
            return self._last[1]
        found = self.data.predicted(self.engine(x), generation)
        logs: Floats = np.log(np.clip(found, 1e-12, ENDLESS))
        if generation is None:
            self._last = (key, logs)
        return logs

    def slopes(self, x: Floats) -> Floats:
        """How the logarithm of each prediction moves with that of each constant [N, K]."""
        now = self.logs(x)
        columns = np.zeros((len(now), len(x)))
        for k, name in enumerate(self.names):
            step = np.zeros_like(x)
            step[k] = STEP if x[k] + STEP <= self.high[k] else -STEP
            then = self.logs(x + step, name.split(":")[0])
            columns[:, k] = np.where(np.isnan(then), 0.0, (then - now) / step[k])
        return columns

    def mode(self, x: Floats, kept: NDArray[np.bool_], rounds: int) -> Floats:
        """The most probable constants, on what is no outlier."""
        from scipy.optimize import least_squares

        def residuals(x: Floats) -> Floats:
            measured = ((self.logs(x) - self.target) / self.sigma)[kept]
            return np.concatenate([measured, (x - self.centre) / self.spreads])

        def jacobian(x: Floats) -> Floats:
            measured = (self.slopes(x) / self.sigma[:, None])[kept]
            return np.vstack([measured, np.diag(1 / self.spreads)])

        solved = least_squares(
            residuals, np.clip(x, self.low, self.high), jacobian,
            (self.low - EDGE, self.high + EDGE), loss="soft_l1", max_nfev=rounds,
            x_scale=self.spreads, ftol=1e-3, xtol=1e-3,
        )  # fmt: skip
        return np.asarray(np.clip(solved.x, self.low, self.high))

    def inliers(self, x: Floats) -> NDArray[np.bool_]:
        """Numbers within so many robust standard deviations."""
        distance = np.abs(self.logs(x) - self.target) / self.sigma
        return np.asarray(distance < OUTLIER * max(1.0, 1.4826 * float(np.median(distance))))

    def estimates(self, x: Floats, kept: NDArray[np.bool_]) -> dict[str, Estimate]:
        """Intervals from the curvature at the mode, widened where residuals are."""
        rest = ((self.logs(x) - self.target) / self.sigma)[kept]
        slope = (self.slopes(x) / self.sigma[:, None])[kept]
        scale = max(1.0, float((rest**2).sum()) / max(len(rest) - len(x), 1))
        covariance = np.linalg.inv(slope.T @ slope / scale + np.diag(1 / self.spreads**2))
        deviation = np.sqrt(np.diag(covariance))
        low = np.exp(np.maximum(x - 1.96 * deviation, self.low - EDGE))
        high = np.exp(np.minimum(x + 1.96 * deviation, self.high + EDGE))
        share = deviation / self.spreads
        columns = (np.exp(x), low, high, self.start, share < TOLD, share)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {name: Estimate(*row) for name, row in zip(self.names, rows, strict=True)}


def _own(engine: EngineSpec, generations: Collection[str]) -> EngineSpec:
    """The profile with constants of its own for each generation, borrowed where it has none."""
    found = {name: engine.constants(name)[0] for name in generations}
    return engine.model_copy(update={"generations": dict(engine.generations) | found})


def _values(engine: EngineSpec, names: Collection[str]) -> Floats:
    tables = {g: constants(spec) for g, spec in engine.generations.items()}
    split = [name.split(":", 1) for name in names]
    return np.array([tables[generation][path] for generation, path in split], float)
