import pytest

from pdplan.errors import SpecError
from pdplan.specs.base import validate
from pdplan.specs.catalog import names
from pdplan.specs.lengths import Length
from pdplan.specs.source import parse_yaml
from pdplan.specs.workload import WorkloadSpec, load_workload


def read(text):
    return validate(parse_yaml(text, "w.yaml"), WorkloadSpec)


CLASSES = """
classes:
  - {name: a, share: 0.5, isl: 3, osl: 3}
  - {name: b, share: %s, isl: 3, osl: 3}
"""
FORMS = "fixed, uniform, lognormal, histogram, trace"

WRONG = {
    "isl: -5\nosl: .nan": [
        "w.yaml:1: isl: must be between 0 and 1e+09; got -5",
        "w.yaml:2: osl: must be a finite number; got nan",
    ],
    "isl: 0\nosl: .inf": [
        "w.yaml:1: isl: must be at least 1; got 0",
        "w.yaml:2: osl: must be a finite number; got inf",
    ],
    "osl: 1\nisl: {uniform: {min: 9, max: 3}}": ["w.yaml:2: isl.uniform: min 9 is above max 3"],
    "osl: 1\nisl: {uniform: {min: 0, max: 3}}": ["w.yaml:2: isl: must be at least 1; got 0"],
    "osl: 1\nisl: {lognormal: {mean: .inf, cv: 1}}": [
        "w.yaml:2: isl.lognormal.mean: must be a finite number; got inf"
    ],
    "osl: 1\nisl: {histogram: {values: [1, 2], weights: [1]}}": [
        "w.yaml:2: isl.histogram: needs one weight for each value; got 2 values and 1 weights"
    ],
    "osl: 1\nisl: {histogram: {values: [1, 2], weights: [0, 0]}}": [
        "w.yaml:2: isl.histogram.weights: at least one must be above 0"
    ],
    "osl: 1\nisl: {lognorml: {mean: 9}}": [
        "w.yaml:2: isl.lognorml: unknown key; did you mean 'lognormal'?"
    ],
    "osl: foo\nisl: {fixed: 3, trace: f.csv}": [
        f"w.yaml:1: osl: needs a number or one of {FORMS}; got 'foo'",
        f"w.yaml:2: isl: needs exactly one of {FORMS}; got fixed and trace",
    ],
    "osl: 1\nisl: {fixed: 3, column: n}": ["w.yaml:2: isl.column: only a trace has columns"],
    "isl: 3": ["w.yaml:1: needs osl, or classes"],
    "isl: 3\nosl: 3\nrate: 0 req/s": ["w.yaml:3: rate: must be greater than 0; got '0 req/s'"],
    "isl: 3\nosl: 3\nrate: 5": [
        "w.yaml:3: rate: needs a number and a unit, for example '20 req/s'; got 5"
    ],
    "isl: 3\nosl: 3\npercentile: 80": [
        "w.yaml:3: percentile[0]: must be 50, 90, 95, 99 or 'mean'; got 80"
    ],
    "isl: 3\nosl: 3\npercentile: []": [
        "w.yaml:3: percentile: needs at least one of 50, 90, 95, 99 or mean"
    ],
    "isl: 3\nosl: 3\nitl: 40 ms\ntpot: 40 ms": [
        "w.yaml:3: itl: is another name for tpot, which is given too"
    ],
    "isl: 3\nosl: 3\nimages: {count: 2}": [
        "w.yaml:3: images: needs width and height, or sizes, and not both"
    ],
    "isl: 3\nosl: 3\nimages: {count: {trace: f.csv}, width: 9, height: 9}": [
        "w.yaml:3: images.count: a trace needs its column named here, for example 'column: images'"
    ],
    "isl: 3\nosl: 3\naudio: {seconds: 0}": [
        "w.yaml:3: audio.seconds: must be above 0; got 0",
    ],
    "isl: 3\nosl: 3\nburst:\n  factor: 4\n  share: 0.3\n  length: 30 s": [
        "w.yaml:4: burst.factor: bursts would bring 1.2 times the mean; factor x share is at most "
        "1; got 4 x 0.3"
    ],
    "isl: 3\nosl: 3\nburst: {factor: 1, share: 1, length: 30}": [
        "w.yaml:3: burst.factor: must be greater than 1; got 1",
        "w.yaml:3: burst.share: must be less than 1; got 1",
        "w.yaml:3: burst.length: needs a number and a unit, for example '300 ms'; got 30",
    ],
    "isl: 3\nosl: 3\nburst: {factor: 2, share: 0.1}": [
        "w.yaml:3: burst.length: missing; it has no default"
    ],
    "isl: 3\nosl: 3\nprofile: {relative: [0, 0]}": [
        "w.yaml:3: profile.relative: at least one must be above 0"
    ],
    "isl: 3\nosl: 3\nprofile: {relative: [1, -1]}": [
        "w.yaml:3: profile.relative[1]: must be greater than or equal to 0; got -1"
    ],
    "isl: 3\nosl: 3\nprofile: {relative: [1, 2]}\npeak_factor: 1.5": [
        "w.yaml:4: peak_factor: follows from the profile, which is given too"
    ],
    "isl: 3\nosl: 3\npeak_factor: 0.5": [
        "w.yaml:3: peak_factor: must be greater than or equal to 1; got 0.5"
    ],
    "isl: 3\nosl: 3\nprefix: {}": ["w.yaml:3: prefix: needs either hit or tokens"],
    "isl: 3\nosl: 3\nprefix: {hit: 0.5, tokens: 9}": [
        "w.yaml:3: prefix: needs either hit or tokens"
    ],
    "isl: 3\nosl: 3\nprefix: {hit: 60}": [
        "w.yaml:3: prefix.hit: must be less than or equal to 1; got 60"
    ],
    "isl: 3\nosl: 3\nsession: {turns: 0.5, think: 20}": [
        "w.yaml:3: session.turns: must be at least 1; got 0.5",
        "w.yaml:3: session.think: needs a number and a unit, for example '300 ms'; got 20",
    ],
    "isl: 3\nosl: 3\nsession: {turns: {uniform: {min: 1, max: 5000}}, think: 20 s}": [
        "w.yaml:3: session.turns: must be at most 1000; got 5000"
    ],
    "isl: 3\nosl: 3\nsession: {turns: 3, thinks: 20 s}": [
        "w.yaml:3: session.think: missing; it has no default",
        "w.yaml:3: session.thinks: unknown key; did you mean 'think'?",
    ],
    "isl: 3\nosl: 3\nsession: {turns: 3, think: 20 s}\nprefix: {hit: 0.5}": [
        "w.yaml:4: prefix: takes tokens only where there is a session; how much of its history is "
        "found is the session's 'cached'"
    ],
    "prefix: {hit: 0.5}" + CLASSES % 0.5: [
        "w.yaml:1: prefix: belong into each class where there are classes"
    ],
    CLASSES % 0.3: ["w.yaml:2: classes: shares must sum to 1; got 0.8"],
    CLASSES % 0: ["w.yaml:4: classes[1].share: must be greater than 0; got 0"],
    (CLASSES % 0.5).replace("name: b", "name: a"): [
        "w.yaml:2: classes: a name is used twice: a, a"
    ],
    "isl: 3" + CLASSES % 0.5: ["w.yaml:1: isl: belong into each class where there are classes"],
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_defects_are_named_with_their_place(text):
    with pytest.raises(SpecError) as caught:
        read(text)
    assert str(caught.value).splitlines() == WRONG[text]


def test_a_bare_number_is_a_fixed_length():
    assert read("isl: 30\nosl: 3").isl == Length(fixed=30)


def test_objectives_are_seconds_and_itl_is_tpot():
    workload = read("isl: 3\nosl: 3\nttft: 800 ms\nitl: 40 ms\npercentile: [99, 50, 99]")
    assert (workload.ttft, workload.tpot, workload.percentile) == (0.8, 0.04, (50, 99))


def test_a_workload_without_classes_is_one_class():
    (kind,) = read("isl: 3\nosl: 4\nttft: 1 s").kinds()
    assert (kind.name, kind.share, kind.isl.fixed, kind.osl.fixed, kind.ttft) == ("all", 1, 3, 4, 1)


def test_shares_that_nearly_sum_to_one_are_normalised():
    kinds = read(CLASSES % 0.5000004).kinds()
    assert sum(kind.share for kind in kinds) == pytest.approx(1, abs=1e-15)


def test_other_objectives_reach_every_class():
    workload = read(CLASSES % 0.5).replace(ttft=2.0, percentile=(99,))
    assert [(k.ttft, k.tpot, k.percentile) for k in workload.kinds()] == [(2.0, None, (99,))] * 2


@pytest.mark.parametrize("name", names("workload"))
def test_bundled_workloads_load_and_cite(name):
    workload = load_workload(name)
    assert workload.name == name
    assert workload.source
    assert all(kind.ttft and kind.tpot for kind in workload.kinds())


def test_the_expected_workloads_are_bundled():
    wanted = "agentic audio chat code document-vqa image-chat rag reasoning summarization video"
    assert set(wanted.split()) <= set(names("workload"))
