"""Shared encoding and cached encodings: closed form against simulation."""

import pytest
import yaml

from pdplan.errors import UnfitError
from pdplan.planner import evaluate, simulate
from pdplan.specs.plan_file import load_plan

IMAGES = {"width": 1280, "height": 960}
MIXED = {"histogram": {"values": [0, 1, 6], "weights": [4, 3, 3]}}


@pytest.fixture
def plan(tmp_path):
    def made(workers, rate, encoders=4, **options):
        workload = {"rate": f"{rate} req/s", "isl": 200, "osl": 60}
        workload["images"] = {"count": MIXED, **IMAGES}
        pools = [
            {"name": s, "stages": s, "hardware": "a100-80gb-sxm", "instances": n, "options": o}
            for s, n, o in (
                ("E", encoders, {"parallel_encode": workers}),
                ("P", 8, {"first_token_from": "prefill"}),
                ("D", 4, {"first_token_from": "prefill"}),
            )
        ]
        keys = {"placement": "E-P-D", "model": "minicpm-v-2.6", "engine": "vllm-2024"}
        path = tmp_path / "plan.yaml"
        path.write_text(
            yaml.safe_dump(keys | {"workload": workload, "pools": pools, "options": options})
        )
        return load_plan(path)

    return made


@pytest.mark.parametrize(
    ("workers", "rate", "options"),
    [
        (2, 30.0, {}),
        (4, 28.0, {}),
        (3, 8.0, {}),
        (1, 50.0, {"encode_cache": {"hit": 0.5}}),
        (2, 40.0, {"encode_cache": {"hit": 0.4}, "grouping": "modality"}),
    ],
)
def test_the_closed_form_is_what_is_simulated(plan, workers, rate, options):
    """Mean TTFT within 3 %, p90 within 7 %, encode utilisation within 4 %."""
    spec = plan(workers, rate, **options)
    said, seen = evaluate(spec), simulate(spec, requests=6000, seed=3)
    assert 0.2 < said.pools[0].utilization < 0.95
    assert said.pools[0].utilization == pytest.approx(seen.pools[0].utilization, rel=0.04)
    assert said.prediction.ttft_s.mean == pytest.approx(seen.ttft_s.mean.value, rel=0.03)
    assert said.prediction.ttft_s.p90 == pytest.approx(seen.ttft_s.p90.value, rel=0.07)


def test_recorded_media_are_told_from_no_cache(plan, tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,5\n1,10,5\n")
    with pytest.raises(UnfitError, match="does not follow option encode_cache"):
        simulate(plan(1, 5.0, encode_cache={"hit": 0.5}), trace=trace)
