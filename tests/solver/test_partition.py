"""Partitions and shared limits against enumeration."""

import itertools
import math
import random

import pytest

from pdplan.solver.partition import Offer, partitions, share_limits

BELL = [1, 1, 2, 5, 15, 52, 203]


@pytest.mark.parametrize("count", range(1, 7))
def test_every_partition_comes_once(count):
    found = list(partitions(count))
    assert len(found) == len(set(found)) == BELL[count]
    assert found[0] == (tuple(range(count)),)
    for groups in found:
        assert sorted(i for group in groups for i in group) == list(range(count))


def random_groups(seed):
    """Groups of a few plans each: what they are worth and what they use."""
    rng = random.Random(seed)
    groups = []
    for _ in range(rng.choice([2, 2, 3])):
        plans = []
        for _ in range(rng.randint(1, 12)):
            a, b = rng.randint(0, 9), rng.randint(0, 9)
            worth = rng.choice([2.0 * a + 3.0 * b, round(rng.uniform(1, 40), 2)])
            plans.append((worth, {"a": float(a), "b": float(b), "w": a * 0.7 + b * 1.1}))
        groups.append(plans)
    limits = {"a": rng.randint(0, 20), "b": rng.randint(0, 20), "w": rng.uniform(4, 30)}
    kept = rng.sample(sorted(limits), rng.randint(0, 3))
    return groups, {name: float(limits[name]) for name in kept}


def offer_of(groups):
    asked = []

    def offer(i, caps):
        asked.append((i, caps))
        kept = [
            (worth, k)
            for k, (worth, use) in enumerate(groups[i])
            if all(use[name] <= cap * (1 + 1e-9) for name, cap in caps)
        ]
        if not kept:
            return None
        worth, k = min(kept)
        return Offer(worth, groups[i][k][1], k)

    return offer, asked


def enumerated(groups, limits):
    best = math.inf
    for plans in itertools.product(*groups):
        used = {name: sum(use[name] for _, use in plans) for name in limits}
        if all(used[name] <= limit * (1 + 1e-9) for name, limit in limits.items()):
            best = min(best, sum(worth for worth, _ in plans))
    return best


@pytest.mark.parametrize("seed", range(300))
def test_shared_limits_are_kept_at_least_worth(seed):
    groups, limits = random_groups(seed)
    offer, asked = offer_of(groups)
    found = share_limits(len(groups), offer, limits, whole=("a", "b"))
    best = enumerated(groups, limits)
    assert found.proven
    assert found.bound == pytest.approx(best)
    assert (found.offers is None) == (best == math.inf)
    assert len(asked) == len(set(asked))
    if found.offers is not None:
        assert sum(one.objective for one in found.offers) == pytest.approx(best)
        for name, limit in limits.items():
            assert sum(one.use[name] for one in found.offers) <= limit * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(100))
def test_what_is_too_dear_is_not_looked_for(seed):
    groups, limits = random_groups(seed)
    best = enumerated(groups, limits)
    offer, _ = offer_of(groups)
    at_best = share_limits(len(groups), offer, limits, whole=("a", "b"), upper=best)
    assert at_best.offers is None
    assert at_best.bound >= best * (1 - 1e-9)
    if best < math.inf:
        above = share_limits(len(groups), offer, limits, whole=("a", "b"), upper=best * 1.001 + 0.1)
        assert above.bound == pytest.approx(best)


def test_an_offer_without_proof_leaves_none():
    def offer(i, _):
        return Offer(1.0, {"a": 1.0}, i, proven=i == 0)

    assert not share_limits(2, offer, {"a": 5.0}, whole=("a",)).proven
    assert share_limits(1, offer, {"a": 5.0}, whole=("a",)).proven
