"""Figures of EPD-Serve (arXiv 2601.11590), on the nearest model and accelerator of the specs."""

import pytest
import yaml

from pdplan import evaluate, load_plan, load_scenario, solve
from pdplan.placement import parse_placement
from pdplan.specs.catalog import find

STRICT = {"ttft": "800 ms", "tpot": "30 ms"}


def served(folder, placement, instances, rate):
    found = parse_placement(placement)
    pools = [
        {
            "name": stages,
            "stages": stages,
            "hardware": "ascend-910b",
            "instances": instances[found.device_of[i]],
        }
        for i, stages in enumerate(found.pools)
    ]
    workload = {
        "rate": f"{rate} req/s",
        "isl": 64,
        "osl": 64,
        "images": {"count": 1, "width": 1280, "height": 720},
    }
    plan = {
        "placement": placement,
        "model": "qwen2.5-vl-7b",
        "workload": workload | STRICT,
        "pools": pools,
    }
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    return evaluate(load_plan(path)).prediction


@pytest.mark.parametrize(
    ("attainment", "tokens_per_s", "effective"), [(0.5957, 494.6, 294.68), (0.8496, 494.6, 420.16)]
)
def test_effective_throughput_is_attainment_times_throughput(attainment, tokens_per_s, effective):
    assert attainment * tokens_per_s == pytest.approx(effective, rel=2e-3)


def test_prediction_has_effective_throughput(tmp_path):
    found = served(tmp_path, "(E-P)-D", (1, 1), 4)
    expected = found.attainment * found.output_tokens_per_s_per_gpu
    assert found.effective_tokens_per_s_per_gpu == pytest.approx(expected)


@pytest.mark.parametrize(("rate", "gain"), [(4, 1.15), (4.5, 1.35)])
def test_encode_and_prefill_in_processes_of_their_own_beat_one_process(tmp_path, rate, gain):
    """Published: 1.43 at one rate, 1.57 to 1.69 at others; here 1.22 and 1.46, more with load."""
    one = served(tmp_path, "EP-D", (1, 1), rate).effective_tokens_per_s_per_gpu
    two = served(tmp_path, "(E-P)-D", (1, 1), rate).effective_tokens_per_s_per_gpu
    assert two / one > gain


def test_encode_beside_decode_shortens_the_first_token(tmp_path):
    """Published: 39 to 55 % below EP-D; here 36 % at 4 req/s."""
    one = served(tmp_path, "EP-D", (1, 1), 4).ttft_s.mean
    two = served(tmp_path, "(E-D)-P", (1, 1), 4).ttft_s.mean
    assert 1 - two / one > 0.3


def test_decode_apart_shortens_the_time_per_token(tmp_path):
    """Published: 80 to 93 % below one process; here 36 %, at a rate that one device bears."""
    one = served(tmp_path, "EPD", (1,), 4).tpot_s.mean
    apart = served(tmp_path, "(E-P)-D", (1, 1), 8 / 2).tpot_s.mean
    assert apart < 0.7 * one


def test_tight_objectives_want_encode_and_prefill_on_one_device():
    plan = solve(load_scenario(find("example", "systems/epd-serve")))
    assert plan.placement == "(E-P)-D"
    assert plan.gpus < min(row.gpus for row in plan.alternatives)
