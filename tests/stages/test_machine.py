"""Groups of accelerators: all-reduce inside and across nodes, experts on the busiest rank."""

from dataclasses import replace

import numpy as np
import pytest

from pdplan.physics.collectives import across_nodes_s, pipelined_s
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.stages.llm import all_reduce_s, decode_pass, prefill_pass
from pdplan.stages.machine import Shape, machines

ENGINE = load_engine("vllm")
H200 = load_hardware("h200-sxm")
SIZES = np.array([[1e4, 1e6, 1e8]])


def table(*shapes):
    return machines(shapes, {"h200-sxm": H200}, ENGINE)


def test_reductions_beyond_the_domain_cross_nodes():
    m = table(*(Shape("h200-sxm", tp=tp) for tp in (1, 2, 8, 16, 32)))
    assert m.nodes[:, 0].tolist() == [1, 1, 1, 2, 4]
    found = all_reduce_s(m, SIZES)
    assert (found[0] == 0).all()
    assert (np.diff(found, axis=0) >= 0).all()
    inside = pipelined_s(2 * 7 / 8 * SIZES, m.library_latency_s[3:4], m.library_bytes_per_s[3:4])
    network = H200.scale_out.bandwidth * ENGINE.generations["hopper"].network.efficiency
    expected = across_nodes_s(inside, SIZES, 8, 2, m.exchange_latency_s[3:4], network)
    np.testing.assert_allclose(found[3:4], expected, rtol=1e-12)


def test_reductions_switch_to_the_library():
    """Beyond the kernel's limit NCCL's law holds; inside a node nothing goes over the network."""
    m = table(Shape("h200-sxm", tp=8))
    limit = m.reduce_limit_bytes.item()
    below, above = all_reduce_s(m, np.array([[limit, limit * 1.01]]))[0]
    library = pipelined_s(2 * 7 / 8 * limit * 1.01, m.library_latency_s, m.library_bytes_per_s)
    assert above == pytest.approx(library.item(), rel=1e-12)
    assert below < above
    assert np.isinf(m.node_bytes_per_s).all()


def test_a_model_over_two_nodes_waits_for_the_network():
    model = load_model("llama-3.1-405b")
    m = table(*(Shape("h200-sxm", tp=tp, weight_dtype="fp8") for tp in (8, 16)))
    found = prefill_pass(model, m, new_tokens=4000.0)
    assert np.isfinite(found.total_s).all()
    assert found.network_s[1, 0] > found.network_s[0, 0]
    assert found.compute_s[1, 0] < found.compute_s[0, 0]


@pytest.mark.parametrize("name", ["deepseek-v3", "mixtral-8x7b"])
def test_expert_parallel_waits_for_the_busiest_rank(name):
    model = load_model(name)
    split = {"weight_dtype": "fp8", "moe_dtype": "fp8"}
    even = table(Shape("h200-sxm", tp=8, ep=1, moe_tp=8, **split))
    spread = table(Shape("h200-sxm", tp=8, ep=8, moe_tp=1, **split))
    balanced = replace(spread, imbalance=np.zeros_like(spread.imbalance))

    def arithmetic(m):
        return prefill_pass(model, m, new_tokens=8000.0).compute_s.item()

    # Without imbalance it does not matter how the same arithmetic is shared out.
    assert arithmetic(balanced) == pytest.approx(arithmetic(even), rel=1e-9)
    assert arithmetic(spread) > 1.05 * arithmetic(balanced)
    roofs = [prefill_pass(model, m, new_tokens=8000.0).roof_s.item() for m in (spread, balanced)]
    assert roofs[0] == pytest.approx(roofs[1], rel=1e-9)  # imbalance is no property of silicon
    for m in (spread, balanced):
        step = decode_pass(model, m, sequences=np.array([[1.0, 64.0]]), context_tokens=2000.0)
        assert (step.total_s > step.roof_s).all()
