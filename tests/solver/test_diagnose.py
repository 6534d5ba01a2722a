"""``diagnose``: which condition gives way, by how much, at what price."""

from __future__ import annotations

import math

import numpy as np

from pdplan.solver import ACCEPT, MATCH, Bound, Pool, Relaxation, Rental, diagnose


def small_or_large(name: str, *keys: int) -> Pool:
    """Return 4 GPUs at 10 with delay 3, or 8 GPUs at 25 with delay 1."""
    return Pool(
        name=name,
        objective=np.array([10.0, 25.0]),
        tiebreak=np.zeros(2),
        use={"gpus": np.array([4.0, 8.0])},
        key=np.array(keys or (-1, -1)),
        delay=np.array([[3.0], [1.0]]),
    )


def delay_bound(pools: list[Pool], limit: float) -> Bound:
    """Limit the sum of the delays."""
    return Bound("delay", tuple(p.delay[:, 0] for p in pools), limit)


PAIR = [small_or_large("prefill"), small_or_large("decode")]


def test_feasible() -> None:
    found = diagnose(PAIR, limits={"gpus": 8})
    assert (found.feasible, found.nearest, found.conflict) == (True, None, ())


def test_either_of_two_limits_may_give_way() -> None:
    found = diagnose(PAIR, limits={"gpus": 10}, bounds=[delay_bound(PAIR, 5)])
    assert found.relaxations == (
        Relaxation("gpus", 10, 12, 35.0),
        Relaxation("delay", 5, 6, 20.0),
    ) or found.relaxations == (
        Relaxation("delay", 5, 6, 20.0),
        Relaxation("gpus", 10, 12, 35.0),
    )
    assert found.nearest is not None
    assert math.isclose(found.nearest.increase, 0.2)


def test_only_the_limit_that_binds_is_named() -> None:
    found = diagnose(PAIR, limits={"gpus": 6, "power_w": 5.0})
    assert found.relaxations == (Relaxation("gpus", 6, 8.0, 20.0),)


def test_whole_nodes_are_counted() -> None:
    found = diagnose(PAIR[:1], limits={"gpus": 4}, rentals=[Rental("gpus", 8, 1.0)])
    assert found.relaxations == (Relaxation("gpus", 4, 8.0, 11.0),)


def test_the_exact_test_has_no_limit_to_raise() -> None:
    found = diagnose(
        PAIR, limits={"gpus": 99}, accept=lambda choices: np.zeros(len(choices), dtype=np.bool_)
    )
    assert found.relaxations == (Relaxation(ACCEPT, None, None, 20.0),)


def test_keys_that_cannot_agree() -> None:
    found = diagnose([small_or_large("prefill", 0, 0), small_or_large("decode", 1, 1)], limits={})
    assert found.relaxations == (Relaxation(MATCH, None, None, 20.0),)


def test_conditions_that_must_go_together() -> None:
    found = diagnose(PAIR, limits={"gpus": 7, "usd": 1}, bounds=[delay_bound(PAIR, 1)])
    assert (found.relaxations, found.nearest) == ((), None)
    assert found.conflict == ("gpus", "delay")


def test_empty_pools_are_named() -> None:
    empty = Pool("encode", np.empty(0), np.empty(0), {}, np.empty(0, dtype=int), np.empty((0, 1)))
    found = diagnose([empty, PAIR[0]], limits={})
    assert (found.feasible, found.empty, found.relaxations) == (False, ("encode",), ())
