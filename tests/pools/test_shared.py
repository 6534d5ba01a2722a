"""Processes on the same devices: memory, compute shares, interference."""

from dataclasses import replace

import numpy as np
import pytest

from pdplan.pools.demand import demand
from pdplan.pools.interference import slowdowns
from pdplan.pools.load import Discipline, occupancy, pool_table
from pdplan.pools.shared import share_rows, shared, shared_tables_of
from pdplan.pools.table import Columns
from pdplan.pools.times import stage_times
from pdplan.queueing.compute_share import passes_busy
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.specs.options.sharing import SENSITIVITY, Sharing
from pdplan.specs.scenario import scenario_from
from pdplan.stages.machine import Shape

ENGINE = load_engine("vllm")
HARDWARE = {"h100-sxm": load_hardware("h100-sxm")}
SHAPES = [Shape("h100-sxm"), Shape("h100-sxm", tp=2)]
VISION = {
    "rate": "4 req/s",
    "isl": {"lognormal": {"mean": 800, "cv": 0.5}},
    "osl": {"lognormal": {"mean": 200, "cv": 0.8}},
    "images": {"count": 1, "width": 1280, "height": 720},
}
COLUMNS = Columns.of([0, 0, 1, 1], [1, 3, 1, 2], [32, 64, 128, 256])
FREE, APART = Sharing(shares="none"), Sharing(shares="none", interference=dict.fromkeys(
    ("EP", "ED", "PD"), 1.0))  # fmt: skip


@pytest.fixture(scope="module")
def work():
    mapping = {"model": "qwen2.5-vl-7b", "hardware": ["h100-sxm"], "workload": VISION}
    return demand(load_model("qwen2.5-vl-7b"), scenario_from(mapping).traffic)


def timed(stages, work, shapes=SHAPES):
    return stage_times(stages, shapes, HARDWARE, ENGINE, work, largest_batch=256)


def group(unit, work, sharing):
    return shared([timed(s, work) for s in unit], share_rows(unit, sharing), sharing, work)


def test_a_grid_of_three_shares_is_a_simplex():
    rows = share_rows(("E", "P", "D"), Sharing(shares="divided"))
    assert rows.shape == (36, 3)
    assert rows.sum(axis=1) == pytest.approx(np.ones(36))
    assert rows.min() == pytest.approx(0.1)


def test_the_host_takes_no_compute_units():
    rows = share_rows(("M", "E", "P"), Sharing(shares="divided", step=0.5))
    assert rows.tolist() == [[1.0, 0.5, 0.5]]


def test_given_shares_are_taken_as_they_are():
    assert share_rows(("P", "D"), Sharing(shares={"P": 0.55, "D": 0.3})).tolist() == [[0.55, 0.3]]


def test_stages_slow_down_by_their_sensitivity(work):
    on = group(("P", "D"), work, Sharing(shares={"P": 0.4, "D": 0.5}))
    prefill, decode = timed("P", work), timed("D", work)
    assert on.processes[0].prefill_s == pytest.approx(prefill.prefill_s / 0.4)
    s = SENSITIVITY["D"]
    assert on.processes[1].step_s == pytest.approx(decode.step_s * (1 - s + s / 0.5))


def test_weights_are_held_once_and_activations_by_each(work):
    on = group(("E", "P", "D"), work, FREE)
    alone = {stages: timed(stages, work) for stages in ("E", "EP", "P", "D")}
    memory = on.processes[0].memory
    assert memory.weights == pytest.approx(alone["EP"].memory.weights)
    parts = sum(alone[stages].memory.activations for stages in "EPD")
    assert memory.activations == pytest.approx(parts)
    assert all(times.memory is not alone["D"].memory for times in on.processes)
    cache = memory.limit - memory.weights - memory.activations - memory.reserve
    assert memory.cache == pytest.approx(cache * memory.cache_share)


def test_prompts_in_prefill_take_room_in_the_one_cache(work):
    on, decode = group(("P", "D"), work, FREE), timed("D", work)
    assert (on.processes[1].resident < decode.resident).all()
    assert (on.processes[1].resident > 0.8 * decode.resident).all()


