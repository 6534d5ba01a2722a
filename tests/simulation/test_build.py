"""Laws and prompts of a real fleet against the planner's times of the same instances."""

import numpy as np
import pytest

from pdplan.planner.evaluation import fleets_of
from pdplan.planner.simulating import _kind, _points, _serving
from pdplan.pools.times import stage_times
from pdplan.simulation.build import hops, laws
from pdplan.specs.plan_file import load_plan

TEXT = "{rate: 4 req/s, isl: {lognormal: {mean: 3000, cv: 1.5}}, osl: 200}"
IMAGES = (
    "{rate: 4 req/s, isl: 300, osl: 100, images: {count: {histogram: "
    "{values: [0, 2], weights: [1, 1]}}, width: 1280, height: 960}}"
)
PLANS = {
    "chunked": ("llama-3.1-8b", "PD", TEXT, "tp: 1"),
    "pipelined": ("llama-3.1-70b", "P-D", TEXT, "tp: 2, pp: 2"),
    "windows": ("gemma-3-27b", "PD", TEXT, "tp: 2"),
    "experts": ("gpt-oss-120b", "PD", TEXT, "tp: 2"),
    "images": ("qwen2.5-vl-7b", "EPD", IMAGES, "tp: 1"),
    "cross": ("llama-3.2-11b-vision", "EP-D", IMAGES, "tp: 1"),
}


@pytest.fixture(params=PLANS)
def fleets(request, tmp_path):
    model, placement, workload, shape = PLANS[request.param]
    pools = [
        f"  - {{name: {stages}, stages: {stages}, hardware: h100-sxm, instances: 2, {shape}}}"
        for stages in placement.split("-")
    ]
    text = f"placement: {placement}\nmodel: {model}\nworkload: {workload}\npools:\n"
    path = tmp_path / "plan.yaml"
    path.write_text(text + "\n".join(pools) + "\n")
    return fleets_of(load_plan(path))


def test_they_are_the_planner_s(fleets):
    """Steps and caches exactly; passes within 1 %, of prompts cut into chunks within 2 %."""
    fleet = fleets.first
    kinds = tuple(_kind(fleet, member) for member in fleet.members)
    serving, demand = _serving(fleet), fleet.demand
    prompts = _points(fleets, [kinds])
    assert [p.tokens for p in prompts] == demand.prompt_tokens.tolist()
    assert [p.new for p in prompts] == demand.new_tokens.tolist()
    for kind, member in zip(kinds, fleet.members, strict=True):
        times = stage_times(
            kind.stages, [member.pool.shape], dict(fleet.hardware), fleet.engine, demand,
            largest_batch=kind.largest_batch, chunk_tokens=kind.chunk_tokens,
        )  # fmt: skip
        found = laws(kind, serving)
        assert found.capacity_bytes == pytest.approx(float(times.memory.cache[0, 0]))
        assert found.pipeline == member.pool.shape.pp
        if "D" in kind.stages:
            steps = [found.step.step_s(n, demand.context_tokens) for n in range(1, 257)]
            assert steps == pytest.approx(times.step_s[0, :256], rel=2e-3)
            held = found.cache.at(demand.context_tokens)
            assert held <= float(times.sequence_bytes[0]) * (1 + 1e-9)
        if "E" in kind.stages:
            assert [p.encode_s for p in prompts] == pytest.approx(times.encode_s[0])
            assert [p.host_s for p in prompts] == pytest.approx(np.ravel(times.host_s[0]))
        if "P" in kind.stages:
            alone = [
                found.passes.prompt_s(p.new, p.tokens - p.new, found.chunk_tokens) for p in prompts
            ]
            tolerance = 0.06 if demand.media.cross_tokens.any() else 0.02
            assert alone == pytest.approx(np.broadcast_to(times.prefill_s, (1, len(alone)))[0],
                                          rel=tolerance)  # fmt: skip
        if "P" in kind.stages and "D" in kind.stages:
            assert [p.ride_s for p in prompts] == pytest.approx(times.marginal_s[0])
            assert [p.layered_s for p in prompts] == pytest.approx(times.whole_s[0])


@pytest.mark.parametrize("fleets", ["pipelined", "cross"], indirect=True)
def test_time_on_the_wire_is_the_link_s(fleets):
    fleet = fleets.first
    kinds = tuple(_kind(fleet, member) for member in fleet.members)
    link = fleet.chain().kv_link(np.zeros((1, len(kinds)), np.int64))
    size = fleet.chain().kv_bytes(np.zeros((1, len(kinds)), np.int64))
    prompts = _points(fleets, [kinds])
    assert [p.kv_wire_s for p in prompts] == pytest.approx(link.moving_s(size)[0])
    (hop,) = hops(kinds, _serving(fleet))
    assert hop.latency_s == pytest.approx(float(link.latency_s[0, 0]))
    assert hop.layers == link.layers
