"""Several classes of requests: who shares with whom, and what the groups deliver together."""

import copy
import itertools
import math
import random
from dataclasses import fields

import numpy as np
import pytest

from pdplan import compare, evaluate, explain, solve
from pdplan.errors import SpecError
from pdplan.placement import Chain, parse_placement
from pdplan.planner import max_rate
from pdplan.planner.assembly import fleet_of
from pdplan.planner.columns import loaded
from pdplan.planner.combined import predict_fleets
from pdplan.planner.context import Context
from pdplan.planner.evaluation import fleets_from
from pdplan.planner.fleet import Fleets
from pdplan.planner.goals import ttft_goals
from pdplan.planner.late import LateTpot, is_late
from pdplan.planner.place import network_load, place
from pdplan.planner.program import Program
from pdplan.pools.subset import demand_of, traffic_of
from pdplan.pools.table import Columns
from pdplan.solver.partition import partitions
from pdplan.specs.scenario import scenario_from

SHORT = {"isl": 400, "osl": 40}
LONG = {"isl": {"lognormal": {"mean": 6000, "cv": 1.0}}, "osl": 300}
CHAT = {
    "isl": {"lognormal": {"mean": 1200, "cv": 0.8}},
    "osl": {"lognormal": {"mean": 200, "cv": 0.8}},
}
BASE = {"model": "llama-3.1-8b", "hardware": ["h100-sxm", "l40s"], "search": {"tp": [1, 2]}}


def question(classes, rate="20 req/s", **keys):
    kinds = [{"name": name, "share": share} | kind for name, (share, kind) in classes.items()]
    base = copy.deepcopy(BASE)
    search = base["search"] | keys.pop("search", {})
    return base | {"workload": {"rate": rate, "classes": kinds}, "search": search} | keys


TIGHT_AND_LONG = {
    "quick": (0.5, SHORT | {"ttft": "120 ms", "tpot": "12 ms"}),
    "documents": (0.5, LONG | {"ttft": "20 s", "tpot": "100 ms"}),
}
ALIKE = {
    "one": (0.6, CHAT | {"ttft": "500 ms", "tpot": "30 ms"}),
    "two": (0.4, CHAT | {"ttft": "500 ms", "tpot": "40 ms"}),
}


def solved(classes, **keys):
    return solve(scenario_from(question(classes, **keys)))


def test_a_split_pays_where_one_class_may_wait_for_hours():
    plan = solved(TIGHT_AND_LONG)
    shared = solved(TIGHT_AND_LONG, search={"split": "never"})
    assert plan.status == shared.status == "optimal"
    assert " + " in plan.placement
    assert plan.objective.value < shared.objective.value * 0.9
    rows = {row.placement: row for row in plan.alternatives}
    assert rows[shared.placement].cost_usd_per_hour == shared.cost_usd_per_hour
    assert [pool.options["classes"] for pool in plan.pools if pool.name.startswith("quick/")]
    served = {tuple(pool.options["classes"]) for pool in plan.pools}
    assert served == {("quick",), ("documents",)}
    assert all(target.met for target in plan.prediction.targets)


def test_alike_classes_share_and_the_split_is_listed():
    slow = {"rate": "2 req/s", "hardware": ["h100-sxm"]}
    plan = solved(ALIKE, **slow)
    assert " + " not in plan.placement
    assert plan.status == "optimal"
    assert all("classes" not in pool.options for pool in plan.pools)
    (row,) = [row for row in plan.alternatives if "+" in row.placement or "own" in row.placement]
    forced = solved(ALIKE, **slow, search={"split": "always"})
    assert forced.objective.value > plan.objective.value
    if row.reason is None:
        assert row.objective >= plan.objective.value
    else:
        assert "no better than sharing" in row.reason


def test_splitting_is_forbidden_or_forced_as_asked():
    auto, never, always = (
        solved(TIGHT_AND_LONG, search={"split": how}) for how in ("auto", "never", "always")
    )
    assert " + " not in never.placement
    assert always.placement.count(" + ") == 1
    assert auto.objective.value <= min(never.objective.value, always.objective.value) + 1e-9


def test_a_pinned_number_of_instances_is_for_one_fleet():
    roles = {"D": {"instances": 4}}
    plan = solved(TIGHT_AND_LONG, search={"placements": ["P-D"], "roles": roles})
    assert " + " not in plan.placement
    with pytest.raises(SpecError, match=r"search\.split: 'always'"):
        solved(TIGHT_AND_LONG, search={"roles": roles, "split": "always"})


def test_compare_sets_the_split_beside_the_placements():
    rows = compare(scenario_from(question(TIGHT_AND_LONG)))
    (row,) = [row for row in rows if " + " in row.placement]
    assert row.plan.placement == row.placement
    assert (
        row.objective
        == row.plan.objective.value
        == min(row.objective for row in rows if row.objective is not None)
    )


