"""A profile that is known is found again; what is not told stays; physics holds."""

import re
from dataclasses import replace

import numpy as np
import pytest

from pdplan.calibration.calibrate import calibrate, noise
from pdplan.calibration.constants import constants
from pdplan.calibration.fit import NOISE
from pdplan.calibration.fitted_profile import checked_text, fitted_profile
from pdplan.calibration.held_out import held_out
from pdplan.calibration.observations import Observations
from pdplan.errors import SpecError
from pdplan.specs.engine import load_engine

SLOW = {"gemm__mbu__bf16": 0.75, "overhead__sequence": 3.0}
GRID = {"batches": (1, 4, 16, 64, 128, 256), "contexts": (200, 2000, 8000)}


def mape(scores):
    return {score.output: score.mape for score in scores}


def test_moved_constants_are_found_within_a_few_percent(made):
    true, changes = made.truth(**SLOW, attention__prefill_mfu=0.7)
    data = Observations(made.measured(made.decode(**GRID) + made.prefill(), true))
    found = calibrate(data, made.base)
    for name, value in changes.items():
        assert found.estimates[name].value == pytest.approx(value, rel=0.06)
        assert found.estimates[name].low < value < found.estimates[name].high
    assert max(mape(found.errors(found.after)).values()) < 0.02
    assert min(mape(found.errors(found.before)).values()) > 0.03


def test_outliers_are_survived_and_named(made):
    true, changes = made.truth(**SLOW)
    rows = made.measured(made.decode(**GRID), true, noise=0.02)
    for i in (3, 11):
        rows[i] = replace(rows[i], values={"latency_s": 7 * rows[i].values["latency_s"]})
    found = calibrate(Observations(rows), made.base)
    assert np.flatnonzero(~found.kept).tolist() == [3, 11]
    for name, value in changes.items():
        assert found.estimates[name].value == pytest.approx(value, rel=0.1)


def test_five_steps_of_one_accelerator_improve_the_errors(made):
    true, changes = made.truth(gemm__mbu__bf16=0.7)
    found = calibrate(Observations(made.measured(made.decode(), true)), made.base)
    (name, value) = next(iter(changes.items()))
    assert found.estimates[name].value == pytest.approx(value, rel=0.1)
    before, after = mape(found.errors(found.before)), mape(found.errors(found.after))
    assert after["decode_s"] < before["decode_s"] / 3


def test_what_is_not_told_is_the_bases(made):
    true, _ = made.truth(**SLOW)
    found = calibrate(Observations(made.measured(made.decode(), true)), made.base)
    now = constants(found.engine.generations["hopper"])
    old = constants(made.base.generations["hopper"])
    assert found.untold
    assert {p for p in now if now[p] != old[p]} == {n.split(":")[1] for n in found.estimates}
    assert all(each.told for each in found.estimates.values())
    assert found.engine.generations["ampere"] == made.base.generations["ampere"]


def test_shares_stay_within_physics(made):
    rows = made.measured(made.decode(**GRID), made.base)
    faster = [replace(r, values={"latency_s": 0.8 * r.values["latency_s"]}) for r in rows]
    found = calibrate(Observations(faster), made.base)
    profile = fitted_profile(found, (), name="fast", files=["made.csv"])
    gemm = profile.generations["hopper"].gemm
    assert max(*gemm.mbu.values(), *gemm.mfu.values()) <= 1
    checked_text(profile, "fast.yaml")


