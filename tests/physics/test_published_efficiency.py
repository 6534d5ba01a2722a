"""The default engine's constants reproduce published kernel measurements."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pdplan.physics.roofline import joined_s
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware
from pdplan.stages.machine import Shape, machines

LITERATURE = Path(__file__).parents[1] / "literature"
ENGINE = load_engine("vllm")


def _table(name):
    lines = (LITERATURE / name).read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    hardware = {row["hardware"] for row in rows}
    return {h: [row for row in rows if row["hardware"] == h] for h in sorted(hardware)}


def _machine(name):
    return machines([Shape(name)], {name: load_hardware(name)}, ENGINE)


def _column(rows, key):
    return np.array([[float(row[key]) for row in rows]])


def _error(predicted, measured):
    return np.abs(predicted / measured - 1)


GEMM = _table("achieved_gemm_mfu.csv")


@pytest.mark.parametrize("name", GEMM)
def test_gemm_law(name):
    """Overheads are counted apart, so that the law may run ahead of small kernels."""
    m, tokens = _machine(name), _column(GEMM[name], "tokens")
    seconds = joined_s(2 * tokens / m.flops_per_s, 2 / m.stream_bytes_per_s, m.norm)
    error = _error(2 * tokens / m.peak_flops_per_s / seconds, _column(GEMM[name], "mfu"))
    assert error.mean() < 0.12
    assert error.max() < 0.25


PREFILL = _table("achieved_prefill_attention_mfu.csv")


@pytest.mark.parametrize("name", PREFILL)
def test_prefill_attention(name):
    m, tokens = _machine(name), _column(PREFILL[name], "tokens")
    flops = 4 * 32 * 128 * tokens**2 / 2
    seconds = flops / m.prefill_attention_flops_per_s + m.prefill_attention_floor_s
    error = _error(flops / m.half_peak_flops_per_s / seconds, _column(PREFILL[name], "mfu"))
    assert error.mean() < 0.15


DECODE = _table("achieved_decode_attention.csv")


@pytest.mark.parametrize("name", DECODE)
def test_decode_attention(name):
    m, rows = _machine(name), DECODE[name]
    moved = _column(rows, "batch") * _column(rows, "context_tokens") * 2 * 8 * 128 * 2
    seconds = moved / m.decode_attention_bytes_per_s + m.decode_attention_floor_s
    error = _error(seconds, _column(rows, "latency_us") / 1e6)
    assert error.mean() < 0.08
