"""Every bundled system: its file, its example, its plan, and its place among the others."""

from dataclasses import replace
from pathlib import Path

import pytest

from pdplan import load_scenario, solve
from pdplan.errors import SpecError
from pdplan.placement import parse_placement
from pdplan.planner import evaluate
from pdplan.planner.solving import compare
from pdplan.planner.verifying import spec_of
from pdplan.specs.catalog import names
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import SystemSpec, load_system
from pdplan.systems import applied
from validation.systems_page import PAGE, page

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = names("system")
CHAT = {
    "model": "llama-3.1-8b",
    "hardware": ["h100-sxm"],
    "rate": "4",
    "isl": "800",
    "osl": "120",
    "ttft": "900ms",
    "tpot": "40ms",
}


def on_example(name):
    spec = load_system(name)
    return applied(load_scenario(spec.example), name, spec)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_preset_says_all_that_a_reader_needs(name):
    spec = load_system(name)
    assert spec.source.startswith("https://")
    assert spec.example == f"systems/{name}"
    assert all(parse_placement(text).text == text for text in spec.placement)
    assert set(spec.relatives) <= set(SYSTEMS) - {name}
    assert spec.relatives
    assert spec.reduces_to


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_presets_example_is_planned_and_the_plan_reads_back(name):
    scenario = on_example(name)
    plan = solve(scenario)
    assert plan.status in ("optimal", "feasible")
    assert plan.system == name
    again = evaluate(spec_of(plan, scenario))
    assert again.prediction.ttft_s == plan.prediction.ttft_s
    assert again.prediction.tpot_s == plan.prediction.tpot_s
    assert again.cost_usd_per_hour == plan.cost_usd_per_hour
    assert again.pools == plan.pools
    assert again.options == plan.options


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_preset_is_nothing_that_a_scenario_could_not_say(name):
    """The same question without the name has the same answer."""
    scenario = on_example(name)
    named, plain = solve(scenario), solve(replace(scenario, system=None))
    assert plain.system is None
    assert (plain.label, plain.pools) == (named.label, named.pools)
    assert plain.prediction == named.prediction


def test_nothing_in_the_package_knows_a_system_by_name():
    found = []
    for path in (ROOT / "pdplan").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.name}: {n}" for n in SYSTEMS if f'"{n}"' in text or f"'{n}'" in text]
    # an engine profile carries the name of the software that it is of; a help page names an example
    allowed = {"specs.py: epd"}
    assert [each for each in found if "distserve" not in each and each not in allowed] == []


def test_comparing_gives_every_system_a_row_and_a_verdict():
    systems = {name: load_system(name) for name in SYSTEMS}
    rows = compare(scenario_from({}, CHAT), systems)
    found = {row.system: row for row in rows if row.system}
    assert set(found) == set(SYSTEMS)
    for row in found.values():
        assert (row.objective is None) == (row.plan is None)
        assert row.reason if row.plan is None else row.label


def test_a_scenarios_own_words_go_before_the_presets():
    preset = SystemSpec(
        title="t",
        citation="c",
        source="https://x",
        placement=["P-D"],
        routing="central",
        search={"kv_dtypes": ["fp8"], "schedulers": ["layered"]},
        example="chat-70b",
    )
    plain = applied(scenario_from({}, CHAT), "mine", preset)
    assert (plain.routing, plain.search.kv_dtypes) == ("central", ("fp8",))
    assert plain.search.schedulers == ("layered",)
    said = applied(
        scenario_from({}, CHAT | {"kv_dtype": ["bf16"], "routing": "random"}), "mine", preset
    )
    assert (said.routing, said.search.kv_dtypes) == ("random", ("bf16",))


def test_placements_that_contradict_the_preset_are_refused():
    preset = SystemSpec(
        title="t", citation="c", source="https://x", placement=["P-D"], example="chat-70b"
    )
    scenario = scenario_from({}, CHAT | {"placement": ["PD"]})
    with pytest.raises(SpecError) as caught:
        applied(scenario, "mine", preset)
    assert str(caught.value) == "system 'mine' is P-D, and the scenario asks for PD"


def test_without_media_the_stages_for_them_go():
    preset = SystemSpec(
        title="t", citation="c", source="https://x", placement=["E-P-D", "EP-D"], example="chat-70b"
    )
    assert applied(scenario_from({}, CHAT), "mine", preset).search.placements == ("P-D",)


@pytest.mark.slow
def test_the_page_of_systems_is_what_the_presets_give():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run python -m validation.systems_page"


def test_the_page_has_a_section_for_every_system():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in SYSTEMS if f"\n## {name}\n" not in text] == []
