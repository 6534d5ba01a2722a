"""``choose`` on random small instances: equal to brute force, monotone, independent of scale."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdplan.solver import Accept, BoolArray, Bound, IntArray, Pool, Rental, choose, grid, search


@dataclass(frozen=True)
class Instance:
    """Everything that ``choose`` takes."""

    pools: list[Pool]
    limits: dict[str, float]
    bounds: list[Bound]
    accept: Accept | None
    rentals: list[Rental]

    def conditions(self) -> dict[str, object]:
        """Return the keyword arguments of ``choose``."""
        return {
            "limits": self.limits,
            "bounds": self.bounds,
            "accept": self.accept,
            "rentals": self.rentals,
        }


def slowness_below(pools: list[Pool], limit: float) -> Accept:
    """Monotone and nonlinear: the p-norm of all delays stays below a limit."""

    def accept(choices: IntArray) -> BoolArray:
        parts = [p.delay[c] for p, c in zip(pools, choices.T, strict=True)]
        return np.asarray((np.concatenate(parts, axis=1) ** 2).sum(axis=1) <= limit, dtype=np.bool_)

    return accept


def random_pool(rng: np.random.Generator, name: str, columns: int, *, integral: bool) -> Pool:
    """Cheap columns tend to be slow; integral ones have many equal objectives."""
    gpus = rng.integers(1, 9, columns).astype(float)
    cost = gpus.copy() if integral else gpus * rng.uniform(1, 4, columns)
    delay = rng.uniform(0.2, 1, (columns, 2)) * 8 / gpus[:, None]
    return Pool(
        name=name,
        objective=cost,
        tiebreak=rng.integers(0, 5, columns).astype(float),
        use={"gpus": gpus, "stock:a": gpus * rng.integers(0, 2, columns)},
        key=rng.integers(-1, 2, columns),
        delay=delay,
    )


def random_instance(
    seed: int, *, sizes: tuple[int, int] = (3, 12), pools: int | None = None
) -> Instance:
    """Limits, keys, a bound, an exact test and rentals, each in some of the instances."""
    rng = np.random.default_rng(seed)
    count = pools or int(rng.integers(1, 4))
    integral = bool(rng.integers(2))
    made = [
        random_pool(rng, f"pool{i}", int(rng.integers(sizes[0], sizes[1] + 1)), integral=integral)
        for i in range(count)
    ]
    limits = {"gpus": float(rng.integers(2, 9) * count), "stock:a": float(rng.integers(0, 12))}
    bounds = [Bound("mean_delay", tuple(p.delay[:, 0] for p in made), float(rng.uniform(1, 12)))]
    return Instance(
        pools=made,
        limits={k: v for k, v in limits.items() if rng.random() < 0.7},
        bounds=bounds if rng.random() < 0.5 else [],
        accept=slowness_below(made, float(rng.uniform(1, 60))) if rng.random() < 0.8 else None,
        rentals=[Rental("gpus", 4.0, 3.0)] if rng.random() < 0.4 else [],
    )


def brute_force(instance: Instance) -> tuple[float, float] | None:
    """Least (objective, tiebreak), by plain enumeration in Python."""
    best = None
    for columns in itertools.product(*(range(len(p)) for p in instance.pools)):
        value = evaluate(instance, columns)
        if value is not None and (best is None or value < best):
            best = value
    return best


def evaluate(instance: Instance, columns: tuple[int, ...]) -> tuple[float, float] | None:
    """Objective and tiebreak of one choice, rounded to nine digits; None if it is not valid."""
    chosen = list(zip(instance.pools, columns, strict=True))
    keys = {int(p.key[c]) for p, c in chosen} - {-1}
    used = {r: sum(float(p.use[r][c]) for p, c in chosen) for r in ("gpus", "stock:a")}
    cost = sum(float(p.objective[c]) for p, c in chosen)
    for rental in instance.rentals:
        units = math.ceil(used[rental.resource] / rental.unit - 1e-9)
        used[rental.resource] = units * rental.unit
        cost += units * rental.price_per_unit
    valid = (
        len(keys) <= 1
        and all(used[r] <= limit + 1e-9 for r, limit in instance.limits.items())
        and all(
            sum(float(k[c]) for k, c in zip(b.coefficients, columns, strict=True)) <= b.limit + 1e-9
            for b in instance.bounds
        )
        and (instance.accept is None or bool(instance.accept(np.array([columns]))[0]))
    )
    return (round(cost, 9), sum(float(p.tiebreak[c]) for p, c in chosen)) if valid else None


def assert_equals_brute_force(instance: Instance) -> None:
    """Check objective and tiebreak, and the chosen columns really have them."""
    expected = brute_force(instance)
    choice = choose(instance.pools, **instance.conditions())
    if expected is None:
        assert (choice.status, choice.columns) == ("infeasible", None)
        return
    assert choice.status == "optimal"
    assert choice.gap == 0
    assert evaluate(instance, choice.columns) == pytest.approx(expected, rel=1e-9)
    assert choice.objective == pytest.approx(expected[0], rel=1e-9)
    assert choice.bound == choice.objective


@pytest.mark.parametrize("seed", range(80))
def test_equals_brute_force(seed: int) -> None:
    assert_equals_brute_force(random_instance(seed))


@pytest.mark.parametrize("seed", range(100, 160))
def test_equals_brute_force_where_the_program_does_the_work(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny grid leaves the proof, the cuts and the ties to the integer program."""
    monkeypatch.setattr(grid, "GRID", 8)
    monkeypatch.setattr(grid, "GRIDS", 0)
    monkeypatch.setattr(search, "GRID", 0)
    assert_equals_brute_force(random_instance(seed))


