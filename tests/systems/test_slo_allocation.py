"""Measured instances: reductions to modelled ones, and what is refused."""

import numpy as np
import pytest

from pdplan import solve
from pdplan.errors import SpecError
from pdplan.planner import evaluate
from pdplan.planner.context import Context, Variant
from pdplan.planner.verifying import spec_of
from pdplan.pools.measured_pool import steady_states
from pdplan.specs.scenario import scenario_from

BASE = {
    "model": "llama-3.1-8b",
    "hardware": ["h100-sxm"],
    "objective": "gpus",
    "rate": "60 req/s",
    "workload": {"isl": 4000, "osl": 200},
    "ttft": "1.5 s",
    "tpot": "15 ms",
    "percentile": "mean",
    "first_token_from": "prefill",
    "search": {"placements": ["P-D"], "tp": [1], "chunk_tokens": [8192]},
}


def modelled_times():
    context = Context.of(scenario_from(BASE))
    variant = Variant("chunked", 8192)
    return [context.candidates((stages,), variant).times for stages in ("P", "D")]


def as_measured(**keys):
    prefill, decode = modelled_times()
    batches = [1, 2, 4, 8, 16, 32, 64, 128, 192, 256]
    curve = [{"batch": b, "tpot": f"{float(decode.step_s[0, b - 1])!r} s"} for b in batches]
    option = {
        "prefill": {"tokens_per_s": 4000 / float(prefill.full_s[0, 0]), "accelerators": 1},
        "decode": {"accelerators": 1, "curve": curve, "load": "fluctuating"},
        "overhead": f"{float(prefill.machines.request_s[0, 0])!r} s",
        "queue": "mg1",
    }  # fmt: skip
    return scenario_from(BASE | {"options": {"measured": option | keys}})


def test_what_the_model_predicts_measured_is_the_modelled_plan():
    """Same counts; mean TPOT within 1 %."""
    plain = solve(scenario_from(BASE))
    found = solve(as_measured(queue="mmc"))
    assert found.label == plain.label
    assert found.prediction.tpot_s.mean == pytest.approx(plain.prediction.tpot_s.mean, rel=0.01)
    steady = solve(as_measured(queue="md1"))
    assert steady.pools[1].instances == plain.pools[1].instances


def test_a_plan_reads_back():
    scenario = as_measured(rounding="min_attain", served_share=0.9)
    plan = solve(scenario)
    again = evaluate(spec_of(plan, scenario))
    assert again.prediction == plan.prediction
    assert again.pools == plan.pools
    assert plan.prediction.rate_rps == pytest.approx(54)


def test_steady_batches_keep_up():
    step = 0.01 + 1e-4 * np.arange(1, 101)[None]
    states = steady_states(step, np.array([4.0]), 200.0, np.array([100]))
    batch = 800 * 0.01 / (1 - 800 * 1e-4)
    assert float(states.mean_batch[0]) == pytest.approx(batch, rel=1e-9)
    assert float(states.tpot_mean_s[0]) == pytest.approx(0.01 + 1e-4 * batch, rel=1e-9)
    saturated = steady_states(step, np.array([40.0]), 200.0, np.array([100]))
    assert not saturated.stable[0]


def test_sources_are_the_users():
    plan = solve(as_measured(source="our own runs"))
    rows = [row for row in plan.provenance if row.quantity.startswith("measured: ")]
    assert len(rows) == 3
    assert {(row.origin, row.source) for row in rows} == {("user", "our own runs")}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"served_share": 0.9}, "goes with 'rounding: min_attain'"),
        ({"rounding": "min_attain"}, "goes with 'rounding: min_attain'"),
        ({"decode": {"accelerators": 1, "curve": []}}, "at least 1"),
        ({"decode": {"accelerators": 1, "curve": [{"tpot": "9 ms"}]}}, "needs batch or tokens"),
        (
            {"decode": {"accelerators": 1,
                        "curve": [{"tpot": "20 ms", "batch": 100, "tokens_per_s": 1700}]}},
            "those are 34",
        ),
        (
            {"decode": {"accelerators": 1,
                        "curve": [{"tpot": "20 ms", "batch": 9}, {"tpot": "10 ms", "batch": 12}]}},
            "TPOT never fall",
        ),
    ],
)  # fmt: skip
def test_options_that_cannot_be(keys, message):
    with pytest.raises(SpecError, match=message):
        as_measured(**keys)


def test_other_instances_were_not_measured():
    wrong = solve(as_measured(prefill={"tokens_per_s": 1e5, "accelerators": 3}))
    assert wrong.status == "infeasible"
    assert "measured on 3" in wrong.infeasible.reason
