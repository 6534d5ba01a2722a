"""A device that is only a clock: measured, fitted, kept and read again, refused, interrupted."""

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pdplan.calibration.constants import constants, with_constants
from pdplan.calibration.formats import parts
from pdplan.calibration.kernel_csv import holds_kernels, kernels_text, read_kernels
from pdplan.calibration.kernels import SIZES, KernelObservations, fit_kernels
from pdplan.calibration.limits import impossible
from pdplan.calibration.microbenchmark import run as measuring
from pdplan.calibration.microbenchmark.accelerators import DEVICES, hardware_of
from pdplan.cli import app
from pdplan.errors import SpecError
from pdplan.specs.catalog import names
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware

_spec = spec_from_file_location("fake_torch", Path(__file__).with_name("fake_torch.py"))
fake_torch = module_from_spec(_spec)
_spec.loader.exec_module(fake_torch)

BASE = load_engine("vllm")
FACTORS = {
    "gemm.mfu.bf16": 0.85, "gemm.mfu.fp8": 1.2, "gemm.mbu.bf16": 0.9, "gemm.floor": 1.6,
    "attention.prefill_mfu": 0.8, "attention.prefill_floor": 1.5, "attention.prefill_fill": 1.4,
    "attention.decode_mbu": 0.85, "attention.decode_floor": 0.6, "encoder.attention_mfu": 0.8,
    "encoder.layer": 1.5, "collectives.library_latency": 1.5,
    "collectives.library_efficiency": 1.1,
}  # fmt: skip
TRUTH = {
    f"hopper:{path}": value * FACTORS.get(path, 1.0)
    for path, value in constants(BASE.generations["hopper"]).items()
}
HEAD = "kernel,hardware,dtype,model,tokens,inputs,outputs,images,width,height,ranks,size_bytes,"
HEAD += "measured_s\n"


def device(**changes):
    return fake_torch.Device(
        with_constants(BASE, TRUTH), "h100-sxm", load_hardware("h100-sxm"), **changes
    )


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        fake_torch.install(patch, device(), count=4)
        return measuring.measure(1e6)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(app, ["calibrate", *args])


@pytest.fixture
def few(monkeypatch):
    """The first cases only, to be quick."""
    from pdplan.calibration.microbenchmark.cases import cases

    monkeypatch.setattr(measuring, "cases", lambda *args, **kw: cases(*args, **kw)[:30])


def test_every_kernel_is_measured_and_possible(measured):
    assert (measured.hardware, measured.stopped, measured.failed) == ("h100-sxm", "", {})
    assert {one.kernel for one in measured.measurements} == set(SIZES)
    assert {one.dtype for one in measured.measurements} == {"bf16", "fp8"}
    assert {one.sizes["ranks"] for one in measured.measurements if "ranks" in one.sizes} == {2, 4}
    assert impossible(KernelObservations(measured.measurements)) == []


def test_the_fit_recovers_the_constants(measured):
    found = fit_kernels(BASE, measured.measurements)
    assert set(FACTORS) <= {name.partition(":")[2] for name in found.estimates}
    for name, each in found.estimates.items():
        rel = 0.15 if "elementwise" in name else 0.1 if "encoder" in name else 0.05
        assert each.value == pytest.approx(TRUTH[name], rel=rel), name
        assert each.low <= TRUTH[name] <= each.high
    error = np.abs(found.after / found.data.values - 1)
    assert error.mean() < 0.01 < 0.1 < np.abs(found.before / found.data.values - 1).mean()
    assert "hopper:experts.floor" in found.unfelt


def test_shares_end_at_the_peak(measured):
    fast = [replace(m, measured_s=m.measured_s / 1.3) for m in measured.measurements]
    found = fit_kernels(BASE, fast)
    shares = [each for name, each in found.estimates.items() if "mbu" in name or "mfu" in name]
    assert max(each.high for each in shares) == pytest.approx(1)


def test_outliers_are_survived(measured):
    wrong = list(measured.measurements)
    wrong[4] = replace(wrong[4], measured_s=9 * wrong[4].measured_s)
    found = fit_kernels(BASE, wrong)
    assert np.flatnonzero(~found.kept).tolist() == [4]
    for name in ("gemm.mfu.bf16", "gemm.mbu.bf16", "attention.decode_mbu"):
        assert found.estimates[f"hopper:{name}"].value == pytest.approx(
            TRUTH[f"hopper:{name}"], rel=0.05
        )


