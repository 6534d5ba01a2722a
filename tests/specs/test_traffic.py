import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdplan.errors import SpecError
from pdplan.specs.catalog import names
from pdplan.specs.lengths import Length
from pdplan.specs.points import coarse, fine_points, sample_points
from pdplan.specs.traffic import traffic
from pdplan.specs.workload import WorkloadSpec, load_workload

TRACES = Path(__file__).parents[2].parent / "shared" / "data" / "traces"


def build(folder=Path(), **keys):
    return traffic(WorkloadSpec.model_validate({"isl": 100, "osl": 10} | keys), 2.0, folder)


def moments(weights, values):
    return float(np.sum(weights * values)), float(np.sum(weights * values**2))


lengths = st.one_of(
    st.floats(1, 1e6).map(lambda n: {"fixed": n}),
    st.tuples(st.floats(1, 1e5), st.floats(0, 1e5)).map(
        lambda ends: {"uniform": {"min": ends[0], "max": sum(ends)}}
    ),
    st.tuples(st.floats(1, 1e5), st.floats(0, 10)).map(
        lambda law: {"lognormal": {"mean": law[0], "cv": law[1]}}
    ),
    st.lists(st.tuples(st.floats(1, 1e5), st.floats(0.01, 10)), min_size=1, max_size=60).map(
        lambda pairs: {
            "histogram": {"values": [v for v, _ in pairs], "weights": [w for _, w in pairs]}
        }
    ),
)


def true_mean(form):
    (kind, law), *_ = form.items()
    if kind == "uniform":
        return (law["min"] + law["max"]) / 2
    if kind == "lognormal":
        return law["mean"]
    return np.average(law["values"], weights=law["weights"]) if kind == "histogram" else law


@given(isl=lengths, osl=lengths, count=st.integers(0, 5), share=st.floats(0.01, 0.99))
def test_weights_sum_to_one_and_means_stay(isl, osl, count, share):
    images = {"count": {"uniform": {"min": 0, "max": count}}, "width": 64, "height": 32}
    kinds = [
        {"name": "a", "share": share, "isl": isl, "osl": osl, "images": images},
        {"name": "b", "share": 1 - share, "isl": 7, "osl": 3},
    ]
    found = traffic(WorkloadSpec.model_validate({"classes": kinds}), 1.0, Path())
    assert found.weight.sum() == pytest.approx(1, rel=1e-12)
    assert found.output_weight.sum(axis=1) == pytest.approx(np.ones(found.weight.size), rel=1e-12)
    assert found.text_tokens.min() >= 1
    assert found.output_tokens.min() >= 1
    mean = share * true_mean(isl) + (1 - share) * 7
    assert found.weight @ found.text_tokens == pytest.approx(mean, rel=1e-9)
    assert found.output_mean == pytest.approx(share * true_mean(osl) + (1 - share) * 3, rel=1e-9)
    assert found.weight @ found.images == pytest.approx(share * count / 2, rel=1e-9)
    assert found.weight.size <= 128


