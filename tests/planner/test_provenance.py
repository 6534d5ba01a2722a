"""Every number of a plan says where it comes from, and borrowed ones are told apart."""

import pytest
import yaml

from pdplan import evaluate, explain, load_plan, predict
from pdplan.planner.guard import misfits
from pdplan.planner.provenance import gathered
from pdplan.specs.catalog import bundled_root
from pdplan.specs.engine import load_engine

ORIGINS = {"datasheet", "fitted", "literature", "transferred", "user"}
DATASHEET = {"peak compute", "memory bandwidth", "memory capacity", "links"}
ALWAYS = DATASHEET | {"price", "GEMM efficiency", "attention", "overheads", "KV capacity"}


def read(kind, name):
    return yaml.safe_load((bundled_root() / kind / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def plan(tmp_path):
    """A plan file of pools (stages, hardware, tp), for a model and an engine."""

    def build(*pools, model="llama-3.1-8b", engine="vllm", specs=None, **workload):
        data = {
            "placement": "-".join(stages for stages, _, _ in pools),
            "model": model,
            "engine": engine,
            "workload": {"rate": "1 req/s", "isl": 500, "osl": 50, **workload},
            "pools": [
                {"name": f"pool{i}", "stages": stages, "hardware": name, "instances": 1, "tp": tp}
                for i, (stages, name, tp) in enumerate(pools)
            ],
        }
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        return load_plan(path, specs)

    return build


@pytest.fixture
def profile(tmp_path):
    """The bundled profile with keys of a generation changed, as if it came with pdplan."""

    def build(generation="hopper", **changes):
        engine = load_engine("vllm")
        found = engine.generations[generation].model_copy(update=changes)
        return engine.model_copy(update={"generations": engine.generations | {generation: found}})

    return build


def with_engine(spec, engine):
    from dataclasses import replace

    return replace(spec, engine=engine)


def origins(spec, about):
    """Origin by quantity of what a plan says of a model, a workload or a hardware."""
    rows = [row for row in evaluate(spec).provenance if row.quantity.startswith(f"{about}: ")]
    assert all(row.origin in ORIGINS and row.source for row in rows)
    found = {row.quantity.partition(": ")[2]: row.origin for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize(
    ("pools", "model", "workload", "also"),
    [
        ([("PD", "h100-sxm", 1)], "llama-3.1-8b", {}, set()),
        ([("PD", "h100-sxm", 2)], "llama-3.1-8b", {}, {"collectives"}),
        ([("P", "h100-sxm", 1), ("D", "h100-sxm", 1)], "llama-3.1-8b", {}, {"network"}),
        ([("PD", "h100-sxm", 1)], "qwen3-30b-a3b", {}, {"experts"}),
        (
            [("EPD", "h100-sxm", 1)],
            "qwen2.5-vl-7b",
            {"images": {"count": 1, "width": 640, "height": 480}},
            {"encoder"},
        ),
    ],
)
def test_what_is_used_is_told(plan, pools, model, workload, also):
    found = origins(plan(*pools, model=model, **workload), "h100-sxm")
    assert set(found) == ALWAYS | also
    assert {found[what] for what in DATASHEET} == {"datasheet"}


def test_the_question_is_the_users(plan):
    spec = plan(("PD", "h100-sxm", 1))
    assert origins(spec, "workload inline") == {"traffic, objectives": "user"}
    assert origins(spec, "model llama-3.1-8b") == {"architecture": "literature"}


def test_a_price_has_its_date_and_source(plan):
    spec = plan(("PD", "h100-sxm", 1))
    (price,) = (r for r in evaluate(spec).provenance if r.quantity == "h100-sxm: price")
    listed = spec.hardware["h100-sxm"].price()
    assert price.source == f"{listed.provider}, {listed.kind}, {listed.date}; {listed.source}"


def test_a_group_is_fitted_by_the_constants_used(plan, profile):
    spec = plan(("P", "h100-sxm", 1), ("D", "h200-sxm", 1))
    told = {"gemm.mfu.fp8": (0, 1), "attention.decode_mbu": (0, 1), "overhead.step": (0, 1)}
    spec = with_engine(spec, profile(origin="fitted", intervals=told, measured=()))
    prefill, decode = origins(spec, "h100-sxm"), origins(spec, "h200-sxm")
    assert prefill["overheads"] == decode["overheads"] == "fitted"
    assert (prefill["attention"], decode["attention"]) == ("literature", "fitted")
    assert prefill["GEMM efficiency"] == "literature"  # weights are in bf16
    assert prefill["network"] == prefill["KV capacity"] == "literature"


@pytest.mark.parametrize("origin", ["fitted", "literature"])
def test_without_intervals_the_generation_speaks(plan, profile, origin):
    engine = profile(origin=origin, intervals={}, measured=())
    found = origins(with_engine(plan(("PD", "h100-sxm", 1)), engine), "h100-sxm")
    assert {found[what] for what in ("GEMM efficiency", "attention", "overheads")} == {origin}


def test_borrowed_numbers_name_their_lender(plan, profile):
    spec = plan(("P", "h800", 1), ("D", "v100-32gb", 1), model="phi-3-mini")
    spec = with_engine(spec, profile(measured=("h100-sxm", "h200-sxm")))
    groups = "GEMM efficiency, attention, overheads, network, KV capacity"
    rows = [r for r in gathered(evaluate(spec).provenance) if r.origin == "transferred"]
    assert [(row.quantity, row.source) for row in rows] == [
        (f"h800: {groups}", "engine vllm: borrowed from h100-sxm, h200-sxm; h800 is not measured"),
        (f"v100-32gb: {groups}", "engine vllm: borrowed from ampere; volta is not measured"),
    ]
    section = explain(spec).sections[-1]
    assert section.note == (
        f"pool pool0 stands on transferred numbers: {rows[0].quantity} ({rows[0].source}). "
        f"pool pool1 stands on transferred numbers: {rows[1].quantity} ({rows[1].source})"
    )


def test_explain_says_that_nothing_is_borrowed(plan, profile):
    spec = with_engine(plan(("PD", "h100-sxm", 1)), profile(measured=()))
    assert explain(spec).sections[-1].note == "no pool stands on transferred numbers"


def test_files_of_ones_own_are_the_users(plan, tmp_path):
    for kind, name, own in (
        ("hardware_specs", "h100-sxm", "chip"),
        ("engines", "vllm", "mine"),
        ("models", "llama-3.1-8b", "net"),
    ):
        (tmp_path / kind).mkdir()
        data = read(kind, name)
        if kind == "engines":
            data["generations"]["hopper"].pop("measured", None)
        path = tmp_path / kind / f"{own}.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    by_name = plan(("PD", "chip", 1), model="net", engine="mine", specs=tmp_path)
    assert set(origins(by_name, "chip").values()) == {"user"}
    assert origins(by_name, "model net") == {"architecture": "user"}
    path = str(tmp_path / "hardware_specs" / "chip.yaml")
    by_path = origins(plan(("PD", path, 1)), path)
    assert {by_path[what] for what in (*DATASHEET, "price")} == {"user"}
    assert "user" not in {by_path[what] for what in ALWAYS - DATASHEET - {"price"}}
    row = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "isl": "100"}
    mine = str(tmp_path / "engines" / "mine.yaml")
    assert [r["provenance"] for r in predict([row | {"engine": mine}])] == ["user"]


def test_predict_tells_origins_by_hardware():
    engine = load_engine("vllm")
    names = ("h100-sxm", "h800", "v100-32gb", "mi300x")
    rows = predict([{"model": "phi-3-mini", "hardware": n, "isl": "100"} for n in names])
    found = {row["hardware"]: row["provenance"] for row in rows}
    assert found["v100-32gb"] == "transferred"
    measured = engine.generations["hopper"].measured
    assert found["h800"] == ("fitted" if not measured or "h800" in measured else "transferred")
    assert set(found.values()) <= ORIGINS - {"datasheet"}


def test_the_guard_lets_the_bundled_profiles_pass():
    assert list(misfits(load_engine("vllm"))) == []


def test_the_guard_names_figure_and_limit(profile):
    hopper = load_engine("vllm").generations["hopper"]
    mfu = dict.fromkeys(hopper.gemm.mfu, 50.0)  # what `validate` would refuse
    mbu = dict.fromkeys(hopper.gemm.mbu, 50.0)
    engine = profile(gemm=hopper.gemm.model_copy(update={"mfu": mfu, "mbu": mbu}))
    ((key, message),) = misfits(engine)
    assert key == ("generations", "hopper")
    assert " tp=" in message
    figure, _, limit = message.partition("; the roofline allows no less than ")
    assert limit.endswith(("ms", "us", " s"))
    assert " in " in figure


def test_the_guard_knows_hardware(profile):
    engine = load_engine("vllm")
    hopper = engine.generations["hopper"].model_copy(update={"measured": ("h100-sxn",)})
    others = {name: g for name, g in engine.generations.items() if name != "hopper"}
    engine = engine.model_copy(update={"generations": {"hoper": hopper, **others}})
    assert list(misfits(engine)) == [
        (("generations", "hoper"), "no hardware is of generation 'hoper'; did you mean 'hopper'?"),
        (
            ("generations", "hoper", "measured", 0),
            "unknown hardware 'h100-sxn'; did you mean 'h100-sxm'?",
        ),
    ]
