"""Time to first token along a chain of pools."""

from dataclasses import replace

import numpy as np
import pytest

from pdplan.placement import Chain, parse_placement
from pdplan.pools.demand import demand
from pdplan.pools.load import Discipline, pool_table
from pdplan.pools.table import Columns
from pdplan.pools.times import stage_times
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.scenario import scenario_from
from pdplan.stages.machine import Shape

ENGINE = load_engine("vllm")
HARDWARE = {"h100-sxm": load_hardware("h100-sxm")}
MODEL = load_model("qwen2.5-vl-7b")
COUNT = {"histogram": {"values": [0, 1, 3], "weights": [2, 1, 1]}}
ONE = np.zeros((1, 3), np.int64)


def asked(images=COUNT):
    workload = {
        "rate": "12 req/s",
        "isl": {"lognormal": {"mean": 800, "cv": 1.0}},
        "osl": {"lognormal": {"mean": 100, "cv": 0.8}},
    }
    if images is not None:
        workload["images"] = {"count": images, "width": 1280, "height": 720}
    mapping = {"model": "qwen2.5-vl-7b", "hardware": ["h100-sxm"], "workload": workload}
    return demand(MODEL, scenario_from(mapping).traffic)


def chain(text, work, instances=2, first_token_from="decode", bandwidth=1.0):
    placement = parse_placement(text)
    tables = []
    for stages in placement.pools:
        times = stage_times(stages, [Shape("h100-sxm")], HARDWARE, ENGINE, work, largest_batch=64)
        m = times.machines
        times = replace(
            times,
            machines=replace(m, network_bytes_per_s=m.network_bytes_per_s * bandwidth),
        )
        columns = Columns.of([0], [instances], [64])
        tables.append(pool_table(times, columns, work, Discipline()))
    return Chain(placement, tuple(tables), work, ("bf16",), first_token_from)


def sojourn(made):
    return made.sojourn(ONE[:, : len(made.tables)])


@pytest.mark.parametrize("text", ["EPD", "EP-D", "E-PD", "E-P-D"])
@pytest.mark.parametrize("source", ["decode", "prefill"])
def test_the_mean_is_the_sum_of_its_terms(text, source):
    work = asked()
    made = chain(text, work, first_token_from=source)
    choice = ONE[:, : len(made.tables)]
    moved, cached = made.transfers_s(choice)
    late = source == "prefill" and text.endswith("-D")
    terms = work.mean(moved)[0] + (0 if late else work.mean(cached)[0])
    for table in made.tables:
        terms += work.mean(table.encode_s)[0]
        if not (late and table.stages == "D"):
            terms += work.mean(table.prefill_s)[0]
    for name, wait in made.waits(choice):
        if name == "encode":
            terms += wait.mean_s[0] * work.media_share
        elif not (name == "decode" and late):
            terms += wait.mean_s[0]
    assert sojourn(made).mean_s(work.weight()) == pytest.approx(terms, rel=1e-12)


@pytest.mark.parametrize("text", ["EPD", "EP-D", "E-PD", "E-P-D"])
def test_percentiles_rise_and_match_the_attainment(text):
    work = asked()
    found = sojourn(chain(text, work))
    levels = np.array([0.05, 0.5, 0.9, 0.95, 0.99, 0.999])
    reached = found.quantiles_s(levels, work.weight())
    assert (np.diff(reached) >= 0).all()
    for level, limit in zip(levels, reached, strict=True):
        assert found.attainment(limit * (1 + 1e-9), work.weight())[0] >= level - 1e-9


def test_percentiles_do_not_add():
    work = asked()
    made = chain("E-P-D", work)
    found = sojourn(made)
    whole = found.quantiles_s(np.array([0.99]), work.weight())[0]
    fixed = replace(found, probabilities=np.zeros_like(found.probabilities))
    parts = fixed.quantiles_s(np.array([0.99]), work.weight())[0]
    parts += sum(float(wait.quantile_s(0.99)[0]) for _, wait in made.waits(ONE))
    assert whole < parts


@pytest.mark.parametrize("text", ["EP-D", "E-PD", "E-P-D"])
def test_a_free_link_never_hurts(text):
    work = asked()
    levels = np.array([0.5, 0.9, 0.99])
    usual = sojourn(chain(text, work))
    free = sojourn(chain(text, work, bandwidth=1e6))
    assert free.mean_s(work.weight()) < usual.mean_s(work.weight())
    for a, b in zip(*(s.quantiles_s(levels, work.weight()) for s in (free, usual)), strict=True):
        assert a <= b


def test_a_first_token_from_prefill_comes_no_later():
    work = asked()
    early, late = (sojourn(chain("E-P-D", work, first_token_from=s)) for s in ("prefill", "decode"))
    assert early.mean_s(work.weight()) < late.mean_s(work.weight())
    colocated = [sojourn(chain("EPD", work, first_token_from=s)) for s in ("prefill", "decode")]
    assert colocated[0].mean_s(work.weight()) == colocated[1].mean_s(work.weight())


@pytest.mark.parametrize("pair", [("EPD", "PD"), ("EP-D", "P-D")])
def test_without_media_encoding_changes_nothing(pair):
    work = asked(None)
    levels = np.array([0.5, 0.9, 0.99])
    both = [sojourn(chain(text, work)).quantiles_s(levels, work.weight()) for text in pair]
    assert both[0] == pytest.approx(both[1], rel=1e-12)


def test_text_requests_skip_the_encode_pool():
    work = asked()
    text = np.where(work.media.present, 0.0, work.weight())
    text = text / text.sum()
    apart, without = sojourn(chain("E-P-D", work)), sojourn(chain("EP-D", work))
    encode_wait = 0
    assert (apart.probabilities[0][~work.media.present, encode_wait] == 0).all()
    # An EP pool makes texts queue behind images; of their own they take as long.
    own = apart.fixed_s[0][~work.media.present]
    assert own == pytest.approx(without.fixed_s[0][~work.media.present], rel=0.2)
    assert apart.mean_s(text) < without.mean_s(text)


def test_kv_sizes_follow_the_cache_type():
    work = asked(None)
    made = chain("P-D", work)
    choice = ONE[:, :2]
    full = made.kv_bytes(choice)
    halved = replace(made, kv_dtypes=("fp8",)).kv_bytes(choice)
    np.testing.assert_allclose(halved * 2, full)
