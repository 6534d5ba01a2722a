"""Public measurements that are no single passes, against the profiles of their engines.

Bounds are the errors reached, with a small margin.
"""

import importlib
import sys
from pathlib import Path

import pytest

from pdplan.specs.catalog import names

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no measurements in {DATA}")


@pytest.fixture
def dataset(monkeypatch):
    """A module of `validation.datasets`, which is not installed."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])

    def load(name, *engines):
        missing = sorted(set(engines) - set(names("engine")))
        if missing:
            pytest.skip(f"no profile of {', '.join(missing)}")
        return importlib.import_module(f"validation.datasets.{name}")

    return load


def _by_group(scores):
    return {(score.label, score.group): score for score in scores}


# KV capacity


def test_every_capacity_is_predicted(dataset):
    module = dataset("capacity", "vllm", "distserve")
    found = module.pairs()
    assert len(found) == 1 + 76
    assert all(pair.predicted > 0 for pair in found)


def test_vllm_capacity(dataset):
    found = _by_group(dataset("capacity", "vllm", "distserve").scored())
    assert found["kv_capacity_tokens", "vllm, llama-3.1-8b"].mape < 0.01


# Vision


def test_tower_alone(dataset):
    found = _by_group(dataset("vision", "vllm", "sglang").scored())
    tower = found["encode_s", "tower on RTX 3090"]
    assert tower.points == 7
    assert tower.mape < 0.2


def test_a_1080p_image(dataset):
    found = _by_group(dataset("vision", "vllm", "sglang").scored())
    assert found["encode_s", "vLLM on H100"].mape < 0.15


def test_prompts_with_four_images(dataset):
    found = _by_group(dataset("vision", "vllm", "sglang").scored())
    assert found["ttft_s", "SGLang on H20"].mape < 0.37  # aimed at: 0.35


# MLPerf


def test_answers_are_as_long_as_the_runs(dataset):
    module = dataset("mlperf", "trtllm-2024", "vllm-2024")
    for run in module.runs():
        traffic = module.plan(run).traffic
        assert traffic.output_mean == pytest.approx(float(run["osl"]), rel=0.02)


def test_mlperf_runs(dataset):
    """TPOT at the number in service, offline throughput and the largest rate, over all runs."""
    found = _by_group(dataset("mlperf", "trtllm-2024", "vllm-2024").scored())
    assert found["largest_rate_rps", "all"].points == 19
    assert found["tpot_s in service", "all"].mape < 0.14
    assert found["offline tokens/s", "all"].mape < 0.15
    assert found["largest_rate_rps", "all"].mape < 0.22
