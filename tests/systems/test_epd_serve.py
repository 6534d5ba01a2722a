"""EPD-Serve: encode, prefill and decode on devices of their own or together."""

import pytest
import yaml

from pdplan import evaluate, load_plan, solve
from pdplan.specs.scenario import scenario_from

MEDIA = {
    "rate": "6 req/s", "isl": 64, "osl": 64, "ttft": "2 s", "tpot": "80 ms",
    "images": {"count": 1, "width": 1280, "height": 720},
}  # fmt: skip


def solved(placement, **options):
    mapping = {
        "model": "qwen2.5-vl-7b", "hardware": ["h100-sxm"], "workload": MEDIA,
        "search": {"placements": [placement], "tp": [1, 2]}, "options": options,
    }  # fmt: skip
    return solve(scenario_from(mapping))


@pytest.mark.parametrize(
    "placement", ["(E-P)-D", "(E-D)-P", "(E-PD)", "(E-P-D)", "E-(P-D)", "(EP-D)"]
)
def test_a_written_plan_is_evaluated_to_the_last_digit(tmp_path, placement):
    plan = solved(placement)
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan.to_dict()))
    found = evaluate(load_plan(path))
    assert found.prediction == plan.prediction
    assert found.cost_usd_per_hour == plan.cost_usd_per_hour
    assert sum(row.gpus for row in plan.pools) == plan.gpus == found.gpus


@pytest.mark.parametrize(
    ("placement", "hops"),
    [
        ("(E-P)-D", [("prefill", "decode")]),
        ("(E-D)-P", [("encode", "prefill"), ("prefill", "decode")]),
        ("E-(P-D)", [("encode", "prefill")]),
        ("(E-PD)", []),
    ],
)
def test_hops_are_between_devices_only(placement, hops):
    assert [(hop.source, hop.target) for hop in solved(placement).transfers] == hops


@pytest.mark.parametrize("placement", ["E-P-D", "EPD"])
def test_placements_without_parentheses_take_no_notice_of_sharing(placement):
    assert solved(placement).prediction == solved(placement, sharing="none").prediction


def test_slowdowns_of_one_cost_nothing():
    """Where nothing interferes, E and P on the same devices take no more of them than apart."""
    free = {"shares": "none", "interference": {"EP": 1.0}}
    assert solved("(E-P)-D", sharing=free).gpus <= solved("E-P-D").gpus
    assert solved("(E-P)-D", sharing=free).gpus <= solved("(E-P)-D", sharing="none").gpus


def test_with_hardly_any_media_it_is_the_placement_without_encode(tmp_path):
    """(E-P)-D as media vanish: P-D, but for the memory of towers."""
    rare = {"histogram": {"values": [0, 1], "weights": [1_000_000, 1]}}
    seldom = MEDIA | {"images": MEDIA["images"] | {"count": rare}}
    text = {key: value for key, value in MEDIA.items() if key != "images"}
    found = []
    for placement, names, workload in (("(E-P)-D", "EPD", seldom), ("P-D", "PD", text)):
        pools = [
            {"name": s, "stages": s, "hardware": "h100-sxm", "instances": 1, "max_batch": 64}
            for s in names
        ]
        plan = {"placement": placement, "model": "qwen2.5-vl-7b", "workload": workload}
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(plan | {"pools": pools}))
        found.append(evaluate(load_plan(path)).prediction)
    assert found[0].ttft_s.mean == pytest.approx(found[1].ttft_s.mean, rel=1e-4)
    assert found[0].tpot_s.mean == pytest.approx(found[1].tpot_s.mean, rel=1e-4)
