import pytest

from pdplan.errors import SpecError
from pdplan.specs.arrivals import Bursts
from pdplan.specs.catalog import names
from pdplan.specs.scenario import Limits, load_scenario, scenario_from
from pdplan.specs.speculation import Speculation

BASE = {
    "model": "llama-3.1-8b",
    "hardware": ["h100-sxm"],
    "workload": {"isl": 100, "osl": 10, "rate": "2 req/s", "ttft": "1 s"},
}


def problems(mapping, **flags):
    with pytest.raises(SpecError) as caught:
        scenario_from(mapping, flags)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", names("example"))
def test_examples_load(name):
    scenario = load_scenario(name)
    assert scenario.name == name.rpartition("/")[2]
    assert scenario.description
    assert scenario.traffic.rate_rps > 0


def test_there_are_enough_examples():
    assert len(names("example")) >= 8


def test_defaults():
    scenario = scenario_from(BASE)
    assert scenario.engine_id == "vllm"
    assert scenario.workload_id == "custom"
    assert scenario.limits == Limits()
    assert (scenario.objective, scenario.routing) == ("cost", "least_loaded")
    assert scenario.first_token_from == "decode"
    assert scenario.search.tp == (1, 2, 4, 8)
    assert scenario.search.placements == ()
    (kind,) = scenario.traffic.classes
    assert (kind.ttft_s, kind.tpot_s, kind.percentiles) == (1.0, None, (90,))


def test_flags_win_over_the_file():
    scenario = scenario_from(
        BASE | {"search": {"tp": [8]}, "tpot": "50 ms", "percentile": 95},
        dict(  # noqa: C408  (flags read better as keywords)
            tp="1,2",
            itl="30ms",
            rate="7",
            ttft=800,
            percentile="50,99",
            max_gpus="64",
            budget=100,
            power="50 kW",
            placement=["P-D"],
            isl="256",
            images=4,
            image_size="1280x960",
            model=None,
            ep=[],
        ),
    )
    assert scenario.search.tp == (1, 2)
    assert scenario.search.placements == ("P-D",)
    assert scenario.limits == Limits(max_gpus=64, budget_usd_per_hour=100, power_w=50_000)
    found = scenario.traffic
    assert (found.rate_rps, found.text_tokens[0], found.output_mean) == (7, 256, 10)
    assert (found.images[0], found.image_width[0], found.image_height[0]) == (4, 1280, 960)
    (kind,) = found.classes
    assert (kind.ttft_s, kind.tpot_s, kind.percentiles) == (0.8, 0.03, (50, 99))


def test_flags_of_arrivals_and_reuse():
    file = BASE["workload"] | {"profile": {"relative": [1, 2]}, "prefix": {"tokens": 40}}
    flags = {"peak_factor": "1.5", "burst": "4,.1,30s", "prefix_hit": 0.25}
    found = scenario_from(BASE | {"workload": file}, flags).traffic
    assert (found.rate_rps, found.mean_rate_rps) == (3, 2)
    assert found.bursts == Bursts(4, 0.1, 30)
    assert found.cached_tokens.tolist() == [25]
    talk = scenario_from(BASE, {"turns": "2", "think": "5"}).traffic
    assert (talk.text_tokens.tolist(), talk.think_s.tolist()) == ([100, 210], [0, 5])
    kinds = [{"name": "a", "share": 1.0, "isl": 9, "osl": 9}]
    classes = BASE | {"workload": {"rate": "2 req/s", "classes": kinds}}
    assert scenario_from(classes, {"peak_factor": 2, "arrival_scv": 3}).traffic.rate_rps == 4
    assert problems(classes, peak_factor=2, turns=5, think=1) == [
        "command line: --turns: the workload has classes; change them in its file"
    ]


def test_speculative_decoding():
    keys = {"draft_tokens": 3, "acceptance": 0.7, "draft": "mtp"}
    assert scenario_from(BASE | {"speculative": keys}).speculation == Speculation(3, 0.7, "mtp")
    big = scenario_from(BASE | {"model": "llama-3.1-70b"}, {"speculative": "5,0.8,llama-3.1-8b"})
    assert big.speculation.model.name == "Llama-3.1-8B"
    assert big.speculation.text() == {
        "draft_tokens": 5,
        "acceptance": 0.8,
        "draft": "llama-3.1-8b",
    }
    assert scenario_from(BASE).speculation is None


