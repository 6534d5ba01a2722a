"""SLO-aware allocation (arXiv 2603.04716) through pools and solve; its closed forms themselves are
tested in tests/queueing/test_published_queues.py."""

import pytest

from pdplan import load_scenario, solve
from pdplan.pools.demand import demand
from pdplan.pools.needed import nearest_share, needed
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

RATE = 5e6 / 60 / (6144 + 512)
"""Requests a second in five million tokens a minute, input and output."""


def question(rate=RATE, *, measured=(), **keys):
    spec = load_system("slo-allocation")
    option = {
        "prefill": {"tokens_per_s": 28_300, "accelerators": 8},
        "decode": {"accelerators": 8, "load": "steady",
                   "curve": [{"tpot": "20 ms", "tokens_per_s": 1700}]},
    }  # fmt: skip
    return scenario_from(
        {
            "model": "deepseek-v3",
            "hardware": ["h200-sxm"],
            "objective": "gpus",
            "first_token_from": "prefill",
            "workload": {"isl": 6144, "osl": 512},
            "rate": f"{rate!r} req/s",
            "ttft": "2 s",
            "tpot": "20 ms",
            "percentile": "mean",
            "search": {"placements": ["P-D"], **spec.search.model_dump(exclude_unset=True)},
            "options": {"measured": option | dict(measured)},
        }
        | keys
    )


def raw(**keys):
    asked = question(**keys)
    return needed(demand(asked.model, asked.traffic, None, asked.options))


def test_fractions_of_instances():
    found = raw()
    assert found.prefill == pytest.approx(3.07, abs=0.005)
    assert found.decode == pytest.approx(3.77, abs=0.01)  # the first token is not decoded
    ratio = found.prefill / found.decode * 511 / 512
    assert ratio == pytest.approx(0.814, abs=0.001)


@pytest.mark.parametrize(
    ("ttft", "tokens_per_s", "load"),
    [("0.5 s", 12_940, 0.457), ("1 s", 21_473, 0.759), ("2 s", 25_066, 0.886),
     ("4 s", 26_725, 0.944), ("8 s", 27_522, 0.973)],
)  # fmt: skip
def test_throughput_within_an_objective(ttft, tokens_per_s, load):
    each = RATE * 6144 / raw(ttft=ttft).prefill
    assert each == pytest.approx(tokens_per_s, abs=1)
    assert each / 28_300 == pytest.approx(load, abs=5e-4)


def test_rounding_up_and_the_papers_plan():
    """3P4D is deployed; ceil of 3.07 makes it 4P4D. Both are told."""
    up = solve(question())
    assert up.label == "4P4D"
    assert up.gpus == 64
    assert any("3.07 prefill and 3.76 decode" in text for text in up.warnings)
    spec = load_system("slo-allocation")
    published = solve(applied(load_scenario(spec.example), "slo-allocation", spec))
    assert published.label == "3P4D"
    assert published.gpus == 56
    assert any("planned for 95.0%" in text for text in published.warnings)
    nearest = solve(question(measured={"rounding": "nearest"}))
    assert nearest.label == "3P4D"
    carried = nearest.prediction.rate_rps * 6656 * 60 / 1e6
    assert carried == pytest.approx(4.888, abs=0.001)  # million tokens a minute; measured 4.8
    assert nearest.prediction.ttft_s.mean == pytest.approx(2.0, rel=1e-6)


def test_mean_ttft_is_the_mm1_formula():
    found = solve(question())
    each = 28_300 / 6144
    assert found.prediction.ttft_s.mean == pytest.approx(0.1 + 1 / (each - RATE / 4), rel=1e-9)
    terms = found.prediction.ttft_terms_s
    assert terms.prefill == pytest.approx(0.1 + 1 / each, rel=1e-9)


def test_order_by_node():
    """3P4D carries more a node than 3P3D, and 1.23 times as much in all (measured 1.33)."""

    def carried(decode):
        first, second = raw().prefill, raw().decode
        return min(3 / first, decode / second)

    assert carried(4) / 7 > carried(3) / 6
    assert carried(4) / carried(3) == pytest.approx(1.23, abs=0.01)


@pytest.mark.parametrize(("percentile", "factor"), [(90, 2.302585), (99, 4.605170)])
def test_percentiles_of_mm1(percentile, factor):
    each = RATE * 6144 / raw(percentile=percentile, ttft="3 s").prefill
    assert each == pytest.approx(28_300 - 6144 * factor / 2.9, abs=1)


def test_pooled_and_split_queues_differ():
    found = {q: raw(percentile=99, ttft="1.5 s", measured={"queue": q}).prefill
             for q in ("mm1", "md1", "mg1", "mmc")}  # fmt: skip
    assert found["mmc"] < found["mm1"]
    assert found["md1"] < found["mm1"]
    assert found["mg1"] == pytest.approx(found["md1"])  # prompts are equal


def test_output_tokens_alone_would_be_another_size():
    as_output = raw(rate=5e6 / 60 / 512)
    assert as_output.decode == pytest.approx(13 * raw().decode, rel=0.01)


def test_overhead_may_be_computed():
    asked = question(measured={"overhead": "50 ms", "link": "8.635 GB/s"})
    work = demand(asked.model, asked.traffic, None, asked.options)
    assert float(work.kv_bytes("bf16")[0]) == pytest.approx(432e6, rel=0.001)
    assert needed(work).prefill == pytest.approx(raw().prefill, rel=1e-4)  # 50 ms + 50 ms


def test_nearest_share_is_never_above_one():
    asked = question(rate=RATE * 0.9, measured={"rounding": "nearest"})
    assert nearest_share(demand(asked.model, asked.traffic, None, asked.options)) <= 1
