"""How much more than its demand a pool can take, and how well two pools suit each other."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats


def burst_tolerance(capacity_rps: ArrayLike, mean_rps: ArrayLike) -> Floats:
    """Rate at which a pool saturates over the mean rate that it serves.

    What arrives may rise by this factor before requests pile up without end; the group with the
    least is the one to give the next instance to.
    *Source*: burst tolerance of ElasticMM (arXiv 2507.10069), with the allocated capacity in the
    place of a measured peak.

    >>> float(burst_tolerance(12.0, 8.0))
    1.5
    """
    return np.asarray(np.asarray(capacity_rps, float) / np.asarray(mean_rps, float))


def mismatch(prefill_rps: ArrayLike, decode_rps: ArrayLike) -> Floats:
    """Capacity of prefill over that of decode, distance from 1: |1 - P / D|.

    *Source*: the ratio that P/D-Serve (arXiv 2408.08147) adjusts; whole instances leave a rest.

    >>> round(float(mismatch(9.0, 10.0)), 9)
    0.1
    """
    return np.asarray(np.abs(1 - np.asarray(prefill_rps, float) / np.asarray(decode_rps, float)))
