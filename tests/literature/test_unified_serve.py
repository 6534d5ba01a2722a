"""GPU-internal scheduling for multimodal serving (arXiv 2512.17574): what can be checked of it.

Its formulas could not be read; the laws are those of its description. Headlines (3.0 times the
requests, 4.4 times the throughput) name neither models nor accelerators that were verified, and
are not tested.
"""

import numpy as np
import pytest

from pdplan.pools.demand import demand
from pdplan.pools.itl import itl_quantiles_s
from pdplan.pools.load import Discipline, pool_table
from pdplan.pools.table import Columns
from pdplan.pools.times import stage_times
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.scenario import scenario_from
from pdplan.stages.machine import Shape
from pdplan.stages.media import core_decode_s, decode_rps, decode_s

ENGINE = load_engine("vllm")
HARDWARE = {"a100-80gb-sxm": load_hardware("a100-80gb-sxm")}
IMAGE = {"count": 1, "width": 1344, "height": 1008}


def loaded(stages, rate, **columns):
    workload = {"rate": f"{rate} req/s", "isl": 100, "osl": 200, "images": IMAGE}
    mapping = {"model": "qwen2.5-vl-7b", "hardware": ["a100-80gb-sxm"], "workload": workload}
    spec = scenario_from(mapping)
    work = demand(spec.model, spec.traffic)
    times = stage_times(stages, [Shape("a100-80gb-sxm")], HARDWARE, ENGINE, work, largest_batch=128)
    count = columns.get("instances", 1)
    return work, pool_table(times, Columns.of([0], [count], [128]), work, Discipline())


def test_clips_on_the_decoders_of_1_2_4_and_8_accelerators():
    """60 GOPs of 50 ms, 5 decoders each: 0.60, 0.30, 0.15, 0.10 s; one decoder 3.0 s."""
    assert HARDWARE["a100-80gb-sxm"].video.decoders == 5
    together = np.array([1, 2, 4, 8])
    found = decode_s(60, 0.05, 5 * together)
    assert found == pytest.approx([0.60, 0.30, 0.15, 0.10], rel=1e-12)
    assert float(decode_s(60, 0.05)) == pytest.approx(3.0, rel=1e-12)
    assert decode_rps(60, 0.05, 5 * together) / together == pytest.approx(np.full(4, 5 / 3.0))


def test_cores_take_longer_than_the_decoders_of_a_node():
    """A minute at 30 fps on 14 cores of 200 fps each against 40 decoders: 6 times as long."""
    assert float(core_decode_s(1800, 14, 200)) > 6 * float(decode_s(60, 0.05, 40))


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_encoding_in_the_loop_lengthens_every_step(rate):
    """Mean gap t (1 + lambda T_E / (1 - lambda T_E)), prefill apart: within 3 % of the law.

    With prefill in the loop as well its share b adds to that of encoding: the ratio of the paces of
    one process with and without encode is (1 - b) / (1 - b - lambda T_E), larger batches aside.
    """
    work, inside = loaded("EPD", rate)
    _, apart = loaded("PD", rate)
    encoding = rate * float(work.mean(inside.times.encode_s)[0])
    prefill = rate * float(work.mean(apart.times.marginal_s)[0])
    batches = [float(table.mean_batch[0]) for table in (inside, apart)]
    steps = [
        float(np.interp(max(n, 1), np.arange(1, 129), inside.times.step_s[0])) for n in batches
    ]
    law = (1 - prefill) / (1 - prefill - encoding) * steps[0] / steps[1]
    assert float(inside.tpot_mean_s[0] / apart.tpot_mean_s[0]) == pytest.approx(law, rel=0.03)


def test_the_worst_gap_holds_an_encoding():
    work, inside = loaded("EPD", 2.0)
    _, apart = loaded("PD", 2.0)
    level = np.array([0.995])
    worst, alone = (float(itl_quantiles_s(t, work, level)[0, 0]) for t in (inside, apart))
    assert worst > float(inside.times.encode_s[0].max())
    assert worst > alone


def test_processes_together_never_carry_less_than_split():
    """mu = G / (w_E + w_P + w_D) against the best whole G_E, for 2 to 16 accelerators."""
    _, encode = loaded("E", 1.0)
    _, rest = loaded("PD", 1.0)
    _, one = loaded("EPD", 1.0)
    e, pd = float(encode.capacity_rps[0]), float(rest.capacity_rps[0])
    for gpus in range(2, 17):
        split = max(min(n * e, (gpus - n) * pd) for n in range(1, gpus))
        shared = gpus / (1 / e + 1 / pd)
        assert split <= shared * (1 + 1e-12)
        assert gpus * float(one.capacity_rps[0]) == pytest.approx(shared, rel=0.02)
