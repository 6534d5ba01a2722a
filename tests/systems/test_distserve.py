"""Prefill and decode that share nodes: pairs, and what they reduce to."""

from dataclasses import replace

import pytest

from pdplan import solve
from pdplan.errors import SpecError
from pdplan.planner import evaluate
from pdplan.planner.verifying import spec_of
from pdplan.specs.options import NO_OPTIONS
from pdplan.specs.scenario import scenario_from

CHAT = {
    "model": "llama-3.1-70b",
    "hardware": ["h100-sxm"],
    "objective": "gpus",
    "workload": {"isl": 1500, "osl": 250},
    "rate": "12 req/s",
    "ttft": "800 ms",
    "tpot": "40 ms",
    "search": {"placements": ["P-D"], "tp": [2, 4], "pp": [1, 2]},
}


def asked(affinity=None):
    return scenario_from(CHAT | ({"options": {"node_affinity": affinity}} if affinity else {}))


def test_high_affinity_is_the_plain_plan():
    plain, high = solve(asked()), solve(asked("high"))
    assert high.pools == plain.pools
    assert high.prediction == plain.prediction


def test_auto_is_the_better_of_both():
    high, low, auto = (solve(asked(kind)) for kind in ("high", "low", "auto"))
    assert auto.objective.value == min(high.objective.value, low.objective.value)
    assert low.objective.value >= high.objective.value
    assert auto.options["node_affinity"]["kind"] in ("high", "low")


def test_low_affinity_against_every_fleet_of_small_counts():
    """The best of all pairs up to 8 + 8 instances, one by one through evaluate."""
    scenario = asked("low")
    plan = solve(scenario)
    spec = spec_of(plan, scenario)
    best = None
    shapes = [(tp, pp) for tp in (2, 4) for pp in (1, 2)]
    for tp_p, pp_p in shapes:
        for tp_d, pp_d in shapes:
            for n_p in range(1, 9):
                for n_d in range(1, 9):
                    gpus = n_p * tp_p * pp_p + n_d * tp_d * pp_d
                    if pp_p != pp_d or gpus >= plan.gpus or (best and gpus >= best):
                        continue
                    sizes = ((n_p, tp_p, pp_p), (n_d, tp_d, pp_d))
                    pools = tuple(
                        pool.model_copy(
                            update={"instances": n, "tp": tp, "pp": pp, "max_batch": None}
                        )
                        for pool, (n, tp, pp) in zip(spec.pools, sizes, strict=True)
                    )
                    try:
                        found = evaluate(replace(spec, pools=pools))
                    except SpecError:
                        continue
                    if found.status == "feasible":
                        best = gpus
    assert best is None  # nothing cheaper than the proven optimum


def test_a_plan_reads_back_and_must_pair_up():
    scenario = asked("low")
    plan = solve(scenario)
    spec = spec_of(plan, scenario)
    assert evaluate(spec).pools == plan.pools
    prefill, decode = spec.pools
    odd = decode.model_copy(update={"instances": 13 * prefill.instances + 1})
    with pytest.raises(SpecError, match=r"a node has 8"):
        evaluate(replace(spec, pools=(prefill, odd)))
    longer = decode.model_copy(update={"pp": 3 - decode.pp})
    with pytest.raises(SpecError, match="pipelines must be equally long"):
        evaluate(replace(spec, pools=(prefill, longer)))


def test_no_option_is_no_option():
    assert asked().options == NO_OPTIONS


def test_unknown_kinds_are_refused():
    with pytest.raises(SpecError, match="must be 'high', 'low' or 'auto'"):
        asked("medium")
