"""Times of single kernels as measurements that a profile can be fitted to."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pdplan.calibration.calibrate import Calibration, calibrate
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.kernel_laws import LAWS, ROOFS, Group
from pdplan.physics.roofline import Floats
from pdplan.specs.engine import EngineSpec, load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.specs.model import load_model
from pdplan.stages.machine import Shape, machines

SIZES = {
    "gemm": ("tokens", "inputs", "outputs"),
    "prefill_attention": ("batch", "new_tokens", "heads", "kv_heads", "head_dim"),
    "decode_attention": ("batch", "context_tokens", "heads", "kv_heads", "head_dim"),
    "copy": ("size_bytes",),
    "all_reduce": ("ranks", "size_bytes"),
    "encoder": ("images", "width", "height"),
}
"""What says how large a kernel is; an encoder is the vision tower of a model."""
LABELS = {"copy": "copy_bound_s"}
"""A copy only bounds element-wise kernels, so its error says how far the bound is passed."""


@dataclass(frozen=True, slots=True)
class KernelMeasurement:
    """One timed kernel, or one forward pass of a vision tower."""

    kernel: str
    hardware: str
    dtype: str
    """Type of its operands, weights included."""
    sizes: Mapping[str, int]
    measured_s: float
    model: str = ""
    """Whose vision tower ran."""
    run: str = "complete"
    """Whether the run it is of ended as planned, else why not."""
    source: str = ""
    line: int | None = None

    def __str__(self) -> str:
        said = (f"{name}={value}" for name, value in self.sizes.items())
        return " ".join((self.kernel, self.dtype, *filter(None, (self.model,)), *said))

    @property
    def row(self) -> dict[str, str]:
        """What was run, as text."""
        known = {"kernel": self.kernel, "hardware": self.hardware, "dtype": self.dtype}
        model = {"model": self.model} if self.model else {}
        return known | model | {name: str(value) for name, value in self.sizes.items()}


@dataclass(slots=True, eq=False)
class KernelObservations:
    """Times of kernels with their predictions: `Numbers`."""

    kernels: Sequence[KernelMeasurement]
    specs_dir: Path | None = None
    measured: list[Measured] = field(init=False)
    index: NDArray[np.intp] = field(init=False)
    names: list[str] = field(init=False)
    values: Floats = field(init=False)
    labels: list[str] = field(init=False)
    _groups: list[Group] = field(init=False)

    def __post_init__(self) -> None:
        """Lay the measurements out as columns."""
        self.measured = [
            Measured(one.row, {"latency_s": one.measured_s}, one.source or str(one), one.line)
            for one in self.kernels
        ]
        self.index = np.arange(len(self.kernels))
        self.names = ["latency_s"] * len(self.kernels)
        self.values = np.array([one.measured_s for one in self.kernels], float)
        self.labels = [LABELS.get(one.kernel, f"{one.kernel}_s") for one in self.kernels]
        self._groups = self._grouped()

    def __len__(self) -> int:
        return len(self.kernels)

    @property
    def generations(self) -> list[str]:
        """Hardware generations that were measured."""
        return sorted({group.hardware.generation for group in self._groups})

    def said(self, i: int, column: str) -> str:
        """What a measurement is; models and parallelism do not tell kernels apart."""
        one = self.kernels[i]
        if column == "generation":
            return load_hardware(one.hardware, self.specs_dir).generation
        return {"hardware": one.hardware, "phase": one.kernel}.get(column, "")

    def only(self, kept: NDArray[np.bool_]) -> Self:
        """Some of them."""
        some = [one for one, keep in zip(self.kernels, kept, strict=True) if keep]
        return type(self)(some, self.specs_dir)

    def predicted(self, engine: EngineSpec | None = None, generation: str | None = None) -> Floats:
        """Times by the laws that the planner uses, with a profile [N]."""
        return self._by_group(LAWS, engine or load_engine("vllm"), generation)

    def limits(self) -> Floats:
        """Least time of each at the datasheet's rates [N]."""
        return self._by_group(ROOFS, load_engine("vllm"), None)

    def _by_group(
        self,
        laws: Mapping[str, Callable[[Group], Floats]],
        engine: EngineSpec,
        generation: str | None,
    ) -> Floats:
        found = np.full(len(self), np.nan)
        for group in self._groups:
            if generation in (None, group.hardware.generation):
                table = machines([group.shape], {group.shape.hardware: group.hardware}, engine)
                found[group.places] = laws[group.kernel](group.on(table))
        return found

    def _grouped(self) -> list[Group]:
        members: dict[tuple[str, str, str, str, int], list[int]] = {}
        for i, one in enumerate(self.kernels):
            ranks = one.sizes.get("ranks", 1)
            key = (one.kernel, one.hardware, one.dtype, one.model, ranks)
            members.setdefault(key, []).append(i)
        return [
            Group(
                kernel=kernel,
                hardware=load_hardware(hardware, self.specs_dir),
                shape=Shape(hardware, tp=ranks, weight_dtype=dtype),
                vision=load_model(model, self.specs_dir).vision if model else None,
                places=np.array(places),
                sizes={
                    name: np.array([self.kernels[i].sizes[name] for i in places], float)
                    for name in SIZES[kernel]
                },
                measured_s=self.values[places],
            )
            for (kernel, hardware, dtype, model, ranks), places in members.items()
        ]


def fit_kernels(
    base: EngineSpec,
    measurements: Sequence[KernelMeasurement],
    *,
    only: Collection[str] = (),
    specs_dir: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Fit the constants of the kernels' laws, as `calibrate` fits those of whole passes.

    Robust on log residuals, with the base's values as priors, shares at most 1 and 95 % intervals;
    constants that the kernels do not tell stay. Raises SpecError where none is told.
    """
    data = KernelObservations(measurements, specs_dir)
    return calibrate(data, base, only=only, progress=progress)
