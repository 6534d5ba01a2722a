"""Plan files say where they are wrong."""

import pytest

from pdplan.errors import SpecError
from pdplan.specs.plan_file import load_plan

PLAN = """placement: P-D
model: llama-3.1-70b
workload: {rate: 6 req/s, isl: 2000, osl: 300}
pools:
  - {name: prefill, stages: P, hardware: h100-sxm, instances: 3, tp: 4}
  - {name: decode, stages: D, hardware: h100-sxm, instances: 2, tp: 4}
"""

BAD = {
    "hardware": (
        ("hardware: h100-sxm, instances: 2", "hardware: h100, instances: 2"),
        "plan.yaml:6: pools[1].hardware: unknown hardware 'h100'; "
        "did you mean 'h100-nvl' or 'h100-pcie' or 'h100-sxm'?",
    ),
    "model": (
        ("model: llama-3.1-70b", "model: lama-3.1-70b"),
        "plan.yaml:2: model: unknown model 'lama-3.1-70b'; did you mean 'llama-3.1-70b'?",
    ),
    "heads": (
        ("instances: 3, tp: 4", "instances: 3, tp: 3"),
        "plan.yaml:5: pools[0]: tp=3 does not divide the model's 64 attention heads",
    ),
    "rate": (
        ("rate: 6 req/s, ", ""),
        "plan.yaml:3: workload: has no rate; add 'rate: 20 req/s'",
    ),
    "stages": (
        ("placement: P-D", "placement: PD"),
        "plan.yaml:4: pools: stages ['P', 'D'] do not follow the placement PD",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_plan_says_where(name, tmp_path, monkeypatch):
    (old, new), text = BAD[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_plan((tmp_path / "plan.yaml").relative_to(tmp_path))
    assert str(caught.value) == text


def test_an_overloaded_fleet_is_evaluated_in_every_format(tmp_path):
    from typer.testing import CliRunner

    from pdplan.cli import app

    path = tmp_path / "plan.yaml"
    path.write_text(PLAN.replace("rate: 6 req/s", "rate: 90 req/s, ttft: 1 s, tpot: 50 ms"))
    for command in ("evaluate", "explain"):
        for form in ("table", "json", "csv", "yaml", "md"):
            found = CliRunner().invoke(app, [command, str(path), "--format", form])
            assert found.exit_code == 0, (command, form, found.output)
            assert "Infinity" not in found.output
            assert "NaN" not in found.output