MOST = {1: 14, 2: 9}
"""Instances of each pool that brute force tries."""


def fleets(context):
    """What accepted fleets use of every kind of accelerator, those with less of none."""
    kinds = [choice.id for choice in context.scenario.hardware]
    found = set()
    for text in ("PD", "P-D"):
        placement = parse_placement(text)
        most = MOST[len(placement.pools)]
        for variant in context.variants(placement.pools):
            tables = []
            for stages in placement.pools:
                pool = context.candidates((stages,), variant)
                config = np.repeat(pool.starts.config, most)
                cap = np.repeat(pool.starts.max_batch, most)
                count = np.tile(np.arange(1, most + 1), len(pool.starts.config))
                columns = Columns.of(config, count, cap)
                if not len(columns):
                    break
                table = loaded(
                    pool.times, columns, context.demand, context.discipline(variant), context.goals
                )
                if len(placement.pools) > 1:
                    load = network_load(context.demand, placement, table)
                    table = table.take(np.flatnonzero(load < 1))
                tables.append(table)
            if len(tables) < len(placement.pools) or not all(len(table) for table in tables):
                continue
            sender = next(table for table in tables if "P" in table.stages)
            chain = Chain(
                placement,
                tuple(tables),
                context.demand,
                tuple(shape.kv_dtype for shape in sender.times.shapes),
                context.scenario.first_token_from,
            )
            late = LateTpot(chain, context.goals) if is_late(chain) else None
            program = Program(chain, context.scenario, ttft_goals(context.goals), late)
            axes = np.meshgrid(*(np.arange(len(table)) for table in tables), indexing="ij")
            grid = np.stack([axis.ravel() for axis in axes], 1)
            uses = np.zeros((len(grid), len(kinds)), np.int64)
            for i, table in enumerate(tables):
                names = [table.times.shapes[c].hardware for c in table.columns.config]
                for h, kind in enumerate(kinds):
                    mine = np.array([name == kind for name in names])
                    uses[:, h] += np.where(mine, table.gpus, 0)[grid[:, i]]
            accepted = program.accept(grid)
            found |= set(map(tuple, uses[accepted].tolist()))
    return [
        use
        for use in found
        if not any(o != use and all(a <= b for a, b in zip(o, use, strict=True)) for o in found)
    ]


def brute_force(question):
    scenario = scenario_from(question)
    context = Context.of(scenario)
    count = len(context.demand.traffic.classes)
    known = {}
    best = math.inf
    for groups in partitions(count):
        for group in groups:
            if group not in known:
                block = context if len(groups) == 1 else context.of_classes(group)
                known[group] = fleets(block)
        for chosen in itertools.product(*(known[group] for group in groups)):
            used = [sum(each) for each in zip(*chosen, strict=True)]
            best = min(best, worth(scenario, used))
    return best


