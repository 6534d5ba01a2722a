"""The stage M through solve: what it replaces, what it reduces to, and where it binds."""

import pytest

from pdplan import solve
from pdplan.errors import UnfitError
from pdplan.planner import evaluate
from pdplan.planner.verifying import spec_of
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

NAME = "unified-serve"
GOPS = {"gop_frames": 30, "gop_time": "50 ms", "frames_per_sample": 30}
VIDEO = {
    "rate": "2 req/s",
    "isl": 60,
    "osl": 50,
    "video": {"seconds": 60, "fps": 1, "width": 1280, "height": 720},
    "ttft": "8 s",
    "tpot": "100 ms",
}
TEXT = {"rate": "4 req/s", "isl": 900, "osl": 120, "ttft": "2 s", "tpot": "60 ms"}
MIXED = ("M-EPD", "M-E-P-D", "M-E-PD", "M-EP-D")


def asked(placement=None, workload=VIDEO, engine=None, **keys):
    mapping = {"model": "qwen2.5-vl-7b", "hardware": ["a100-80gb-sxm"], "workload": workload}
    search = {"tp": [1]} | ({"placements": [placement]} if placement else {})
    options = {"options": {"media_engine": engine}} if engine else {}
    return scenario_from(mapping | {"search": search | keys.pop("search", {})} | options | keys)


def engine(kind, **keys):
    return {"engine": kind} | (GOPS if kind != "cpu" else {"frames_per_sample": 30}) | keys


def test_text_alone_is_prefill_and_decode_in_one_process():
    """A14-7: without media nothing is left of encode and media; the rest is `(P-D)`."""
    plan = solve(applied(asked(workload=TEXT), NAME, load_system(NAME)))
    same = solve(asked("(P-D)", workload=TEXT))
    assert plan.placement == same.placement == "(P-D)"
    assert plan.pools == same.pools
    assert plan.prediction == same.prediction
    with pytest.raises(UnfitError, match="no request carries media: the same as PD"):
        solve(asked("M-EPD", workload=TEXT, engine=engine("flashcodec")))


@pytest.mark.parametrize("placement", MIXED)
def test_the_stage_costs_nothing_and_reads_back(placement):
    scenario = asked(placement, engine=engine("flashcodec"))
    plan = solve(scenario)
    media, *others = plan.pools
    assert (media.stages, media.gpus, media.usd_per_hour) == ("M", 0, 0.0)
    assert sum(pool.gpus for pool in others) == plan.gpus
    assert media.options["shares_devices_with"] == others[0].name
    assert media.utilization * media.capacity_rps == pytest.approx(2.0)
    again = evaluate(spec_of(plan, scenario))
    assert again.pools == plan.pools
    assert again.prediction == plan.prediction


@pytest.mark.parametrize("placement", ["EPD", "E-P-D"])
def test_without_the_stage_the_option_changes_nothing(placement):
    plain, same = (solve(asked(placement, engine=e)) for e in (None, engine("flashcodec")))
    assert plain.pools == same.pools
    assert plain.prediction == same.prediction
    assert same.options is None


def encode_s(kind, **keys):
    """Time before and in encode of a fleet of the same size."""
    search = {"roles": {"EPD": {"instances": 20}}}
    plan = solve(asked("M-EPD", engine=engine(kind, **keys), search=search))
    terms = plan.prediction.ttft_terms_s
    return terms.encode_wait + terms.encode, plan


def test_decoding_dominates_on_the_host_and_not_on_all_decoders():
    """A14-2: 60 s clips on 14 cores, one decoder, the decoders of 8 accelerators."""
    found = {kind: encode_s(kind) for kind in ("cpu", "nvdec", "flashcodec")}
    bare = found["flashcodec"][1].prediction
    device = bare.ttft_terms_s.encode - 0.10
    decoding = {kind: seconds - device for kind, (seconds, _) in found.items()}
    assert decoding["flashcodec"] == pytest.approx(0.10, abs=0.02)
    assert decoding["nvdec"] == pytest.approx(3.0, rel=0.02)
    assert decoding["nvdec"] > 0.5 * found["nvdec"][1].prediction.ttft_s.mean
    capacities = [found[kind][1].pools[0].capacity_rps for kind in ("nvdec", "flashcodec")]
    assert capacities[0] == pytest.approx(capacities[1])


def test_slow_cores_need_more_accelerators():
    """Cores and decoders are finite: where they bind, the fleet grows with them."""
    quick, slow = (solve(asked("M-E-P-D", engine=engine("cpu", cores=cores))) for cores in (64, 2))
    assert slow.pools[0].utilization <= 0.995
    assert slow.pools[1].instances > quick.pools[1].instances


def test_work_conserving_bound():
    """One process mu = G / (w_E + w_P + w_D); split the best whole G_E: never more than it.

    Capacities of the pools give w; the gain is the loss by whole accelerators.
    """
    gpus = 20
    one = solve(asked("EPD", search={"roles": {"EPD": {"instances": gpus}}})).pools[0]
    split = solve(asked("E-PD"))
    each = {pool.stages: pool.capacity_rps / pool.instances for pool in split.pools}
    whole = max(min(n * each["E"], (gpus - n) * each["PD"]) for n in range(1, gpus))
    shared = gpus / (1 / each["E"] + 1 / each["PD"])
    assert whole <= shared
    assert one.capacity_rps == pytest.approx(shared, rel=0.05)


def test_encoding_in_the_loop_stalls_decode():
    """A14-6: the worst gaps hold an encoding, T_E, where it is in the loop; apart they are shorter.

    As many instances decode in both.
    """
    inside = solve(asked("EPD", search={"roles": {"EPD": {"instances": 14}}}))
    apart = solve(asked("E-PD", search={"roles": {"PD": {"instances": 14}}}))
    encoder = apart.pools[0]
    encoding = encoder.instances / encoder.capacity_rps
    assert inside.prediction.itl_s.p99 > encoding > 0.5
    assert apart.prediction.itl_s.p99 < inside.prediction.itl_s.p99 - 0.2 * encoding


def test_frames_take_room_from_the_cache():
    roles = {"roles": {"EPD": {"instances": 20}}}
    host, device = (
        solve(asked("M-EPD", engine=engine(kind), search=roles)).pools[1].kv_capacity_tokens
        for kind in ("cpu", "nvdec")
    )
    assert device < host


def test_a_simulation_says_that_it_does_not_follow_the_stage():
    from pdplan.planner import simulate

    scenario = asked("M-EPD", engine=engine("flashcodec"))
    with pytest.raises(UnfitError, match="does not follow option media_engine"):
        simulate(spec_of(solve(scenario), scenario), requests=100)