def test_only_some(made):
    true, _ = made.truth(**SLOW)
    data = Observations(made.measured(made.decode(**GRID), true))
    found = calibrate(data, made.base, only=["gemm.mbu", "hopper:overhead.sequence"])
    assert list(found.estimates) == ["hopper:gemm.mbu.bf16", "hopper:overhead.sequence"]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (
            ["gem.mbu"],
            "command line: --only: no constant 'gem.mbu' of what was measured; "
            "did you mean 'gemm.mbu'?",
        ),
        (
            ["sequence"],
            "command line: --only: no constant 'sequence' of what was measured; "
            "did you mean 'overhead.sequence'?",
        ),
        (
            ["ampere:gemm"],
            "command line: --only: no constant 'ampere:gemm' of what was measured; "
            "did you mean 'gemm' or 'gemm.mbu' or 'gemm.mfu' or 'gemm.elementwise_mbu'?",
        ),
        (
            ["experts.imbalance"],
            "nothing to calibrate: not identified by these 5 numbers:\n"
            "experts.imbalance: no prediction depends on it; "
            "needs a mixture-of-experts model with ep > 1",
        ),
        (
            ["gemm.mbu", "experts.imbalance"],
            "not identified by these 5 numbers:\n"
            "experts.imbalance: no prediction depends on it; "
            "needs a mixture-of-experts model with ep > 1",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(made, only, message):
    data = Observations(made.measured(made.decode(), made.base))
    with pytest.raises(SpecError) as error:
        calibrate(data, made.base, only=only)
    assert str(error.value) == message


def test_nothing_identified_says_what_to_measure(made):
    data = Observations(made.measured(made.decode((1,)), made.base))
    with pytest.raises(SpecError) as error:
        calibrate(data, made.base, only=["overhead.sequence"])
    assert re.fullmatch(
        r"nothing to calibrate: not identified by this number:\n"
        r"hopper:overhead\.sequence: \d+% of its uncertainty is left; vary the batch",
        str(error.value),
    )


def test_memory_alone_identifies_nothing(made):
    rows = made.measured(made.decode(), made.base, name="kv_capacity_tokens")
    with pytest.raises(SpecError, match=r"^nothing to calibrate: .*\n.*: no prediction depends"):
        calibrate(Observations(rows), made.base)


@pytest.mark.parametrize(
    ("rows", "by"),
    [
        ([{"model": "llama-3.1-8b"}, {"model": "qwen3-14b"}], "each model"),
        ([{"hardware": "h100-sxm"}, {"hardware": "h200-sxm"}], "each hardware"),
        ([{"tp": "1"}, {"tp": "2"}], "each parallelism"),
        ([{}, {"kv_dtype": "fp8"}], "5 folds"),
    ],
)
def test_errors_are_held_out_by_groups(made, rows, by):
    true, _ = made.truth(**SLOW)
    all_rows = [row for extra in rows for row in made.decode(**extra)]
    found = calibrate(Observations(made.measured(all_rows, true, noise=0.02)), made.base)
    (apart,) = held_out(found)
    (score,) = apart.errors
    before = mape(found.errors(found.before))["decode_s"]
    assert (apart.by, score.points) == (by, 10)
    assert mape(found.errors(found.after))["decode_s"] <= score.mape < before


def test_few_points_alike_have_no_held_out_error(made):
    true, _ = made.truth(**SLOW)
    (apart,) = held_out(calibrate(Observations(made.measured(made.decode(), true)), made.base))
    assert apart.by == "none, one model, hardware and parallelism, and fewer than 8 points"
    assert apart.errors == ()


def test_a_generation_that_the_base_borrows_gets_its_own_constants(made, tmp_path):
    rows = made.measured(made.decode(hardware="t4", weight_dtype="int8"), made.base)
    slower = [replace(r, values={"latency_s": 1.5 * r.values["latency_s"]}) for r in rows]
    data = Observations(slower)
    (generation,) = data.generations
    assert generation not in made.base.generations
    found = calibrate(data, made.base)
    profile = fitted_profile(found, held_out(found), name="mine", files=["a.csv", "b.csv"])
    path = tmp_path / "mine.yaml"
    path.write_text(checked_text(profile, "mine.yaml"))
    back = load_engine(str(path))
    mine, origin = back.constants(generation, "t4")
    assert (origin, mine.origin, mine.points, mine.measured) == ("user", "fitted", 5, ("t4",))
    assert generation not in back.transferred
    assert mine.source == "pdplan calibrate: 5 measurements in a.csv, b.csv; base profile: vllm"
    assert mine.in_sample.keys() == {"decode_s"}
    assert mine.intervals.keys() == {name.split(":")[1] for name in found.estimates}


def test_percentiles_of_one_run_count_as_one_measurement(made):
    (row,) = made.decode((1,), phase="serve", isl="1000", osl="100", concurrency="16")
    values = {"ttft_mean_s": 1.0, "ttft_p99_s": 2.0, "tpot_mean_s": 0.1, "throughput_rps": 9.0}
    values |= {"ttft_p50_s": 1.0, "ttft_p90_s": 1.0}
    one = replace(made.measured([row], made.base)[0], values=values)
    weights = noise(Observations([one, one])) / NOISE
    assert weights.tolist() == [2.0, 2.0, 1.0, 1.0, 2.0, 2.0] * 2


def test_a_constant_far_from_the_base_is_named(made):
    rows = made.measured(made.decode(), made.base)
    slower = [replace(r, values={"latency_s": 6 * r.values["latency_s"]}) for r in rows]
    found = calibrate(Observations(slower), made.base)
    assert found.implausible
    assert all(not 0.5 < factor < 2 for factor in found.implausible.values())