def test_flags_are_enough():
    flags = {"model": "llama-3.1-8b", "hardware": "h100-sxm,l40s", "isl": 9, "osl": 9, "rate": 1}
    scenario = scenario_from({}, flags)
    assert [choice.id for choice in scenario.hardware] == ["h100-sxm", "l40s"]


def test_scenario_objectives_reach_every_class():
    kinds = [
        {"name": n, "share": 0.5, "isl": 9, "osl": 9, "ttft": "1 s", "percentile": p}
        for n, p in (("a", 99), ("b", 50))
    ]
    workload = {"rate": "1 req/s", "classes": kinds}
    classes = scenario_from(BASE | {"workload": workload, "ttft": "3 s"}).traffic.classes
    assert [(c.ttft_s, c.percentiles) for c in classes] == [(3.0, (99,)), (3.0, (50,))]
    assert problems(BASE | {"workload": workload}, isl=5) == [
        "command line: --isl: the workload has classes; change them in its file"
    ]


def test_prices_and_stock():
    listed = scenario_from(BASE).hardware[0]
    assert listed.usd_per_hour == listed.spec.price().price
    assert listed.price_source.startswith(listed.spec.default_price)
    uses = [{"id": "h100-sxm", "stock": 4, "price": "1.99 USD/h"}, "l40s"]
    own = scenario_from(BASE | {"hardware": uses}).hardware[0]
    assert (own.stock, own.usd_per_hour, own.price_source) == (4, 1.99, "user")
    flags = {"hardware": ["h100-sxm"], "price": {"h100-sxm": 1.5}}
    (kept,) = scenario_from(BASE | {"hardware": uses}, flags).hardware
    assert (kept.stock, kept.usd_per_hour) == (4, 1.5)


def test_file_problems_carry_lines(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "modle: x\nmodel: lama-3.1-8b\nhardware: [h100-smx, l40s]\nworkload: caht\n", "utf-8"
    )
    with pytest.raises(SpecError) as caught:
        load_scenario(path)
    assert str(caught.value).splitlines() == [
        f"{path}:1: modle: unknown key; did you mean 'model'?"
    ]
    path.write_text(path.read_text("utf-8").replace("modle: x", "# no rate"), "utf-8")
    with pytest.raises(SpecError) as caught:
        load_scenario(path)
    assert str(caught.value).splitlines() == [
        f"{path}:2: model: unknown model 'lama-3.1-8b'; did you mean 'llama-3.1-8b'?",
        f"{path}:3: hardware[0]: unknown hardware 'h100-smx'; did you mean 'h100-sxm'?",
        f"{path}:4: workload: unknown workload 'caht'; did you mean 'chat'?",
    ]


def test_paths_are_relative_to_the_scenario(tmp_path):
    (tmp_path / "w.yaml").write_text(
        "rate: 1 req/s\nisl: {trace: t.csv}\nosl: {trace: t.csv}\n", "utf-8"
    )
    (tmp_path / "t.csv").write_text("isl,osl\n5,6\n", "utf-8")
    path = tmp_path / "s.yaml"
    path.write_text("model: llama-3.1-8b\nhardware: l40s\nworkload: w.yaml\n", "utf-8")
    scenario = load_scenario(path)
    assert (scenario.workload_id, scenario.traffic.output_mean) == ("w", 6)