def test_encode_beside_decode_holds_the_towers_too(work):
    on, decode = group(("E", "D"), work, FREE), timed("D", work)
    model = work.model.parameters()
    towers = (model.vision + model.projector + model.audio) * 2
    extra = on.processes[1].memory.weights - decode.memory.weights
    assert extra[:, 0] == pytest.approx([towers, towers / 2])


def test_divided_processes_are_pools_on_slower_devices(work):
    on = group(("P", "D"), work, Sharing(shares={"P": 0.5, "D": 0.5}))
    tables = shared_tables_of(on, COLUMNS, work, Discipline())
    for times, table in zip(on.processes, tables, strict=True):
        alone = pool_table(times, COLUMNS, work, Discipline())
        assert table.utilization.tolist() == alone.utilization.tolist()
        assert table.prefill_s.tolist() == alone.prefill_s.tolist()
    assert tables[0].extras == ((("compute_share", 0.5),),) * 4


def test_processes_that_do_not_interfere_are_pools_of_their_own(work):
    """With slowdowns of 1, sharing costs memory alone."""
    on = group(("E", "P", "D"), work, APART)
    tables = shared_tables_of(on, COLUMNS, work, Discipline())
    for stages, table in zip(("E", "P", "D"), tables, strict=True):
        alone = pool_table(timed(stages, work), COLUMNS, work, Discipline())
        assert table.utilization == pytest.approx(alone.utilization, rel=1e-12)
        assert table.encode_s == pytest.approx(alone.encode_s, rel=1e-12)
        assert table.prefill_s == pytest.approx(alone.prefill_s, rel=1e-12)


def test_slowdowns_solve_their_equation(work):
    """Encode and prefill: both busy shares recomputed at the slowdowns found."""
    on = group(("E", "P"), work, FREE)
    encode, prefill = slowdowns(on.processes, COLUMNS, work, FREE)
    c, rate = COLUMNS.config, work.rate_rps / COLUMNS.instances
    e, p = on.processes
    found = occupancy(p, work)
    rest = work.mean(p.prefill_s)[c] - found.base_s[c]
    busy_e = rate * work.mean(e.encode_s)[c] * encode["E"]
    busy_p = passes_busy(rate, found.base_s[c] * prefill["P"], rest * prefill["P"])
    assert encode["E"] == pytest.approx(1 + 0.25 * busy_p, abs=1e-9)
    assert prefill["P"] == pytest.approx(1 + 0.25 * busy_e, abs=1e-9)
    assert (busy_e > 0.01).all()


def test_idle_processes_do_not_slow_others(work):
    idle = replace(work, traffic=replace(work.traffic, rate_rps=1e-9))
    on = group(("E", "PD"), idle, FREE)
    for factors in slowdowns(on.processes, COLUMNS, idle, FREE):
        for values in factors.values():
            assert values == pytest.approx(np.ones(4), abs=1e-6)


def test_overload_slows_by_the_whole_matrix(work):
    busy = replace(work, traffic=replace(work.traffic, rate_rps=1e6))
    on = group(("P", "D"), busy, FREE)
    prefill, decode = slowdowns(on.processes, COLUMNS, busy, FREE)
    assert prefill["P"] == pytest.approx(np.full(4, 1.5))
    assert decode["D"] == pytest.approx(np.full(4, 1.5))


def test_stages_of_one_process_do_not_interfere_with_each_other(work):
    on = group(("EP", "D"), work, Sharing(shares="none", interference={"ED": 1.0, "PD": 1.0}))
    for factors in slowdowns(on.processes, COLUMNS, work, on.sharing):
        for values in factors.values():
            assert values == pytest.approx(np.ones(4))


def test_spread_of_steps_grows_with_the_share(work):
    """Standard deviation of TPOT scales with the step, contexts included."""
    from pdplan.pools.context_spread import context_variance

    on = group(("P", "D"), work, Sharing(shares={"P": 0.5, "D": 0.5}))
    table = shared_tables_of(on, COLUMNS, work, Discipline())[1]
    alone = replace(table, times=replace(table.times, slowdown=1.0))
    factor = 1 + SENSITIVITY["D"]
    grown = context_variance(table, work) / context_variance(alone, work)
    assert grown == pytest.approx(np.full(4, factor**2))
