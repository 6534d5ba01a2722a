import pytest
import yaml

from pdplan.errors import SpecError
from pdplan.planner import evaluate, simulate
from pdplan.planner.closed_fleet import evaluate_closed
from pdplan.specs.plan_file import load_plan

SPREAD = {
    "isl": {"lognormal": {"mean": 1500, "cv": 0.8}},
    "osl": {"lognormal": {"mean": 150, "cv": 0.8}},
}
IMAGES = {
    "count": {"histogram": {"values": [0, 1, 4], "weights": [5, 3, 2]}},
    "width": 640,
    "height": 480,
}
FLEETS = {
    "P-D": [("P", 2, {}), ("D", 2, {"max_batch": 64})],
    "P-D capped": [("P", 3, {}), ("D", 1, {"max_batch": 16})],
    "P-D random": [
        ("P", 3, {"options": {"routing": "random"}}),
        ("D", 2, {"max_batch": 64, "options": {"routing": "random"}}),
    ],
    "PD": [("PD", 2, {"max_batch": 64})],
    "PD prefill first": [("PD", 2, {"max_batch": 64, "options": {"scheduler": "prefill_first"}})],
    "EPD": [("EPD", 2, {"max_batch": 64})],
    "EP-D": [("EP", 2, {}), ("D", 1, {"max_batch": 64})],
    "E-P-D": [("E", 1, {}), ("P", 1, {}), ("D", 1, {"max_batch": 64})],
    "E-PD": [("E", 1, {}), ("PD", 2, {"max_batch": 64})],
}


@pytest.fixture
def fleet(tmp_path):
    def build(name, **workload):
        placement = name.split()[0]
        media = "E" in placement
        path = tmp_path / "plan.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "placement": placement,
                    "model": "qwen2.5-vl-7b" if media else "llama-3.1-8b",
                    "workload": {"rate": "5 req/s", **SPREAD}
                    | ({"images": IMAGES} if media else {})
                    | workload,
                    "pools": [
                        {"name": s, "stages": s, "hardware": "h100-sxm", "instances": n, **more}
                        for s, n, more in FLEETS[name]
                    ],
                }
            )
        )
        return load_plan(path)

    return build


CASES = [
    *[("P-D", n) for n in (1, 16, 64, 128, 400)],
    *[("P-D capped", n) for n in (12, 20, 64)],
    *[("P-D random", n) for n in (16, 300)],
    *[("PD", n) for n in (1, 2, 8, 32, 96, 200)],
    *[("PD prefill first", n) for n in (8, 32, 96, 200)],
    *[("E-P-D", n) for n in (1, 16, 64, 200)],
    *[("E-PD", n) for n in (16, 200)],
    *[("EPD", n) for n in (16, 200)],
    *[("EP-D", n) for n in (16, 200)],
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "requests"), CASES)
def test_throughput_and_means_agree_with_simulation(fleet, name, requests):
    spec = fleet(name)
    closed = evaluate_closed(spec, requests).prediction
    run = simulate(spec, requests=6000, concurrency=requests, seed=2)
    assert closed.rate_rps == pytest.approx(run.rate_rps, rel=0.04)
    assert closed.ttft_s.mean == pytest.approx(run.ttft_s.mean.value, rel=0.10)
    assert closed.tpot_s.mean == pytest.approx(run.tpot_s.mean.value, rel=0.03)
    assert closed.tpot_s.p90 == pytest.approx(run.tpot_s.p90.value, rel=0.05)


def test_littles_law_holds_to_the_last_digit(fleet):
    for name, requests in (("P-D", 100), ("PD", 7), ("E-P-D", 40)):
        found = evaluate_closed(fleet(name), requests).prediction
        assert found.rate_rps * found.e2e_s.mean == pytest.approx(requests, rel=1e-9)


def test_one_request_meets_nobody(fleet):
    spec = fleet("P-D")
    alone = evaluate(spec, rate_rps=1e-3).prediction
    closed = evaluate_closed(spec, 1).prediction
    assert closed.ttft_s.mean == pytest.approx(alone.ttft_s.mean, rel=0.01)
    assert closed.tpot_s.mean == pytest.approx(alone.tpot_s.mean, rel=1e-3)
    assert closed.ttft_terms_s.prefill_wait == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", ["P-D", "PD", "EP-D"])
def test_throughput_rises_with_concurrency_to_the_capacity(fleet, name):
    spec = fleet(name)
    plans = [evaluate_closed(spec, n) for n in (1, 4, 16, 64, 256, 3000)]
    rates = [plan.prediction.rate_rps for plan in plans]
    assert rates[:-1] == sorted(rates[:-1])
    most = min(pool.capacity_rps for pool in plans[-1].pools)
    assert rates[-1] == pytest.approx(most, rel=0.03)
    assert any(line.endswith(f"saturated at {most:.4g} req/s") for line in plans[-1].binding)
    assert not plans[0].binding
    assert all(pool.utilization <= 1 for plan in plans for pool in plan.pools)


def test_the_terms_add_up_to_the_mean_ttft(fleet):
    for name in ("P-D", "PD", "E-P-D", "E-PD"):
        found = evaluate_closed(fleet(name), 90).prediction
        terms = found.ttft_terms_s
        total = sum(getattr(terms, part) for part in type(terms).__dataclass_fields__)
        assert total == pytest.approx(found.ttft_s.mean, rel=1e-9)


def test_the_plan_says_how_many_are_in_flight_and_what_it_misses(fleet):
    spec = fleet("P-D", ttft="100 ms", tpot="20 ms")
    plan = evaluate_closed(spec, 300)
    assert plan.workload["concurrency"] == 300
    assert plan.workload["name"].endswith(", 300 in flight")
    assert plan.status == "infeasible"
    assert any("(objective 100 ms)" in line for line in plan.binding)
    assert evaluate_closed(spec, 1).status == "feasible"


def test_no_request_is_no_loop(fleet):
    with pytest.raises(SpecError, match="concurrency must be 1 or more; got 0"):
        evaluate_closed(fleet("P-D"), 0)


def test_first_tokens_of_prefill_leave_the_throughput_as_it_is(fleet, tmp_path):
    late = fleet("P-D")
    text = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    text["pools"][1]["options"] = {"first_token_from": "prefill"}
    (tmp_path / "early.yaml").write_text(yaml.safe_dump(text))
    early = load_plan(tmp_path / "early.yaml")
    a, b = evaluate_closed(late, 50).prediction, evaluate_closed(early, 50).prediction
    assert b.rate_rps == pytest.approx(a.rate_rps, rel=1e-3)
    assert b.ttft_s.mean < a.ttft_s.mean
    assert b.tpot_s.mean > a.tpot_s.mean