def test_both_outcomes_are_in_the_sample() -> None:
    feasible = [brute_force(random_instance(seed)) is not None for seed in range(80)]
    assert 20 < sum(feasible) < 75


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_adding_a_column_never_raises_the_optimum(seed: int) -> None:
    larger = random_instance(seed, sizes=(4, 8))
    first = larger.pools[0]
    smaller = replace(
        first,
        objective=first.objective[:-1],
        tiebreak=first.tiebreak[:-1],
        use={name: values[:-1] for name, values in first.use.items()},
        key=first.key[:-1],
        delay=first.delay[:-1],
    )
    bounds = [
        Bound(b.name, (b.coefficients[0][:-1], *b.coefficients[1:]), b.limit) for b in larger.bounds
    ]
    before = choose(
        [smaller, *larger.pools[1:]],
        limits=larger.limits,
        bounds=bounds,
        accept=larger.accept,
        rentals=larger.rentals,
    )
    after = choose(larger.pools, **larger.conditions())
    assert after.objective <= before.objective * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.2, 1))
def test_tightening_a_limit_never_lowers_the_optimum(seed: int, share: float) -> None:
    loose = random_instance(seed)
    tight = replace(loose, limits={name: v * share for name, v in loose.limits.items()})
    before = choose(loose.pools, **loose.conditions())
    after = choose(tight.pools, **tight.conditions())
    assert after.objective >= before.objective * (1 - 1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([1e-6, 0.5, 3.0, 1e6]))
def test_scaling_the_objective_scales_the_optimum(seed: int, factor: float) -> None:
    given_ = random_instance(seed)
    scaled = replace(
        given_,
        pools=[replace(p, objective=p.objective * factor) for p in given_.pools],
        rentals=[replace(r, price_per_unit=r.price_per_unit * factor) for r in given_.rentals],
    )
    before = choose(given_.pools, **given_.conditions())
    after = choose(scaled.pools, **scaled.conditions())
    assert after.columns == before.columns
    assert after.objective == pytest.approx(before.objective * factor, rel=1e-9)


def test_incumbent_changes_nothing() -> None:
    for seed in range(20):
        instance = random_instance(seed)
        choice = choose(instance.pools, **instance.conditions())
        start = choice.columns or (0,) * len(instance.pools)
        again = choose(instance.pools, **instance.conditions(), incumbent=start)
        assert again.columns == choice.columns


def test_running_out_of_rounds_keeps_a_valid_choice_and_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grid, "GRID", 8)
    monkeypatch.setattr(grid, "GRIDS", 0)
    monkeypatch.setattr(search, "GRID", 0)
    statuses = set()
    for seed in range(40):
        instance = random_instance(seed, pools=3)
        best = brute_force(instance)
        if best is None:
            continue
        choice = choose(instance.pools, **instance.conditions(), max_rounds=1)
        statuses.add(choice.status)
        assert evaluate(instance, choice.columns) is not None
        assert choice.bound <= best[0] * (1 + 1e-9) <= choice.objective * (1 + 2e-9)
        assert (choice.gap > 0) == (choice.status == "feasible")
    assert statuses == {"optimal", "feasible"}


def test_large_pools_keep_the_optimum_of_a_grid_that_holds_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    pools = [random_pool(rng, name, 60, integral=False) for name in "abc"]
    conditions = {"limits": {"gpus": 14.0}, "accept": slowness_below(pools, 6.0)}
    whole = choose(pools, **conditions)
    monkeypatch.setattr(grid, "GRID", 200)
    monkeypatch.setattr(grid, "GRIDS", 0)
    monkeypatch.setattr(search, "GRID", 0)
    beam = choose(pools, **conditions)
    assert whole.status == beam.status == "optimal"
    assert whole.objective == pytest.approx(beam.objective, rel=1e-9)
