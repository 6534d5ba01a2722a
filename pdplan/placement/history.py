"""History of sessions that prefill reads back from decode while the prompt waits."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.table import Ints, PoolTable


def beyond_wait_s(read_s: Floats, table: PoolTable, column: Ints) -> Floats:
    """Part of a read of T that goes on after the wait W for prefill [X, S]: E[(T - W)+].

    W is 0 with probability 1 - p, else exponential of mean m:
    T - p m (1 - exp(-T / m)). The read begins as the prompt comes to its instance.
    *Limits*: T without a wait; 0 for T = 0; 0 for endless waits.
    *Source*: reads hidden behind the work in front, as in arXiv 2602.14516 (lazy read).

    read_s [X, S]; column [X] of the pool that prefills.
    """
    waits = [wait for name, wait in table.named_waits if name == "prefill"]
    mean = np.sum([np.asarray(wait.mean_s)[column] for wait in waits], axis=0)
    chance = np.maximum.reduce([np.asarray(wait.probability)[column] for wait in waits])
    tail = (mean / np.where(chance > 0, chance, 1.0))[:, None]
    endless = ~np.isfinite(tail)
    tail = np.where(endless | (tail <= 0), 1e-12, tail)
    left = read_s + chance[:, None] * tail * np.expm1(-read_s / tail)
    return np.where(endless, 0.0, np.maximum(left, 0.0))
