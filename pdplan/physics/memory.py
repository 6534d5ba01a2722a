"""How many sequences fit beside each other in a KV cache."""

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics.roofline import Floats


def sequences_that_fit(
    capacity_bytes: ArrayLike, mean_bytes: ArrayLike, spread_bytes: ArrayLike, margin: float
) -> Floats:
    """Largest number of sequences whose total cache stays within capacity with some certainty.

    n mean + margin sqrt(n) spread <= capacity, solved for n.

    capacity_bytes, mean_bytes [B]; spread_bytes = standard deviation of one sequence's cache [B];
    margin = standard deviations kept free [-] (2.33 for 99 %).
    Valid for: independent sequences and n >= 10 (normal approximation of the sum).
    Limits: no spread gives capacity / mean.

    >>> float(sequences_that_fit(100.0, 1.0, 0.0, 2.33))
    100.0
    """
    capacity = np.maximum(np.asarray(capacity_bytes, float), 0.0)
    mean, spread = np.asarray(mean_bytes, float), margin * np.asarray(spread_bytes, float)
    root = (-spread + np.sqrt(spread**2 + 4 * mean * capacity)) / (2 * mean)
    return np.asarray(root**2)