FLAG_ERRORS = [
    ({"tp": "1,x"}, "--tp: expected a whole number; got 'x'"),
    ({"tp": [0]}, "--tp: must be greater than 0; got 0"),
    ({"rate": "-3"}, "--rate: must be a finite number of at least 0; got -3 req/s"),
    ({"rate": 0}, "--rate: must be greater than 0; got '0 req/s'"),
    (
        {"rate": float("nan")},
        "--rate: needs a number and a unit, for example '20 req/s'; got 'nan req/s'",
    ),
    ({"ttft": "abc"}, "--ttft: needs a number and a unit, for example '300 ms'; got 'abc'"),
    ({"isl": "-1"}, "--isl: must be between 0 and 1e+09; got -1"),
    ({"percentile": "80"}, "--percentile: must be 50, 90, 95, 99 or 'mean'; got 80"),
    ({"images": 4}, "--images: needs --image-size, for example '--image-size 1280x960'"),
    ({"image_size": "9x9"}, "--image-size: needs --images, for example '--images 1'"),
    (
        {"images": 1, "image_size": "9"},
        "--image-size: needs WIDTHxHEIGHT, for example '1280x960'; got '9'",
    ),
    ({"price": "h100-sxm"}, "--price: needs ID=VALUE, for example 'h100-sxm=1.99'; got 'h100-sxm'"),
    ({"price": ["l4=3"]}, "--price: 'l4' is not among the hardware: h100-sxm"),
    ({"stock": "h100-sxm=0"}, "--stock: must be greater than 0; got 0"),
    ({"itl": 3, "tpot": 3}, "--itl: is another name for --tpot, which is given too"),
    ({"hardware": ["l40s", "l40s"]}, "--hardware: 'l40s' is listed twice"),
    (
        {"placement": "X-D"},
        "--placement: expected 'auto' or a placement, for example 'E-P-D'; got 'X-D'",
    ),
    ({"peak_factor": 0.5}, "--peak-factor: must be greater than or equal to 1; got 0.5"),
    (
        {"burst": "4,0.1"},
        "--burst: needs FACTOR,SHARE,LENGTH, for example '4,0.1,30s'; got '4,0.1'",
    ),
    ({"burst": "4,0.1,x"}, "--burst: needs a number and a unit, for example '300 ms'; got 'x'"),
    ({"prefix_hit": 2}, "--prefix-hit: must be less than or equal to 1; got 2"),
    ({"turns": 0, "think": 1}, "--turns: must be at least 1; got 0"),
    ({"speculative": "3,1,mtp"}, "--speculative: must be less than 1; got 1"),
    (
        {"speculative": "3,0.7"},
        "--speculative: needs DRAFT_TOKENS,ACCEPTANCE,DRAFT, for example '3,0.7,mtp'; got '3,0.7'",
    ),
    (
        {"speculative": "3,0.7,lama-3.1-8b"},
        "--speculative: unknown model 'lama-3.1-8b'; did you mean 'llama-3.1-8b'?",
    ),
    ({"max_gpu": 3}, "--max-gpu: unknown flag; did you mean '--max-gpus'?"),
    ({"model": "no.yaml"}, "--model: no.yaml: no such file"),
]


@pytest.mark.parametrize(("flags", "text"), FLAG_ERRORS, ids=range(len(FLAG_ERRORS)))
def test_flag_errors_name_the_flag(flags, text):
    assert problems(BASE, **flags) == [f"command line: {text}"]


def test_what_is_missing_is_said_at_once():
    assert problems({}) == [
        "command line: model: missing; add 'model:' or give --model",
        "command line: workload: missing; add 'workload:' or give --workload",
        "command line: hardware: missing; add 'hardware:' or give --hardware",
    ]
    assert problems(BASE | {"workload": {"isl": 1, "osl": 1}}) == [
        "command line: rate: missing; add for example 'rate: 20 req/s' or give --rate"
    ]
    flags = {"model": "llama-3.1-8b", "hardware": "l40s", "isl": 3}
    assert problems({}, **flags) == [
        "command line: --osl: missing; give it, or a workload (--workload)"
    ]


def test_cost_needs_prices(monkeypatch):
    from pdplan.specs import scenario as module

    load = module.load_hardware
    free = {"prices": (), "default_price": None, "power": None}
    monkeypatch.setattr(
        module, "load_hardware", lambda name, where: load(name, where).model_copy(update=free)
    )
    assert problems(BASE) == [
        "command line: hardware[0]: 'h100-sxm' has no price; add one (hardware: [{id: h100-sxm, "
        "price: 2.00 USD/h}] or --price h100-sxm=2.00), or use another objective than cost and no "
        "budget"
    ]
    assert scenario_from(BASE | {"objective": "gpus"}).hardware[0].usd_per_hour is None
    assert scenario_from(BASE, {"price": "h100-sxm=2"}).hardware[0].usd_per_hour == 2
    assert problems(BASE, objective="power") == [
        "command line: hardware[0]: 'h100-sxm' has no board power; use no power objective or limit"
    ]


def test_roles_are_checked():
    roles = {"P": {"hardware": ["l4"], "tp": 2}}
    assert problems(BASE | {"search": {"roles": roles}}) == [
        "command line: search.roles.P.hardware: 'l4' is not among the hardware: h100-sxm"
    ]
    assert problems(BASE | {"search": {"roles": {"Q": {}}}}) == [
        "command line: search.roles: expected the stages of one pool, for example 'P'; got 'Q'"
    ]
    good = scenario_from(BASE | {"search": {"roles": {"P": {"tp": 2, "instances": 3}}}})
    assert (good.search.roles["P"].tp, good.search.roles["P"].instances) == ((2,), 3)


def test_unknown_provider():
    (text,) = problems(BASE, provider="h100-sxm=nobody")
    assert text.startswith("command line: --provider: no price by provider 'nobody'; listed: aws")
