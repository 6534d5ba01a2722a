"""Media that enter the last layers: a model key, and what it means for encoders of their own."""

import pytest
import yaml

from pdplan import solve
from pdplan.errors import SpecError, UnfitError
from pdplan.planner import evaluate
from pdplan.planner.evaluation import fleets_of
from pdplan.planner.simulating import simulate
from pdplan.specs.model import load_model
from pdplan.specs.plan_file import load_plan
from pdplan.specs.scenario import scenario_from
from pdplan.specs.system import load_system
from pdplan.systems import applied

MODEL = "ep-alm-opt-6.7b"
QUESTION = {"rate": "20 req/s", "isl": 20, "osl": 10, "ttft": "300 ms", "tpot": "40 ms"}
IMAGE = {"count": 1, "width": 224, "height": 224}
GPU = {"hardware": "a100-80gb-sxm", "instances": 1}


def question(images=1, model=MODEL, **keys):
    workload = dict(QUESTION) | ({"images": IMAGE | {"count": images}} if images else {})
    base = {"model": str(model), "hardware": ["a100-80gb-sxm"], "search": {"tp": [1]}}
    return scenario_from(base | {"workload": workload} | keys)


@pytest.fixture
def model_file(tmp_path):
    def written(**inject):
        from pdplan.specs.catalog import find

        text = yaml.safe_load(find("model", MODEL).read_text(encoding="utf-8"))
        if inject:
            text["vision_inject"] |= inject
        else:
            del text["vision_inject"]
        path = tmp_path / f"model{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump(text), encoding="utf-8")
        return path

    return written


@pytest.fixture
def apart(tmp_path):
    def spec(model=MODEL):
        pools = [{"name": s, "stages": s, **GPU} for s in ("E", "P", "D")]
        plan = {"placement": "E-P-D", "model": str(model), "engine": "vllm", "pools": pools}
        plan["workload"] = QUESTION | {"images": IMAGE}
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(plan), encoding="utf-8")
        return load_plan(path)

    return spec


def test_prefill_begins_beside_encoding_on_other_devices(apart, model_file):
    """Saved: 19/32 of the pass, which encoding outlasts; the terms still add up to the mean."""
    plan = evaluate(apart())
    found, terms = plan.prediction, plan.prediction.ttft_terms_s
    total = sum(getattr(terms, name) for name in terms.__dataclass_fields__)
    assert total == pytest.approx(found.ttft_s.mean, rel=1e-9)
    first = evaluate(apart(model_file(start_layer=0, end_layer=12)))
    one = first.prediction.ttft_terms_s
    assert one.encode > terms.encode
    before = one.encode + one.embed_transfer
    chain = fleets_of(apart()).groups[0].chain()
    early = 19 / 32 * float(chain.table("P")[1].times.prefill_s[0, 0])
    whole = float(chain.table("E")[1].encode_s[0, 0])
    assert early < before
    assert terms.encode == pytest.approx(whole - early, rel=1e-9)


def test_encoders_are_colocated_because_there_is_nothing_to_gain():
    """All six placements tried: the encoder shares its devices."""
    for rate in ("1 req/s", "20 req/s", "100 req/s"):
        best = solve(question(rate=rate))
        assert next(pool for pool in best.pools if "E" in pool.stages).stages in ("EP", "EPD")


def test_without_media_and_soft_prompt_it_is_the_plain_model(model_file):
    text = solve(question(0, model_file(soft_prompt_tokens=0)))
    plain = solve(question(0, model_file()))
    assert text.prediction == plain.prediction
    assert text.pools == plain.pools


def test_the_preset_without_media_is_colocated_serving():
    asked = question(0)
    ours = solve(applied(asked, "ep-alm", load_system("ep-alm")))
    colocated = question(0, search={"tp": [1], "placements": ["PD"]})
    assert ours.placement == "PD"
    assert ours.prediction == solve(colocated).prediction


def test_a_second_image_is_refused():
    with pytest.raises(UnfitError, match="takes one image or video a request"):
        solve(question(2))


def test_what_runs_beside_each_other_is_not_simulated(apart):
    with pytest.raises(UnfitError, match="vision_inject"):
        simulate(apart(), requests=100)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"start_layer": 31}, "start_layer: 31 is not before end_layer 31"),
        ({"end_layer": 40}, "end_layer 40 of 32 layers"),
        ({"states": 13}, "13 cannot take turns in 12 layers"),
        ({"mode": "concat"}, "must be 'layer_cls'"),
    ],
)
def test_layers_that_cannot_be(model_file, keys, words):
    with pytest.raises(SpecError) as caught:
        load_model(str(model_file(**keys)))
    assert words in str(caught.value)
