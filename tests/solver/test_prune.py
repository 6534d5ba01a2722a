"""Pareto pruning against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from pdplan.solver.prune import pareto


def by_definition(features: np.ndarray, key: np.ndarray) -> list[int]:
    """Compare every pair in Python."""

    def beats(b: int, a: int) -> bool:
        return (
            a != b
            and key[b] in (key[a], -1)
            and bool((features[b] <= features[a]).all())
            and (bool((features[b] < features[a]).any()) or b < a)
        )

    columns = range(len(features))
    return [a for a in columns if not any(beats(b, a) for b in columns)]


@pytest.mark.parametrize("seed", range(20))
def test_keeps_exactly_what_nothing_dominates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 6, (300, 3)).astype(float)
    features[rng.random(300) < 0.05, 1] = np.inf
    key = rng.integers(-1, 2, 300)
    assert pareto(features, key).tolist() == by_definition(features, key)


def test_no_columns() -> None:
    assert pareto(np.empty((0, 2)), np.empty(0, dtype=np.int64)).size == 0