def test_a_copy_bounds_element_wise_kernels(measured):
    copies = [m for m in measured.measurements if m.kernel == "copy"]
    with pytest.raises(SpecError, match="nothing to calibrate"):
        fit_kernels(BASE, copies)
    slow = [replace(m, measured_s=4 * m.measured_s) for m in copies]
    (estimate,) = fit_kernels(BASE, slow).estimates.values()
    assert estimate.value == pytest.approx(0.9 / 4, rel=0.15)


def test_csv_round_trip(measured, tmp_path):
    path = tmp_path / "kernels.csv"
    path.write_text(kernels_text(measured.measurements))
    (part,) = parts(path)
    assert holds_kernels(part)
    back = read_kernels(part)
    assert [m.row for m in back] == [m.row for m in measured.measurements]
    assert [m.measured_s for m in back] == pytest.approx(
        [m.measured_s for m in measured.measurements], rel=1e-5
    )
    assert (back[0].source, back[0].line, back[0].run) == (str(path), 2, "complete")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("gem,h100-sxm,bf16,,1,8,8,,,,,,1", "kernel: unknown kernel 'gem'; did you mean 'gemm'?"),
        (
            "gemm,h100-sxm,bf17,,1,8,8,,,,,,1",
            "dtype: unknown dtype 'bf17'; did you mean 'bf16'?",
        ),
        (
            "gemm,h100-sx,bf16,,1,8,8,,,,,,1",
            "unknown hardware 'h100-sx'; did you mean 'h100-sxm'?",
        ),
        (
            "gemm,h100-sxm,bf16,,1,,8,,,,,,1",
            "inputs: must be a whole number above 0; got ''",
        ),
        (
            "gemm,h100-sxm,bf16,,1,8,8,,,,,,-1",
            "measured_s: must be a finite number of seconds above 0; got '-1'",
        ),
        (
            "encoder,h100-sxm,bf16,llama-3.1-8b,,,,1,448,448,,,1",
            "model: 'llama-3.1-8b' has no vision tower",
        ),
        (
            "all_reduce,h100-sxm,bf16,,,,,,,,16,8192,1",
            "ranks: must be 2 to the 8 that h100-sxm links; got 16",
        ),
    ],
)
def test_bad_rows_say_where(run, tmp_path, row, message):
    (tmp_path / "k.csv").write_text(HEAD + row + "\n")
    result = run("k.csv")
    assert (result.exit_code, result.stderr) == (2, f"k.csv:2: {message}\n")