@pytest.mark.parametrize("cv", [0.1, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_lognormal_prompts_keep_two_moments_and_the_median(cv):
    found = build(isl={"lognormal": {"mean": 5000, "cv": cv}})
    first, second = moments(found.weight, found.text_tokens)
    assert first == pytest.approx(5000, rel=1e-12)
    assert second == pytest.approx(5000**2 * (1 + cv**2), rel=0.016)
    order = np.argsort(found.text_tokens)
    below = np.cumsum(found.weight[order]) - found.weight[order] / 2
    median = np.interp(0.5, below, found.text_tokens[order])
    assert median == pytest.approx(5000 / np.sqrt(1 + cv**2), rel=0.03)


def test_uniform_moments():
    found = build(isl={"uniform": {"min": 100, "max": 500}})
    first, second = moments(found.weight, found.text_tokens)
    assert first == pytest.approx(300, rel=1e-12)
    assert second == pytest.approx((500**3 - 100**3) / 3 / 400, rel=1e-3)


def test_tails_are_fine():
    found = build(isl={"lognormal": {"mean": 1000, "cv": 1}})
    assert (np.sort(found.text_tokens)[-1]) > 9000
    assert found.weight[np.argsort(found.text_tokens)][-3:].sum() < 0.015


def test_lengths_below_one_token_are_lifted_and_the_mean_kept():
    points = fine_points(Length.model_validate({"lognormal": {"mean": 1.5, "cv": 2}}), floor=1.0)
    assert points.values[0] == 1.0
    assert points.mean == pytest.approx(1.5, rel=1e-12)


def test_counts_are_whole():
    points = fine_points(Length.model_validate({"lognormal": {"mean": 2.5, "cv": 0.8}}), whole=True)
    assert (points.values == np.round(points.values)).all()
    assert points.mean == pytest.approx(2.5, rel=1e-9)


def test_few_values_are_exact():
    points = coarse(sample_points(np.array([5.0, 1.0, 5.0, 9.0])), 8)
    assert points.values.tolist() == [1, 5, 9]
    assert points.weights.tolist() == [0.25, 0.5, 0.25]


def test_fixed_everywhere_is_one_point():
    found = build()
    assert (found.weight.tolist(), found.output_tokens.tolist()) == ([1.0], [[10.0]])
    assert found.mean_context == 105
    assert not found.has_media
    assert found.text_only_share == 1


def test_mean_context_is_length_biased():
    found = build(osl={"histogram": {"values": [10, 30], "weights": [1, 1]}})
    assert found.mean_context == pytest.approx((10 * 105 + 30 * 115) / 40)


def test_media_axes():
    found = build(
        images={
            "count": {"histogram": {"values": [0, 2], "weights": [1, 3]}},
            "sizes": [{"width": 64, "height": 48, "weight": 3}, {"width": 32, "height": 16}],
        },
        video={"seconds": 0.1, "fps": 2, "width": 640, "height": 360},
    )
    assert found.weight.tolist() == pytest.approx([3 / 16, 1 / 16, 9 / 16, 3 / 16])
    assert found.images.tolist() == [0, 0, 2, 2]
    assert found.image_width.tolist() == [0, 0, 64, 32]
    assert found.image_height.tolist() == [0, 0, 48, 16]
    assert found.video_frames.tolist() == [1] * 4
    assert found.video_width.tolist() == [640] * 4
    assert found.text_only_share == 0


def test_arrays_are_read_only():
    found = build()
    with pytest.raises(ValueError, match="read-only"):
        found.weight[0] = 2


def write(folder, text, name="t.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return {"trace": name}


def test_a_trace_stays_joint(tmp_path):
    rows = "".join(f"{n},{10 * n}\n" for n in range(1, 501))
    trace = write(tmp_path, "ContextTokens,GeneratedTokens\n" + rows)
    found = build(tmp_path, isl=trace, osl=trace)
    isl, osl = found.text_tokens, (found.output_weight * found.output_tokens).sum(axis=1)
    assert osl == pytest.approx(10 * isl, rel=1e-12)
    assert found.weight @ isl == pytest.approx(250.5, rel=1e-12)


def test_lengths_of_two_traces_are_independent(tmp_path):
    isl = write(tmp_path, "isl\n1\n2\n3\n", "a.csv")
    osl = write(tmp_path, "osl\n7\n9\n", "b.csv")
    found = build(tmp_path, isl=isl, osl=osl)
    assert found.output_tokens.tolist() == [[7, 9]] * 3
    assert found.output_mean == pytest.approx(8)


def test_json_lines(tmp_path):
    rows = [{"input_length": n, "output_length": n + 1, "hash_ids": []} for n in (4, 8)]
    trace = write(tmp_path, "\n".join(json.dumps(row) for row in rows), "t.jsonl")
    found = build(tmp_path, isl=trace, osl=trace)
    assert found.text_tokens.tolist() == [4, 8]
    assert found.output_tokens[:, 0].tolist() == [5, 9]


TRACE_ERRORS = {
    "": "t.csv: is empty; expected a header and rows",
    "isl,osl\n": "t.csv: has a header but no rows",
    "a,b\n1,2\n": "t.csv: has no column isl or ContextTokens or input_length or prompt_tokens; "
    "found a, b",
    "isl,osl\n3,4\n5,0\n": "t.csv:3: osl: must be at least 1; got 0; leave such rows out",
    "isl,osl\n3,nan\n": "t.csv:2: osl: must be a finite number; got 'nan'",
    "isl,osl\n3\n": "t.csv:2: osl: must be a finite number; got nothing",
    "isl,osl\nx,3\n": "t.csv:2: isl: must be a finite number; got 'x'",
}


@pytest.mark.parametrize("text", TRACE_ERRORS, ids=range(len(TRACE_ERRORS)))
def test_unusable_traces(tmp_path, text):
    trace = write(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        build(tmp_path, isl=trace, osl=trace)
    assert str(caught.value) == f"{tmp_path}/{TRACE_ERRORS[text]}"


def test_other_unusable_traces(tmp_path):
    lines = write(tmp_path, "\n[1]\n", "t.jsonl")
    with pytest.raises(SpecError, match=r"t\.jsonl:2: is not a JSON object on one line"):
        build(tmp_path, isl=lines)
    with pytest.raises(SpecError, match=r"none\.csv: cannot be read as a trace: no such file"):
        build(tmp_path, isl={"trace": "none.csv"})
    (tmp_path / "latin.csv").write_bytes(b"isl\n\xff\n")
    with pytest.raises(SpecError, match=r"latin\.csv: is not UTF-8 text"):
        build(tmp_path, isl={"trace": "latin.csv"})


@pytest.mark.skipif(not TRACES.is_dir(), reason=f"no traces at {TRACES}")
@pytest.mark.parametrize(
    ("name", "isl", "osl"),
    [
        ("AzureLLMInferenceTrace_code.csv", 2047.85, 27.88),
        ("mooncake_synthetic_trace.jsonl", 15325.48, 149.12),
    ],
)
def test_published_traces(name, isl, osl):
    found = build(TRACES, isl={"trace": name}, osl={"trace": name})
    assert found.weight @ found.text_tokens == pytest.approx(isl, rel=1e-5)
    assert found.output_mean == pytest.approx(osl, rel=1e-3)


@pytest.mark.parametrize("name", names("workload"))
def test_bundled_workloads_make_points(name):
    found = traffic(load_workload(name), 1.0, Path())
    assert found.weight.size <= 128
    assert found.has_media == (name in {"image-chat", "document-vqa", "video", "audio"})
