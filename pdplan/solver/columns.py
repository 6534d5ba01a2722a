"""What the integer program is given and what it answers: pools of columns, conditions, a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Accept: TypeAlias = Callable[[IntArray], BoolArray]
"""Exact test: column indices [m, pools] to a verdict [m]; must be monotone in the delays."""

ACCEPT = "accept"
"""Name under which the exact test appears among binding or violated conditions."""
MATCH = "match"
"""Name under which the agreement of keys appears among violated conditions."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The candidate columns of one pool; exactly one of them is chosen.

    Parameters
    ----------
    name : str
    objective : [n] what is minimised (one unit for all pools: USD/h, GPUs, W).
    tiebreak : [n] decides only among choices of equal objective.
    use : resource name to [n] consumption; a resource that is absent is not used.
    key : [n] pools must agree on it; -1 agrees with everything.
    delay : [n, d] larger is slower; may be infinite. A column is *no faster* than another if
        every one of its delays is at least the other's.
    """

    name: str
    objective: FloatArray
    tiebreak: FloatArray
    use: Mapping[str, FloatArray]
    key: IntArray
    delay: FloatArray

    def __post_init__(self) -> None:
        """Refuse arrays that do not describe the same columns."""
        columns = len(self.objective)
        by_column = {"tiebreak": self.tiebreak, "key": self.key, "delay": self.delay, **self.use}
        for what, values in by_column.items():
            if len(values) != columns:
                msg = f"pool {self.name!r}: {what} has {len(values)} columns, objective {columns}"
                raise ValueError(msg)
        if self.delay.ndim != 2:
            msg = f"pool {self.name!r}: delay must be [columns, features]"
            raise ValueError(msg)
        for what, values in {"objective": self.objective, **by_column}.items():
            if np.isnan(values).any():
                msg = f"pool {self.name!r}: {what} is not a number somewhere"
                raise ValueError(msg)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.objective)


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A linear necessary condition: the chosen columns' coefficients sum to at most ``limit``.

    Parameters
    ----------
    name : str
    coefficients : one [n] array per pool.
    limit : float
    """

    name: str
    coefficients: tuple[FloatArray, ...]
    limit: float


@dataclass(frozen=True, slots=True)
class Rental:
    """A resource rented in whole units, for example GPUs by the node.

    The use of ``resource`` is rounded up to a multiple of ``unit``; a limit on the resource then
    holds for the rounded amount, and ``price_per_unit`` (>= 0) is added to the objective.
    """

    resource: str
    unit: float
    price_per_unit: float

    def __post_init__(self) -> None:
        """Refuse what would break monotonicity."""
        if not self.unit > 0 or not self.price_per_unit >= 0:
            msg = f"rental {self.resource!r}: needs unit > 0 and price_per_unit >= 0"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Choice:
    """One column per pool, with the proof of its quality.

    Parameters
    ----------
    status : ``feasible`` means that ``max_rounds`` ended the proof, not the plan's validity.
    columns : index per pool, or None if infeasible.
    objective, bound : the choice's objective and a proven lower bound (infinite if infeasible).
    gap : (objective - bound) / |objective| [-].
    considered : columns given, before any pruning.
    cuts : cuts derived from rejected choices.
    binding : limits and bounds without slack, and ``accept`` if a cheaper choice failed the test.
    programs : integer programs solved; none where bounds alone left a single choice.
    violated : if infeasible, pools without columns and conditions that no choice meets even alone;
        may be empty (then conditions conflict: see ``diagnose``).
    """

    status: Literal["optimal", "feasible", "infeasible"]
    columns: tuple[int, ...] | None
    objective: float
    bound: float
    gap: float
    considered: int
    cuts: int
    binding: tuple[str, ...] = ()
    violated: tuple[str, ...] = ()
    programs: int = 0


Pools: TypeAlias = Sequence[Pool]
