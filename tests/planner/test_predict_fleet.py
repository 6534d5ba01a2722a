"""Latencies of a given fleet: classes, gaps, whole answers, and who sees the first token when."""

from dataclasses import replace

import pytest
import yaml

from pdplan import evaluate, load_plan
from pdplan.specs.plan_file import PlanSpec

SHORT = {"name": "short", "share": 0.5, "osl": 8, "ttft": "500 ms", "tpot": "20 ms"}
LONG = {"name": "long", "share": 0.5, "osl": 600, "ttft": "500 ms", "tpot": "20 ms"}
LENGTHS = {"isl": {"lognormal": {"mean": 1500, "cv": 1.0}}}


def fleet(tmp_path, rate=20.0, decode=None, **workload) -> PlanSpec:
    keys = LENGTHS | {"osl": {"lognormal": {"mean": 250, "cv": 0.8}}, "rate": f"{rate} req/s"}
    shape = {"hardware": "h100-sxm", "tp": 1, "weight_dtype": "bf16", "kv_dtype": "bf16"}
    pools = [
        {"name": "prefill", "stages": "P", "instances": 4} | shape,
        {"name": "decode", "stages": "D", "instances": 2} | shape | (decode or {}),
    ]
    plan = {
        "placement": "P-D", "model": "llama-3.1-8b", "engine": "vllm",
        "workload": keys | workload, "pools": pools,
    }  # fmt: skip
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan), encoding="utf-8")
    return load_plan(path)


def classes(tmp_path, rate=20.0):
    both = [LENGTHS | SHORT, LENGTHS | LONG]
    spec = fleet(tmp_path, rate, classes=both, isl=None, osl=None)
    return evaluate(spec).prediction


@pytest.fixture
def prediction(tmp_path):
    return evaluate(fleet(tmp_path)).prediction


def test_terms_add_up_to_the_mean(prediction):
    terms = prediction.ttft_terms_s
    total = sum(getattr(terms, name) for name in type(terms).__dataclass_fields__)
    assert total == pytest.approx(prediction.ttft_s.mean, rel=1e-9)
    # About half a step passes before the running one ends.
    assert 0.4 * prediction.tpot_s.mean < terms.decode_wait < 0.8 * prediction.tpot_s.mean


def test_gaps_spread_more_than_their_averages(prediction):
    itl, tpot = prediction.itl_s, prediction.tpot_s
    assert itl.mean == pytest.approx(tpot.mean)
    assert itl.p50 == pytest.approx(tpot.p50, rel=0.01)
    assert itl.p99 > tpot.p99 > tpot.mean


def test_short_answers_have_the_wider_tpot(tmp_path):
    short, long = classes(tmp_path).classes
    assert short.tpot_s.mean == pytest.approx(long.tpot_s.mean, rel=1e-9)
    assert short.tpot_s.p99 > long.tpot_s.p99
    assert short.itl_s == long.itl_s


def test_all_lie_between_their_classes(tmp_path):
    found = classes(tmp_path)
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        each = [getattr(kind, metric).p99 for kind in found.classes]
        assert min(each) <= getattr(found, metric).p99 <= max(each), metric
    assert found.attainment == pytest.approx(sum(c.attainment for c in found.classes) / 2)


def test_an_answer_lasts_its_tokens(prediction, tmp_path):
    fixed = evaluate(fleet(tmp_path, osl=101)).prediction
    steps = fixed.e2e_s.mean - fixed.ttft_s.mean
    assert steps == pytest.approx(100 * fixed.tpot_s.mean, rel=1e-6)
    assert prediction.e2e_s.p99 > 3 * prediction.e2e_s.p50


def test_one_token_has_no_pace_to_miss(tmp_path):
    lone = {"histogram": {"values": [1, 100], "weights": [0.25, 0.75]}}
    strict = evaluate(fleet(tmp_path, osl=lone, tpot="1 ms", ttft="10 s")).prediction
    assert strict.attainment == pytest.approx(0.25, abs=0.01)


def test_the_first_token_of_prefill_leaves_the_way_to_the_pace(tmp_path):
    decode = evaluate(fleet(tmp_path)).prediction
    early = {"options": {"first_token_from": "prefill"}}
    prefill = evaluate(fleet(tmp_path, decode=early)).prediction
    moved = decode.ttft_s.mean - prefill.ttft_s.mean
    assert moved > 0.5 * decode.ttft_terms_s.decode_wait
    assert prefill.ttft_terms_s.decode_wait == 0
    assert prefill.tpot_s.mean > decode.tpot_s.mean
    assert prefill.e2e_s.mean == pytest.approx(decode.e2e_s.mean, rel=1e-9)


def test_routing_and_bursts_change_the_answer(tmp_path):
    found = {}
    for routing in ("least_loaded", "round_robin", "random"):
        spec = fleet(tmp_path, 30.0, decode={"instances": 4, "options": {"routing": routing}})
        tpot = evaluate(spec).prediction.tpot_s
        found[routing] = tpot.p99 - tpot.p50
    assert found["least_loaded"] < found["round_robin"] < found["random"]
    calm = fleet(tmp_path, 30.0)
    bursty = replace(calm, traffic=replace(calm.traffic, arrival_scv=6.0))
    assert evaluate(bursty).prediction.tpot_s.p99 > evaluate(calm).prediction.tpot_s.p99


def test_who_waits_for_admission_misses_both_or_none(tmp_path):
    spec = fleet(tmp_path, 20.0, decode={"max_batch": 40})
    found = evaluate(spec).prediction
    waiting = evaluate(replace(spec, traffic=replace(spec.traffic, classes=tuple(
        replace(kind, ttft_s=found.ttft_s.p90, tpot_s=found.tpot_s.p50)
        for kind in spec.traffic.classes
    )))).prediction  # fmt: skip
    assert waiting.attainment > 0.45
    assert waiting.attainment <= 0.5 + 1e-6
