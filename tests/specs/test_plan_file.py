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


CLASSES = """placement: P-D + PD
model: llama-3.1-8b
workload:
  rate: 6 req/s
  classes:
    - {name: chat, share: 0.5, isl: 500, osl: 100}
    - {name: code, share: 0.25, isl: 500, osl: 100}
    - {name: batch, share: 0.25, isl: 500, osl: 100}
pools:
  - {name: a, stages: P, hardware: h100-sxm, instances: 1, options: {classes: [chat, code]}}
  - {name: b, stages: D, hardware: h100-sxm, instances: 2, options: {classes: [code, chat]}}
  - {name: c, stages: PD, hardware: l40s, instances: 3, options: {classes: [batch]}}
"""

MISTAKEN = {
    "unknown": (
        ("[batch]}", "[bach]}"),
        "plan.yaml:9: pools: pool 'c': unknown class 'bach'; did you mean 'batch'?",
    ),
    "missing": (
        (", options: {classes: [batch]}", ""),
        "plan.yaml:9: pools: pool 'c': needs options: {classes: [...]}, as others have",
    ),
    "unlike": (
        ("[code, chat]", "[code]"),
        "plan.yaml:9: pools: pool 'b': serves other classes than 'a' before it",
    ),
    "twice": (
        ("[batch]}", "[batch, chat]}"),
        "plan.yaml:9: pools: class 'chat' is served by two groups of pools",
    ),
    "unserved": (
        ("[chat, code]}}\n", "[chat]}}\n"),
        "plan.yaml:9: pools: class 'code' is served by no pool",
    ),
    "stages": (
        ("P-D + PD", "P-D + P-D"),
        "plan.yaml:9: pools: stages ['P', 'D', 'PD'] do not follow the placement P-D + P-D",
    ),
}


def test_groups_of_classes_are_read(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(CLASSES)
    first, second = load_plan(path).groups
    assert (first.classes, first.placement) == (("chat", "code"), "P-D")
    assert (second.classes, second.placement) == (("batch",), "PD")
    assert [pool.name for pool in first.pools] == ["a", "b"]
    assert [pool.name for pool in second.pools] == ["c"]


def test_without_groups_all_classes_share(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    (group,) = load_plan(path).groups
    assert (group.classes, group.placement, len(group.pools)) == (("all",), "P-D", 2)


@pytest.mark.parametrize("name", MISTAKEN)
def test_wrong_classes_say_where(name, tmp_path, monkeypatch):
    (old, new), text = MISTAKEN[name]
    monkeypatch.chdir(tmp_path)
    changed = CLASSES.replace(old, new)
    if name == "unserved":
        changed = changed.replace("[code, chat]", "[chat]")
    (tmp_path / "plan.yaml").write_text(changed)
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


def test_a_wrong_pool_is_told_once(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "placement: PD\n"
        "model: llama-3.1-8b\n"
        "workload: {rate: 1 req/s, isl: 100, osl: 10}\n"
        "pools:\n"
        "  - {name: all, stages: PD, hardware: h100-sxm, instances: 0}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    (problem,) = caught.value.problems
    assert str(problem).endswith("plan.yaml:5: pools[0].instances: must be greater than 0; got 0")
