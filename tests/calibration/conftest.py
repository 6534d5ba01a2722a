"""Measurements that a known profile would give."""

from types import SimpleNamespace

import numpy as np
import pytest

from pdplan.calibration.constants import constants, with_constants
from pdplan.calibration.formats.row import Measured
from pdplan.calibration.observations import Observations
from pdplan.specs.engine import load_engine

BASE = load_engine("vllm")


def decode(batches=(1, 8, 32, 64, 128), contexts=(1000,), **row):
    common = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "phase": "decode", **row}
    return [common | {"batch": str(b), "context": str(c)} for b in batches for c in contexts]


def prefill(lengths=(128, 512, 2048, 8192, 32768, 65536, 100000), **row):
    common = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "phase": "prefill", **row}
    return [common | {"isl": str(isl)} for isl in lengths]


def truth(**factors):
    """The base profile with constants of hopper times factors; names with __ for a dot."""
    now = constants(BASE.constants("hopper")[0])
    paths = {path.replace("__", "."): factor for path, factor in factors.items()}
    changes = {f"hopper:{path}": now[path] * factor for path, factor in paths.items()}
    return with_constants(BASE, changes), changes


def measured(rows, engine, noise=0.0, name="latency_s"):
    """What an engine does on rows, with an error that is the same every time."""
    empty = [Measured(row, {name: 1.0}, "made.csv", i) for i, row in enumerate(rows, 2)]
    times = Observations(empty).predicted(engine)
    factors = np.exp(noise * np.random.default_rng(1).standard_normal(len(rows)))
    return [
        Measured(one.row, {name: float(time)}, one.source, one.line)
        for one, time in zip(empty, times * factors, strict=True)
    ]


@pytest.fixture(scope="session")
def made():
    return SimpleNamespace(
        base=BASE, decode=decode, prefill=prefill, truth=truth, measured=measured
    )
