"""Traffic as options have it: media found encoded, classes told apart by what they carry."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.errors import SpecError
from pdplan.pools.subset import traffic_of
from pdplan.specs.base import validate
from pdplan.specs.media_reuse import encoded_part, partly_encoded
from pdplan.specs.modalities import by_modality, with_options
from pdplan.specs.model import load_model
from pdplan.specs.options import NO_OPTIONS, Options
from pdplan.specs.source import Document
from pdplan.specs.traffic import traffic
from pdplan.specs.workload import WorkloadSpec
from pdplan.stages.encode import media_work

COUNTS = {"histogram": {"values": [0, 1, 4], "weights": [5, 3, 2]}}
PICTURES = {"count": COUNTS, "width": 640, "height": 480}


def made(**keys):
    classes = keys.pop("classes", None)
    base = {"classes": classes} if classes else {"isl": 200, "osl": 50} | keys
    return traffic(WorkloadSpec.model_validate(base), 10.0, Path())


def options(**given):
    return validate(Document("plan.yaml", {}), Options, given)


def test_a_class_falls_into_requests_with_and_without_media():
    found = by_modality(made(images=PICTURES, ttft="1 s", tpot="50 ms"))
    assert [(k.name, k.origin) for k in found.classes] == [
        ("all-text", "all"),
        ("all-media", "all"),
    ]
    assert [k.share for k in found.classes] == pytest.approx([0.5, 0.5])
    assert {(k.ttft_s, k.tpot_s) for k in found.classes} == {(1.0, 0.05)}
    text, media = traffic_of(found, [0]), traffic_of(found, [1])
    assert not text.has_media
    assert (media.images > 0).all()
    assert text.rate_rps + media.rate_rps == pytest.approx(10.0)
    assert media.weight @ media.images == pytest.approx((0.3 + 0.8) / 0.5)


def test_classes_of_one_kind_stay_as_they_are():
    kinds = [
        {"name": "chat", "share": 0.6, "isl": 100, "osl": 20},
        {"name": "vision", "share": 0.4, "isl": 50, "osl": 20, "images": PICTURES},
    ]
    found = by_modality(made(classes=kinds))
    assert [k.name for k in found.classes] == ["chat", "vision-text", "vision-media"]
    assert [k.share for k in found.classes] == pytest.approx([0.6, 0.2, 0.2])
    assert found.classes[0].origin == ""
    weights = np.bincount(found.class_index, found.weight)
    assert weights == pytest.approx([0.6, 0.2, 0.2])


def test_options_that_are_absent_change_nothing():
    plain = made(images=PICTURES)
    assert with_options(plain, NO_OPTIONS) is plain
    grouped = with_options(plain, options(grouping="class"))
    assert grouped is plain
    assert len(with_options(plain, options(grouping="modality")).classes) == 2


@given(st.floats(0, 0.999), st.integers(1, 60))
def test_what_is_left_to_encode_has_the_mean_and_variance_of_independent_hits(hit, media):
    share, some = encoded_part(hit, np.array([float(media)]))
    mean = float(some[0] * share[0] * media)
    second = float(some[0] * (share[0] * media) ** 2)
    assert mean == pytest.approx(media * (1 - hit), rel=1e-9)
    variance = media * hit * (1 - hit)
    assert second - mean**2 == pytest.approx(variance, rel=1e-6, abs=1e-6)
    assert 0 < share[0] <= 1
    assert 0 < some[0] <= 1


def test_media_found_need_no_encoding_but_are_tokens():
    model = load_model("qwen2.5-vl-7b")
    plain = made(images=PICTURES)
    cached = partly_encoded(plain, 0.4)
    whole, left = media_work(model, plain), media_work(model, cached)
    assert cached.weight.sum() == pytest.approx(1)
    for name in ("llm_tokens", "cross_tokens"):
        assert cached.weight @ getattr(left, name) == pytest.approx(
            plain.weight @ getattr(whole, name)
        )
    for name in ("items", "megapixels", "pieces"):
        assert cached.weight @ getattr(left, name) == pytest.approx(
            0.6 * plain.weight @ getattr(whole, name)
        )
    assert cached.weight @ left.vision.positions == pytest.approx(
        0.6 * plain.weight @ whole.vision.positions
    )
    single = cached.images == 1
    assert cached.weight[single & ~left.present].sum() == pytest.approx(0.3 * 0.4)


def test_no_hits_are_the_traffic_itself():
    plain = made(images=PICTURES)
    assert partly_encoded(plain, 0.0) is plain
    text = made()
    assert partly_encoded(text, 0.5) is text


def test_a_shared_cache_may_find_less():
    kinds = [
        {"name": "a", "share": 0.5, "isl": 1000, "osl": 9, "prefix": {"hit": 0.8}},
        {"name": "b", "share": 0.5, "isl": 1000, "osl": 9, "prefix": {"hit": 0.8}}
        | {"prefix": {"hit": 0.7, "shared_hit": 0.2}},
    ]
    pooled = made(classes=kinds)
    assert pooled.cached_tokens.tolist() == [800, 200]
    assert traffic_of(pooled, [1]).cached_tokens.tolist() == [700]
    assert traffic_of(pooled, [0]).cached_tokens.tolist() == [800]


def test_modalities_of_one_class_share_its_prefixes():
    prefix = {"hit": 0.5, "shared_hit": 0.1}
    found = by_modality(made(images=PICTURES, prefix=prefix))
    assert set(found.cached_tokens.tolist()) == {100}


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"grouping": "colour"}, "'modality' or 'class'; got 'colour'"),
        ({"encode_cache": {"hit": 1.0}}, "less than 1; got 1.0"),
        ({"encode_cache": {}}, "missing"),
        ({"gateway": {}}, "needs retry or timeout"),
        ({"gateway": {"retry": 5}}, "unit"),
    ],
)
def test_what_options_refuse(given_, problem):
    with pytest.raises(SpecError, match=problem):
        options(**given_)


@pytest.mark.parametrize(
    "prefix", [{"tokens": 5, "shared_hit": 0.1}, {"hit": 0.1, "shared_hit": 0.2}]
)
def test_a_shared_hit_needs_a_hit_that_is_no_smaller(prefix):
    with pytest.raises(ValueError, match="needs a hit that is no smaller"):
        made(prefix=prefix)