def worth(scenario, used):
    """Objective of accelerators by kind; infinite where a limit is broken."""
    gpus, usd, watts = sum(used), 0.0, 0.0
    for choice, n in zip(scenario.hardware, used, strict=True):
        node = choice.spec.accelerators_per_node if scenario.limits.whole_nodes else 1
        rented = -(-n // node) * node
        if choice.stock is not None and rented > choice.stock:
            return math.inf
        usd += rented * choice.usd_per_hour
        watts += n * choice.spec.power.board
    limits = scenario.limits
    for value, limit in (
        (gpus, limits.max_gpus), (usd, limits.budget_usd_per_hour), (watts, limits.power_w),
    ):  # fmt: skip
        if limit is not None and value > limit * (1 + 1e-9):
            return math.inf
    return {"cost": usd, "gpus": gpus, "power": watts}[scenario.objective]


def random_classes(seed):
    rng = random.Random(seed)
    count = rng.choice([2, 2, 3])
    cuts = [rng.uniform(0.2, 1) for _ in range(count)]
    shares = [round(cut / sum(cuts), 3) for cut in cuts]
    shares[-1] = round(1 - sum(shares[:-1]), 3)
    classes = {}
    for i, share in enumerate(shares):
        quick = rng.random() < 0.5
        kind = dict(rng.choice([SHORT, CHAT] if quick else [CHAT, LONG, LONG]))
        kind["ttft"] = f"{rng.choice([150, 400] if quick else [2000, 20000])} ms"
        kind["tpot"] = f"{rng.choice([12, 20, 40] if quick else [40, 150])} ms"
        kind["percentile"] = rng.choice([50, 90, 99])
        classes[f"c{i}"] = (share, kind)
    names = rng.choice([["h100-sxm"], ["h100-sxm", "l40s"], ["h100-sxm", "a100-80gb-sxm"]])
    hardware = [{"id": name} for name in names]
    keys = {"rate": f"{rng.choice([2, 5, 10])} req/s", "search": {"tp": [1]}}
    keys["objective"] = rng.choice(["cost", "cost", "gpus", "power"])
    limit = rng.choice(["none", "stock", "max_gpus", "budget", "nodes", "nodes and stock"])
    if limit == "max_gpus":
        keys["limits"] = {"max_gpus": rng.choice([2, 3, 4, 6])}
    if limit == "budget":
        keys["limits"] = {"budget": f"{rng.choice([6, 10, 16])} USD/h"}
    if "stock" in limit:
        most = [8, 16] if "nodes" in limit else [1, 2, 4, 6]
        hardware = [{"id": name, "stock": rng.choice(most)} for name in names]
    keys["whole_nodes"] = "nodes" in limit
    return question(classes, hardware=hardware, **keys)


def agrees(seed):
    asked = random_classes(seed)
    plan = solve(scenario_from(asked))
    if max((pool.instances for pool in plan.pools), default=0) > min(MOST.values()):
        return False  # brute force does not reach that far
    value = math.inf if plan.objective.value is None else plan.objective.value
    assert plan.status in ("optimal", "infeasible")
    assert value == pytest.approx(brute_force(asked), rel=1e-9), seed
    return " + " in plan.placement


@pytest.mark.parametrize("seed", range(12))
def test_no_partition_is_better(seed):
    agrees(seed)


@pytest.mark.slow
def test_no_partition_is_better_at_length():
    assert sum(agrees(seed) for seed in range(100, 160)) >= 5


def test_classes_are_thinned_not_changed():
    whole = Context.of(scenario_from(question(TIGHT_AND_LONG))).demand
    again = demand_of(whole, [0, 1])
    for name in ("rate_rps", "decode_steps", "context_tokens", "output_scv", "media_share"):
        assert getattr(again, name) == pytest.approx(getattr(whole, name)), name
    parts = [demand_of(whole, [i]) for i in (0, 1)]
    assert sum(part.rate_rps for part in parts) == pytest.approx(whole.rate_rps)
    assert [part.traffic.classes[0].name for part in parts] == ["quick", "documents"]
    assert all(part.weight().sum() == pytest.approx(1) for part in parts)
    mean = sum(p.rate_rps * p.mean(p.prompt_tokens) for p in parts) / whole.rate_rps
    assert mean == pytest.approx(whole.mean(whole.prompt_tokens))
    steps = sum(p.rate_rps * p.decode_steps for p in parts) / whole.rate_rps
    assert steps == pytest.approx(whole.decode_steps)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_thinned_arrivals_vary_as_simulated(share):
    """Renewal arrivals with Ca^2 = 4 (a mixture of two exponentials), kept with a probability."""
    rng = np.random.default_rng(5)
    scv, size = 4.0, 400_000
    p = (1 + math.sqrt((scv - 1) / (scv + 1))) / 2
    fast = rng.random(size) < p
    gaps = rng.exponential(np.where(fast, 1 / (2 * p), 1 / (2 * (1 - p))))
    kept = np.diff(np.cumsum(gaps)[rng.random(size) < share])
    classes = {"a": (share, CHAT), "b": (1 - share, CHAT)}
    asked = question(classes)
    asked["workload"]["arrival_scv"] = scv
    thinned = traffic_of(scenario_from(asked).traffic, [0])
    assert thinned.arrival_scv == pytest.approx(kept.var() / kept.mean() ** 2, rel=0.03)


SPLIT = question(TIGHT_AND_LONG, search={"split": "always"})


def test_a_split_is_read_back_as_it_was_written(written):
    plan = solve(scenario_from(SPLIT))
    spec = written(plan)
    assert [group.classes for group in spec.groups] == [("quick",), ("documents",)]
    read = evaluate(spec)
    before, after = plan.to_dict(), read.to_dict()
    for key in (
        "prediction", "pools", "transfers", "workload", "label", "gpus", "cost_usd_per_hour",
        "usd_per_million_output_tokens", "power_w", "provenance", "placement",
    ):  # fmt: skip
        assert before[key] == after[key], key
    assert read.status == "feasible"
    sections = {section.title: section for section in explain(spec).sections}
    told = sections["One pass of each stage, alone"].rows
    assert {row[0].partition("/")[0] for row in told} == {"quick", "documents"}
    rates = [fleet.demand.rate_rps for fleet in fleets_from(spec)]
    assert sum(rates) == pytest.approx(plan.prediction.rate_rps)


def test_rates_of_all_groups_grow_alike(written):
    spec = written(solve(scenario_from(SPLIT)))
    most = max_rate(spec)
    rate = most.prediction.rate_rps
    assert rate >= 20 * (1 - 2e-3)
    assert evaluate(spec, rate_rps=rate).binding == ()
    over = evaluate(spec, rate_rps=rate * 1.01)
    assert over.status == "infeasible"
    assert over.binding[0].startswith(("quick/", "documents/"))
    flooded = evaluate(spec, rate_rps=rate * 100)
    assert flooded.prediction.attainment < 0.1
    assert flooded.prediction.ttft_s.p50 == math.inf


def test_the_prediction_is_that_of_the_mixture(written):
    spec = written(solve(scenario_from(SPLIT)))
    plan = evaluate(spec)
    found = plan.prediction
    groups = fleets_from(spec)
    shares = np.array([group.demand.rate_rps for group in groups]) / found.rate_rps
    steps = np.array([group.demand.decode_steps for group in groups])
    assert found.attainment == pytest.approx(sum(c.share * c.attainment for c in found.classes))
    for name in ("ttft_s", "tpot_s", "itl_s", "e2e_s"):
        each = [getattr(kind, name).mean for kind in found.classes]
        counted = shares * (steps if name == "itl_s" else 1)
        assert getattr(found, name).mean == pytest.approx(counted @ each / counted.sum())
        for level in ("p50", "p90", "p95", "p99"):
            values = [getattr(getattr(kind, name), level) for kind in found.classes]
            assert (
                min(values) * 0.999 <= getattr(getattr(found, name), level) <= max(values) * 1.001
            )
    sojourns = [
        (group.chain().sojourn(np.zeros((1, len(group.members)), np.int64)), group.demand.weight())
        for group in groups
    ]

    def within(seconds):
        reached = (sojourn.attainment(seconds, weight)[0] for sojourn, weight in sojourns)
        return sum(share * each for share, each in zip(shares, reached, strict=True))

    for level in (50, 90, 95, 99):
        value = found.ttft_s.at(level)
        assert within(value * (1 + 1e-6)) >= level / 100
        assert within(value * (1 - 1e-6)) <= level / 100
    assert sum(
        getattr(found.ttft_terms_s, field.name) for field in fields(found.ttft_terms_s)
    ) == pytest.approx(found.ttft_s.mean)


def test_one_group_in_two_halves_is_the_same_distribution():
    """The mixture of a fleet with itself: what combining adds of its own, beside predict_fleet."""
    context = Context.of(scenario_from(question(ALIKE)))
    fleet = fleet_of(context, place(context, parse_placement("P-D")))
    alone = predict_fleets(Fleets.one(fleet), (fleet.chain(),))
    twice = predict_fleets(Fleets((fleet, fleet), fleet.demand), (fleet.chain(), fleet.chain()))
    for name, within in (("ttft_s", 1e-6), ("tpot_s", 5e-3), ("itl_s", 1e-3), ("e2e_s", 1e-6)):
        for level in ("mean", "p50", "p90", "p95", "p99"):
            one, other = (getattr(getattr(p, name), level) for p in (alone, twice))
            assert other == pytest.approx(one, rel=within), (name, level)
    assert twice.rate_rps == 2 * alone.rate_rps
    assert twice.output_tokens_per_s_per_gpu == pytest.approx(alone.output_tokens_per_s_per_gpu)


def test_infeasible_says_which_class():
    impossible = dict(TIGHT_AND_LONG)
    impossible["quick"] = (0.5, SHORT | {"ttft": "120 ms", "tpot": "0.5 ms"})
    plan = solved(impossible)
    assert plan.status == "infeasible"
    assert "class quick alone: " in plan.infeasible.reason
    assert "class documents" not in plan.infeasible.reason


def test_infeasible_together_says_so():
    plan = solved(TIGHT_AND_LONG, limits={"max_gpus": 3})
    assert plan.status == "infeasible"
    assert "each class alone has a plan" in plan.infeasible.reason


FIVE = {
    "a": (0.2, SHORT | {"ttft": "120 ms", "tpot": "12 ms"}),
    "b": (0.2, LONG | {"ttft": "20 s", "tpot": "100 ms"}),
    "c": (0.2, CHAT | {"ttft": "500 ms", "tpot": "30 ms"}),
    "d": (0.2, CHAT | {"ttft": "9 s", "tpot": "90 ms"}),
    "e": (0.2, SHORT | {"ttft": "2 s", "tpot": "60 ms"}),
}


def test_many_classes_are_not_said_to_be_proven():
    plan = solved(FIVE)
    shared = solved(FIVE, search={"split": "never"})
    assert plan.status == plan.solver.status == "feasible"
    assert shared.status == "optimal"
    assert plan.objective.value <= shared.objective.value
    assert plan.objective.bound < plan.objective.value
    names = [name for pool in plan.pools for name in pool.options.get("classes", FIVE)]
    assert set(names) == set(FIVE)
