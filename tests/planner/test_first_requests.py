import numpy as np
import pytest
import yaml

from pdplan.errors import SpecError
from pdplan.planner import evaluate, simulating
from pdplan.planner.evaluation import fleets_of
from pdplan.planner.first_requests import evaluate_first
from pdplan.simulation.run import Run
from pdplan.specs.plan_file import load_plan

FLEETS = {
    "prefill": ("P-D", [("P", 1, {}), ("D", 2, {"max_batch": 128})]),
    "decode": ("P-D", [("P", 3, {}), ("D", 1, {"max_batch": 32})]),
    "both": ("PD", [("PD", 2, {"max_batch": 64})]),
}


@pytest.fixture
def fleet(tmp_path):
    def build(name, **workload):
        placement, pools = FLEETS[name]
        path = tmp_path / "plan.yaml"
        work = {
            "rate": "5 req/s",
            "isl": {"lognormal": {"mean": 1000, "cv": 0.8}},
            "osl": {"lognormal": {"mean": 200, "cv": 0.8}},
        }
        path.write_text(
            yaml.safe_dump(
                {
                    "placement": placement,
                    "model": "llama-3.1-8b",
                    "workload": work | workload,
                    "pools": [
                        {"name": s, "stages": s, "hardware": "h100-sxm", "instances": n, **more}
                        for s, n, more in pools
                    ],
                }
            )
        )
        return load_plan(path)

    return build


def capacity(spec):
    return min(pool.capacity_rps for pool in evaluate(spec).pools)


def first_rows(spec, rate, requests, runs):
    """The first requests of many runs into an empty fleet; others come after them."""
    fleets = fleets_of(spec, rate)
    lanes = [simulating._kinds(group) for group in fleets.groups]
    model = simulating._model(fleets, lanes)
    source = simulating._open(fleets, lanes)
    rows = []
    for seed in range(1, runs + 1):
        run = Run(model, source.draw(seed), requests, seed, True, None, rows.append)
        run.counter.warmup = 0
        run.run()
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rho", "requests", "runs"),
    [
        *[("prefill", rho, 200, 150) for rho in (0.9, 1.1, 1.5)],
        *[("decode", rho, 1000, 40) for rho in (0.9, 1.1, 1.5)],
        *[("both", rho, 1000, 30) for rho in (0.9, 1.1, 1.5)],
        ("decode", 1.5, 5000, 6),
    ],
)
def test_the_p90_of_the_first_requests_is_within_10_percent(fleet, name, rho, requests, runs):
    spec = fleet(name)
    rate = rho * capacity(spec)
    rows = first_rows(spec, rate, requests, runs)
    found = evaluate_first(spec, requests, rate_rps=rate).prediction
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        seen = np.nanquantile([getattr(row, metric) for row in rows], 0.9)
        assert getattr(found, metric).p90 == pytest.approx(seen, rel=0.10), metric
    tpot = np.nanmean([row.tpot_s for row in rows])
    assert found.tpot_s.mean == pytest.approx(tpot, rel=0.04)


@pytest.mark.parametrize("name", FLEETS)
def test_many_requests_see_the_steady_state(fleet, name):
    spec = fleet(name, ttft="400 ms", tpot="20 ms")
    rate = 0.85 * capacity(spec)
    steady = evaluate(spec, rate_rps=rate).prediction
    found = evaluate_first(spec, 1_000_000, rate_rps=rate).prediction
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        a, b = getattr(found, metric), getattr(steady, metric)
        assert [a.mean, a.p50, a.p90] == pytest.approx([b.mean, b.p50, b.p90], rel=0.04), metric
    assert found.attainment == pytest.approx(steady.attainment, abs=0.02)


@pytest.mark.parametrize("name", FLEETS)
def test_the_first_request_meets_an_empty_fleet(fleet, name):
    spec = fleet(name)
    alone = evaluate(spec, rate_rps=1e-3).prediction
    found = evaluate_first(spec, 1, rate_rps=0.02 * capacity(spec)).prediction
    assert found.tpot_s.mean == pytest.approx(alone.tpot_s.mean, rel=0.03)
    assert found.ttft_s.mean == pytest.approx(alone.ttft_s.mean, rel=0.06)


def test_beyond_capacity_waits_grow_with_the_number_of_requests(fleet):
    spec = fleet("decode")
    rate = 1.3 * capacity(spec)
    plans = [evaluate_first(spec, n, rate_rps=rate) for n in (100, 1000, 10_000)]
    waits = [plan.prediction.ttft_s.p90 for plan in plans]
    assert waits[0] < waits[1] < waits[2]
    assert waits[2] / waits[1] == pytest.approx(10, rel=0.25)
    assert plans[0].binding[0] == (
        f"no steady state: pool 'D' saturates at {capacity(spec):.4g} req/s"
    )
    assert plans[0].workload["requests"] == 100
    assert plans[0].workload["name"].startswith("first 100 requests of ")
    tokens = plans[2].prediction.output_tokens_per_s_per_gpu * plans[2].gpus
    assert tokens == pytest.approx(capacity(spec) * spec.traffic.output_mean, rel=0.02)


def test_a_later_pool_sees_what_an_earlier_one_lets_through(fleet):
    spec = fleet("prefill")
    least = capacity(spec)
    found = evaluate_first(spec, 3000, rate_rps=2 * least).prediction
    at_most = evaluate(spec, rate_rps=0.97 * least).prediction
    assert found.tpot_s.p50 == pytest.approx(at_most.tpot_s.p50, rel=0.03)


def test_an_overloaded_plan_says_so(fleet):
    spec = fleet("decode")
    least = capacity(spec)
    plan = evaluate(spec, rate_rps=1.2 * least)
    assert plan.binding == (
        f"no steady state: pool 'D' saturates at {least:.4g} req/s; "
        "give --requests N for what the first N requests see",
    )
    stable = evaluate(spec, rate_rps=0.5 * least)
    assert not stable.binding


def test_no_request_sees_nothing(fleet):
    with pytest.raises(SpecError, match="requests must be 1 or more; got 0"):
        evaluate_first(fleet("decode"), 0)
