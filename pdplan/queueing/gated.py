"""Steps that serve together whoever arrived during the step before: chunked prefill, polled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class GatedSteps:
    """Steps of a server that takes new work at their beginnings, arrays of one shape."""

    mean_s: FloatArray
    """A step, E[S]."""
    seen_s: FloatArray
    """The step that an arrival falls into, E[S^2] / E[S]."""

    @property
    def residual_s(self) -> FloatArray:
        """What is left of it when the arrival comes."""
        return self.seen_s / 2


def gated_steps(
    base_s: ArrayLike, added_s: ArrayLike, arrival_rps: ArrayLike, clump: ArrayLike = 1.0
) -> GatedSteps:
    """Steps of `base_s` that grow by `added_s` for each arrival during the step before.

    E[S] = tau / (1 - rho), Var S = w^2 r c E[S] / (1 - rho^2), rho = r w.

    base_s = tau, added_s = w [s]; arrival_rps = r [1/s]; clump = c, arrivals that come together [-]
    (1 for Poisson).
    Valid for: rho < 1; no limit to the work of one step.
    Source: gated M/D/1 polling of one queue, Takagi, Analysis of Polling Systems, 1986, chapter 2;
    S_next = tau + w N(S) with N(S) of mean r S and variance c r S.

    >>> steps = gated_steps(0.01, 0.02, 25.0)
    >>> round(float(steps.mean_s), 6), round(float(steps.residual_s), 6)
    (0.02, 0.016667)
    """
    tau, work = np.asarray(base_s, float), np.asarray(added_s, float)
    rate = np.asarray(arrival_rps, float)
    rho = np.minimum(rate * work, 0.999)
    mean = tau / (1 - rho)
    variance = work**2 * rate * clump * mean / (1 - rho**2)
    return GatedSteps(mean, mean + variance / mean)


def together_s(work_s: ArrayLike, count: ArrayLike, batch: ArrayLike) -> FloatArray:
    """Mean completion time of `count` equal jobs that start together, served in batches.

    count w if they fit into one batch (all end with it), (count + batch) w / 2 beyond.

    work_s = w of one job [s]; count, batch >= 1 [-].

    >>> float(together_s(1.0, 4, 8)), float(together_s(1.0, 32, 8))
    (4.0, 20.0)
    """
    n, size = np.asarray(count, float), np.asarray(batch, float)
    return np.asarray(work_s * np.where(n <= size, n, (n + size) / 2))
