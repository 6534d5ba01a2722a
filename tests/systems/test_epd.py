"""Encoders apart that share a request's tiles: what it reduces to, and where it is no answer."""

import itertools
from dataclasses import replace

import pytest

from pdplan import compare, solve
from pdplan.planner import evaluate
from pdplan.planner.verifying import spec_of
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

FOUR_K = {"width": 4032, "height": 3024}


def question(**keys):
    workload = {"rate": "2 req/s", "isl": 22, "osl": 10, "ttft": "5.1 s", "tpot": "60 ms"}
    workload |= keys.pop("workload", {"images": {"count": 8, **FOUR_K}})
    base = {"model": "minicpm-v-2.6", "engine": "vllm-2024", "hardware": ["a100-80gb-sxm"]}
    search = {"tp": [1], "chunk_tokens": [49152]} | keys.pop("search", {})
    return scenario_from(base | {"workload": workload, "search": search} | keys)


def as_system(scenario, name="epd"):
    return applied(scenario, name, load_system(name))


def test_without_media_it_is_prefill_and_decode_apart():
    """Exactly: the same pools, the same numbers."""
    asked = {"isl": 900, "osl": 200, "rate": "9 req/s", "ttft": "800 ms"}
    ours = solve(as_system(question(workload=asked)))
    search = {"placements": ["P-D"]}
    plain = solve(question(workload=asked, search=search, first_token_from="prefill"))
    assert ours.placement == plain.placement == "P-D"
    assert (ours.label, ours.pools) == (plain.label, plain.pools)
    assert ours.prediction == plain.prediction


def test_one_worker_a_request_is_the_plain_placement():
    shared = question(search={"parallel_encode": [1]})
    placed = replace(shared, search=shared.search.model_copy(update={"placements": ("E-P-D",)}))
    ours, plain = solve(replace(as_system(shared), first_token_from="decode")), solve(placed)
    assert ours.prediction == plain.prediction
    assert [p.options for p in ours.pools] == [p.options for p in plain.pools]


def best_by_hand(scenario, found, most=8, workers=(1, 2, 3, 5)):
    """Fewest accelerators of every E, P and D count and every way to share that do."""
    spec = spec_of(found, scenario)
    best = most + 1
    for counts in itertools.product(range(1, most - 1), repeat=3):
        if sum(counts) >= best:
            continue
        for together in [k for k in workers if k <= counts[0]]:
            pools = tuple(
                pool.model_copy(
                    update={
                        "instances": n,
                        "options": pool.options.model_copy(
                            update={"parallel_encode": together if pool.stages == "E" else 1}
                        ),
                    }
                )
                for pool, n in zip(spec.pools, counts, strict=True)
            )
            plan = evaluate(replace(spec, pools=pools))
            if plan.status == "feasible" and all(t.met for t in plan.prediction.targets):
                best = sum(counts)
    return best


@pytest.mark.parametrize(
    ("rate", "ttft"),
    [("2 req/s", "3.5 s"), pytest.param("5 req/s", "5.1 s", marks=pytest.mark.slow)],
)
def test_every_count_of_every_pool_is_considered(rate, ttft):
    """Brute force over the whole simplex of eight accelerators, decode on one included."""
    images = {"images": {"count": 8, **FOUR_K}, "rate": rate, "ttft": ttft}
    scenario = as_system(
        question(
            workload=images, objective="gpus", search={"parallel_encode": [1, 2, 3, 5]},
            limits={"max_gpus": 8},
        )
    )  # fmt: skip
    plan = solve(scenario)
    assert plan.status == "optimal"
    assert plan.gpus == best_by_hand(scenario, plan)
    assert plan.pools[-1].instances == 1


def test_more_workers_than_instances_are_never_written():
    plan = solve(as_system(question()))
    encode = plan.pools[0]
    assert encode.options["parallel_encode"] <= encode.instances
    assert len({p.options.get("parallel_encode") for p in plan.pools[1:]}) == 1


def test_sharing_pays_where_the_objective_is_tight():
    tight = {"images": {"count": 8, **FOUR_K}, "ttft": "3.5 s"}
    alone = solve(as_system(question(workload=tight, search={"parallel_encode": [1]})))
    shared = solve(as_system(question(workload=tight)))
    assert alone.status == "infeasible"
    assert shared.status == "optimal"
    assert shared.pools[0].options["parallel_encode"] >= 2


def test_with_loose_objectives_colocated_wins_and_the_planner_says_so():
    loose = question(
        workload={
            "images": {"count": 2, **FOUR_K},
            "ttft": "20 s",
            "tpot": "500 ms",
            "rate": "9 req/s",
        }
    )
    plan = solve(loose)
    assert plan.placement == "EPD"
    rows = compare(loose, {"epd": load_system("epd")})
    assert rows[0].placement == "EPD"
    (ours,) = [row for row in rows if row.system == "epd"]
    assert ours.objective > rows[0].objective
