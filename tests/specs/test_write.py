"""What a plan file says of the workload reads back as the very same traffic."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from pdplan.specs.scenario import scenario_from
from pdplan.specs.traffic import traffic
from pdplan.specs.workload import WorkloadSpec
from pdplan.specs.write import workload_mapping, workload_text

TEXT = {"isl": {"lognormal": {"mean": 700, "cv": 1}}, "osl": 50, "ttft": "0.9 s"}
IMAGES = {"count": {"uniform": {"min": 0, "max": 3}}, "width": 640, "height": 480}
WORKLOADS = {
    "plain": TEXT,
    "bursts": TEXT
    | {"arrival_scv": 2.0, "burst": {"factor": 3.5, "share": 0.2, "length": "1 min"}},
    "a day": TEXT | {"profile": {"relative": [1, 2, 3.3, 0], "period": "12 h"}},
    "a peak": TEXT | {"peak_factor": 1.8},
    "a prefix": TEXT | {"prefix": {"hit": 0.35}},
    "a system prompt": TEXT | {"prefix": {"tokens": {"uniform": {"min": 10, "max": 40}}}},
    "sessions": TEXT
    | {"images": IMAGES, "session": {"turns": 3.1, "think": "90 s", "cached": 0.7}},
    "classes": {
        "burst": {"factor": 3.0, "share": 0.3, "length": "7 s"},
        "classes": [
            {"name": "a", "share": 0.3, "session": {"turns": 4, "think": "0.1 s"}} | TEXT,
            {"name": "b", "share": 0.7, "prefix": {"tokens": 12}} | TEXT,
        ],
    },
}


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("rate", ["20 req/s", "0.37 req/s", "100 req/min"])
def test_traffic_reads_back(name, rate):
    mapping = {
        "model": "qwen2.5-vl-7b",
        "hardware": ["h100-sxm"],
        "workload": WORKLOADS[name] | {"rate": rate},
    }
    asked = scenario_from(mapping)
    written = WorkloadSpec.model_validate(workload_mapping(asked))
    assert written.rate is not None
    found = traffic(written, written.rate, Path())
    for field in fields(found):
        first, second = getattr(asked.traffic, field.name), getattr(found, field.name)
        if isinstance(first, np.ndarray):
            assert first.tolist() == second.tolist(), field.name
        else:
            assert first == second, field.name


def test_another_peak_rate_is_written_as_its_mean():
    workload = WorkloadSpec.model_validate(TEXT | {"peak_factor": 1.6})
    other = replace(traffic(workload, 10.0, Path()), rate_rps=8.0)
    assert workload_text(workload, "w", other, Path())["rate"] == "5 req/s"