def test_impossible_measurement(run, tmp_path):
    (tmp_path / "k.csv").write_text(HEAD + "gemm,h100-sxm,bf16,,1,4096,4096,,,,,,0.000001\n")
    result = run("k.csv")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2,
        "k.csv:2: gemm_s: 1 us is faster than silicon allows: at least 10 us on h100-sxm",
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--kernels", "k.csv"], "command line: --kernels: needs --measure"),
        (["--seconds", "5"], "command line: --seconds: needs --measure"),
        (["--measure", "--seconds", "0"], "command line: --seconds: must be 1 to 3600; got 0"),
        (["--measure", "--kernels", "k.txt"], "k.txt: must end in .csv"),
        (["--measure", "--tp", "2"], "command line: --tp: says nothing of kernels"),
        (
            ["--measure", "--kernels", "x/k.csv"],
            "x/k.csv: cannot be written: there is no folder x",
        ),
    ],
)
def test_flags_that_do_not_go(run, tmp_path, args, message):
    result = run(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", message + "\n")
    assert list(tmp_path.iterdir()) == []


def test_unknown_device(run, monkeypatch):
    fake_torch.install(monkeypatch, device(), name="NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    result = run("--measure")
    assert (result.exit_code, result.stderr) == (
        2,
        "command line: --measure: no hardware spec is known to be a 'NVIDIA H100 80GB HBM3 MIG "
        "1g.10gb'; near: h100-nvl, h100-pcie, h100-sxm; name it with --hardware ID\n",
    )
    result = run("--measure", "--hardware", "h101")
    assert (result.exit_code, result.stderr.startswith("unknown hardware 'h101'")) == (2, True)


def test_no_device(run, monkeypatch):
    fake_torch.install(monkeypatch, device(), count=0)
    result = run("--measure")
    message = "command line: --measure: needs a CUDA device; PyTorch finds none\n"
    assert (result.exit_code, result.stderr) == (2, message)


def test_names_of_devices_lead_to_specs():
    assert set(DEVICES.values()) <= set(names("hardware"))
    assert hardware_of("NVIDIA H200", names("hardware")) == "h200-sxm"


def test_measured_kept_and_read_again(run, monkeypatch, tmp_path):
    fake_torch.install(monkeypatch, device())
    result = run("--measure", "--kernels", "k.csv", "-o", "mine.yaml")
    assert result.exit_code == 0, result.stderr
    mine = yaml.safe_load((tmp_path / "mine.yaml").read_text())["generations"]["hopper"]
    assert mine["source"].endswith("in PyTorch 2.8.0 on NVIDIA H100 80GB HBM3; base profile: vllm")
    assert mine["measured"] == ["h100-sxm"]
    kinds = {f"{name}_s" for name in SIZES} - {"all_reduce_s", "copy_s"}
    assert set(mine["in_sample"]) == kinds | {"copy_bound_s"}
    again = run("k.csv", "-o", "again.yaml")
    assert again.exit_code == 0, again.stderr
    other = yaml.safe_load((tmp_path / "again.yaml").read_text())["generations"]["hopper"]
    assert other["gemm"] == mine["gemm"]
    assert other["attention"] == mine["attention"]
    planned = CliRunner().invoke(app, ["validate", "k.csv"])
    assert (planned.exit_code, planned.stderr) == (2, "k.csv: times of kernels; see calibrate\n")


def test_kernels_and_passes_are_not_mixed(run, tmp_path):
    (tmp_path / "k.csv").write_text(HEAD + "gemm,h100-sxm,bf16,,1,4096,4096,,,,,,0.00002\n")
    steps = "model,hardware,phase,batch,context,measured_ms\nllama-3.1-8b,h100-sxm,decode,1,9,9\n"
    (tmp_path / "steps.csv").write_text(steps)
    result = run("k.csv", "steps.csv")
    assert (result.exit_code, result.stderr) == (
        2,
        "kernels and whole passes are calibrated one after the other: first the kernels with "
        "-o mine.yaml, then the others with --engine mine.yaml\n",
    )


def test_what_a_device_cannot_run_is_told(few, monkeypatch):
    fake_torch.install(monkeypatch, device(), fp8=False)
    found = measuring.measure(1e6)
    assert {name.split(" tokens")[0] for name in found.failed} == {"gemm fp8"}
    assert set(found.failed.values()) == {"torch._scaled_mm is only supported on newer devices"}
    assert (found.stopped, found.left) == ("", [])
    assert {one.dtype for one in found.measurements} == {"bf16"}


def test_an_interruption_keeps_what_there_is(run, few, monkeypatch, tmp_path):
    clock = device()
    fake_torch.install(monkeypatch, clock)

    def interrupt(calls):
        if calls > 2000:
            raise KeyboardInterrupt

    clock.before_call = interrupt
    result = run("--measure", "--kernels", "k.csv", "-o", "mine.yaml")
    assert result.exit_code == 130
    assert "interrupted after " in result.stderr
    assert result.stderr.endswith(
        "wrote k.csv\nno profile written; pdplan calibrate k.csv fits what there is\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["k.csv"]
    (part,) = parts(tmp_path / "k.csv")
    kept = read_kernels(part)
    assert 0 < len(kept) < 30
    assert {one.run for one in kept} == {"partial: interrupted"}
    fitted = run("k.csv", "-o", "mine.yaml")
    assert fitted.exit_code == 0, fitted.stderr
    error = yaml.safe_load((tmp_path / "mine.yaml").read_text())["generations"]["hopper"]["error"]
    assert error.endswith(f"{len(kept)} kernels are of a run that is partial: interrupted.")


def test_interrupted_at_once(run, monkeypatch, tmp_path):
    clock = device()
    fake_torch.install(monkeypatch, clock)

    def interrupt(_):
        raise KeyboardInterrupt

    clock.before_call = interrupt
    result = run("--measure", "--kernels", "k.csv", "-o", "mine.yaml")
    assert result.exit_code == 2
    assert result.stderr.endswith("command line: --measure: nothing measured: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_time_runs_out(few, monkeypatch):
    fake_torch.install(monkeypatch, device(), count=2)
    now = iter(range(100))
    monkeypatch.setattr(measuring, "monotonic", lambda: next(now))
    found = measuring.measure(20)
    assert found.stopped == "out of time"
    assert 5 < len(found.measurements) < 20
    assert len({one.kernel for one in found.measurements}) == 6  # kinds in turn
    assert {one.run for one in found.measurements} == {"partial: out of time"}
