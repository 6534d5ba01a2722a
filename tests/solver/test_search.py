"""``choose`` on hand-made cases: ties, what binds, what is violated."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from pdplan.solver import Bound, Pool, choose


def pool(name: str, objective: list[float], **arrays: object) -> Pool:
    """Build a pool whose other arrays default to neutral ones."""
    n = len(objective)
    values = {"tiebreak": np.zeros(n), "use": {}, "key": np.full(n, -1), "delay": np.zeros((n, 1))}
    return Pool(name, np.array(objective, dtype=float), **(values | arrays))


def test_equal_choices_are_decided_by_the_lowest_index() -> None:
    twins = [pool("a", [2, 1, 1, 1]), pool("b", [2, 1, 1, 1])]
    assert choose(twins, limits={}).columns == (1, 1)


def test_tiebreak_never_trades_the_objective() -> None:
    close = pool("a", [1 + 1e-7, 1.0], tiebreak=np.array([0.0, 1e9]))
    assert choose([close], limits={}).columns == (1,)


def test_full_stock_binds_and_slack_does_not() -> None:
    use = {"gpus": np.array([8.0, 4.0]), "power_w": np.array([80.0, 40.0])}
    choice = choose([pool("a", [2, 3], use=use)], limits={"gpus": 8, "power_w": 100})
    assert (choice.columns, choice.binding) == ((0,), ("gpus",))


def test_a_rejected_cheaper_choice_makes_the_exact_test_bind() -> None:
    pools = [pool("a", [1, 2, 3], delay=np.array([[9.0], [2.0], [1.0]]))]
    choice = choose(pools, limits={}, accept=lambda choices: pools[0].delay[choices[:, 0], 0] <= 2)
    assert (choice.columns, choice.cuts, choice.binding) == ((1,), 1, ("accept",))


def test_a_limit_that_nothing_meets_is_named() -> None:
    choice = choose([pool("a", [1], use={"gpus": np.array([8.0])})], limits={"gpus": 4})
    assert (choice.status, choice.columns, choice.violated) == ("infeasible", None, ("gpus",))


def test_an_empty_pool_is_named() -> None:
    choice = choose([pool("a", []), pool("b", [1])], limits={})
    assert (choice.status, choice.violated) == ("infeasible", ("a",))


def test_infinite_coefficients_exclude_their_column() -> None:
    bound = Bound("ttft", (np.array([np.inf, 1.0]),), 2.0)
    assert choose([pool("a", [1, 5])], limits={}, bounds=[bound]).columns == (1,)


def test_import_leaves_pulp_alone() -> None:
    code = "import sys, pdplan.solver; sys.exit('pulp' in sys.modules or 'highspy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
