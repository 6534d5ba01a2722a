"""The accelerator of this machine timed through PyTorch, for `calibrate --measure`.

PyTorch's kernels stand in for an engine's: products come from the same libraries, attention is
the fastest fused kernel that PyTorch has, all-reduces are the library's. Works with builds for
CUDA and for ROCm, which have the same interface.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import groupby
from pathlib import Path
from time import monotonic
from types import ModuleType

from pdplan.calibration.kernels import KernelMeasurement
from pdplan.calibration.microbenchmark import operators, towers
from pdplan.calibration.microbenchmark.accelerators import hardware_of
from pdplan.calibration.microbenchmark.cases import Case, cases
from pdplan.calibration.microbenchmark.collectives import all_reduces_s
from pdplan.calibration.microbenchmark.timing import Work, median_s
from pdplan.specs.catalog import names
from pdplan.specs.hardware import load_hardware

SECONDS = 60.0
TOGETHER = 0.3
"""Share of the time that is left to all-reduces where there are several devices."""
TIMED = 0.5
"""Share of a case's time that readings may take; the rest goes into making its operands."""
INTERRUPTED, OUT_OF_TIME = "interrupted", "out of time"
WORK: Mapping[str, Callable[[ModuleType, Case], Work]] = {
    "gemm": operators.gemm,
    "prefill_attention": operators.prefill_attention,
    "decode_attention": operators.decode_attention,
    "copy": operators.copy,
    "encoder": towers.encoder,
}


@dataclass(slots=True)
class Run:
    """What a benchmark measured, and what it did not."""

    device: str
    """As its driver names it."""
    software: str
    hardware: str
    measurements: list[KernelMeasurement] = field(default_factory=list)
    left: list[Case] = field(default_factory=list)
    """Not measured, for want of time."""
    failed: dict[str, str] = field(default_factory=dict)
    """What this device or software cannot run, and why."""
    stopped: str = ""
    """Why it ended early."""

    def labelled(self) -> "Run":
        """The same, every measurement saying whether all of them are there."""
        label = f"partial: {self.stopped}" if self.stopped else "complete"
        return replace(self, measurements=[replace(m, run=label) for m in self.measurements])

    def add(self, case: Case, seconds: float) -> None:
        """Note a time."""
        self.measurements.append(
            KernelMeasurement(
                case.kernel, self.hardware, case.dtype, case.sizes, seconds, case.model
            )
        )


def measure(
    seconds: float = SECONDS,
    *,
    hardware: str = "",
    specs_dir: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Run:
    """Time kernels of the first device for about `seconds`; an interruption keeps what there is.

    hardware is the id of its spec where the device's name does not tell; raises SpecError.
    """
    torch = import_module("torch")
    device = str(torch.cuda.get_device_name(0))
    hardware = hardware or hardware_of(device, names("hardware", specs_dir))
    spec = load_hardware(hardware, specs_dir)
    run = Run(device, f"PyTorch {torch.__version__}", hardware)
    alike = sum(str(torch.cuda.get_device_name(i)) == device for i in range(_devices(torch)))
    fp8 = bool(spec.compute.fp8) and hasattr(torch, "_scaled_mm")
    everything = cases(spec, fp8=fp8, devices=alike)
    together = [case for case in everything if case.kernel == "all_reduce"]
    alone = [case for case in everything if case.kernel != "all_reduce"]
    end = monotonic() + seconds
    progress(f"measuring {device} as {hardware}: {len(everything)} kernels in {seconds:g} s")
    try:
        _alone(torch, run, alone, end - TOGETHER * seconds * bool(together))
        _together(torch, run, together, end)
    except KeyboardInterrupt:
        run.stopped = INTERRUPTED
    done = {str(m) for m in run.measurements} | set(run.failed)
    run.left = [case for case in everything if str(case) not in done]
    if run.left and not run.stopped:
        run.stopped = OUT_OF_TIME
    return run.labelled()


def _devices(torch: ModuleType) -> int:
    return int(torch.cuda.device_count())


def _alone(torch: ModuleType, run: Run, todo: Sequence[Case], end: float) -> None:
    with torch.inference_mode():
        for at, case in enumerate(todo):
            left = end - monotonic()
            if left <= 0:
                return
            try:
                work = WORK[case.kernel](torch, case)
                run.add(case, median_s(torch, work, TIMED * left / (len(todo) - at)))
            except RuntimeError as error:
                run.failed[str(case)] = _first_line(error)
            work = None  # type: ignore[assignment]  # so that its operands can go
            torch.cuda.empty_cache()


def _together(torch: ModuleType, run: Run, todo: Sequence[Case], end: float) -> None:
    for ranks, group in groupby(
        sorted(todo, key=lambda case: tuple(case.sizes.values())), lambda case: case.sizes["ranks"]
    ):
        same = list(group)
        if end <= monotonic():
            return
        sizes = [case.sizes["size_bytes"] for case in same]
        try:
            times = all_reduces_s(ranks, sizes)
        except (RuntimeError, OSError) as error:
            run.failed |= {str(case): _first_line(error) for case in same}
            continue
        for case, seconds in zip(same, times, strict=True):
            run.add(case, seconds)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
