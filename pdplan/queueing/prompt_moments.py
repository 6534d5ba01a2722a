"""Moments of prompts: the work that each adds, and the share of a budget that it takes."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike

from pdplan.queueing.erlang import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class PromptMoments:
    """E[w^i phi^j] over requests, and E[rounds of a prompt alone]; arrays of one shape."""

    w: FloatArray
    ww: FloatArray
    www: FloatArray
    f: FloatArray
    ff: FloatArray
    fff: FloatArray
    wf: FloatArray
    wwf: FloatArray
    wff: FloatArray
    rounds: FloatArray
    last: FloatArray
    """E[share of the budget that a lone prompt takes of a round, squared, summed over rounds]."""

    @classmethod
    def of(
        cls, added_s: ArrayLike, fill: ArrayLike, rounds: ArrayLike, weight: ArrayLike
    ) -> "PromptMoments":
        """Moments over the last axis."""
        w, f, count, share = (np.asarray(x, float) for x in (added_s, fill, rounds, weight))
        ww, ff = w * w, f * f
        whole = np.floor(f)
        terms = (w, ww, ww * w, f, ff, ff * f, w * f, ww * f, w * ff, count,
                 whole + (f - whole) ** 2)  # fmt: skip
        shape = np.broadcast_shapes(w.shape, f.shape, count.shape)
        return cls(*(np.broadcast_to(term, shape) @ share for term in terms))

    def take(self, rows: ArrayLike) -> "PromptMoments":
        """Some rows of the first axis."""
        index = np.asarray(rows)
        return PromptMoments(*(getattr(self, field.name)[index] for field in fields(self)))

    def stretched(self, by: FloatArray) -> "PromptMoments":
        """The same prompts under a budget that is smaller by a factor."""
        two = by * by
        return replace(
            self, f=self.f * by, ff=self.ff * two, fff=self.fff * two * by,
            wf=self.wf * by, wwf=self.wwf * by, wff=self.wff * two,
        )  # fmt: skip

    def dispersed(self, excess: FloatArray) -> "PromptMoments":
        """Moments as they count in a stream of a dispersion of 1 + excess.

        Work that comes in a long time has the variance r t (E[w^2] + excess E[w]^2): that of
        Poisson arrivals of these moments. The third is 3 excess E[w] E[w^2] more, and at least
        what the first two allow.
        """
        d, w, f = excess, self.w, self.f
        ww, ff = self.ww + d * w * w, self.ff + d * f * f
        wf = self.wf + d * w * f
        some_w, some_f = np.maximum(w, 1e-100), np.maximum(f, 1e-100)
        return replace(
            self, ww=ww, ff=ff, wf=wf,
            www=np.maximum(self.www + 3 * d * w * self.ww, ww * ww / some_w),
            fff=np.maximum(self.fff + 3 * d * f * self.ff, ff * ff / some_f),
            wwf=np.maximum(self.wwf + d * (2 * w * self.wf + f * self.ww), ww * wf / some_w),
            wff=np.maximum(self.wff + d * (2 * f * self.wf + w * self.ff), wf * ff / some_f),
        )  # fmt: skip

    def occupancy(self, overhead_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """E[x], E[x^2], E[x^3] of x = w + phi c."""
        c = overhead_s
        return (
            self.w + c * self.f,
            self.ww + c * (2 * self.wf + c * self.ff),
            self.www + c * (3 * self.wwf + c * (3 * self.wff + c * self.fff)),
        )
