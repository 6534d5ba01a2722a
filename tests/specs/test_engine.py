"""Engine profiles: every file loads, and every hardware finds constants."""

import copy

import pytest
import yaml
from pydantic import BaseModel

from pdplan.errors import SpecError
from pdplan.specs.catalog import bundled_root, names
from pdplan.specs.engine import load_engine
from pdplan.specs.hardware import load_hardware

SHARES = ("mfu", "mbu", "efficiency", "utilization")


def _shares(spec, path=""):
    """Every named share of a hardware limit below a spec."""
    for key in type(spec).model_fields:
        value, where = getattr(spec, key), f"{path}.{key}"
        if isinstance(value, BaseModel):
            yield from _shares(value, where)
        elif key.endswith(SHARES):
            values = value.values() if isinstance(value, dict) else [value]
            yield from ((where, v) for v in values)


@pytest.mark.parametrize("name", names("engine"))
def test_profile_is_complete(name):
    engine = load_engine(name)
    assert engine.unknown in engine.generations
    assert set(engine.transferred.values()) <= set(engine.generations)
    assert not set(engine.transferred) & set(engine.generations)
    for generation, constants in engine.generations.items():
        assert constants.error or constants.in_sample, f"{generation} does not state its error"
        shares = dict(_shares(constants))
        assert len(shares) >= 10
        assert all(0 < share <= 1 for share in shares.values()), shares


@pytest.mark.parametrize("name", names("engine"))
@pytest.mark.parametrize("hardware", names("hardware"))
def test_every_hardware_resolves(name, hardware):
    engine = load_engine(name)
    generation = load_hardware(hardware).generation
    constants, origin = engine.constants(generation)
    assert constants is engine.generations[engine.lender(generation)]
    assert origin == (constants.origin if generation in engine.generations else "transferred")
    measured = not constants.measured or hardware in constants.measured
    assert engine.constants(generation, hardware)[1] == (origin if measured else "transferred")


def test_unknown_generation_is_marked():
    engine = load_engine("vllm")
    constants, origin = engine.constants("positronic")
    assert constants is engine.generations[engine.unknown]
    assert origin == "transferred"


def test_nearest_generation_is_borrowed():
    engine = load_engine("vllm")
    assert engine.constants("volta") == (engine.generations["ampere"], "transferred")


def test_unknown_silicon_is_slowest():
    """Constants without a measurement must not flatter hardware."""
    engine = load_engine("vllm")
    unknown = engine.generations[engine.unknown]
    for constants in engine.generations.values():
        assert unknown.gemm.mfu["bf16"] <= constants.gemm.mfu["bf16"]
        assert unknown.gemm.mbu["bf16"] <= constants.gemm.mbu["bf16"]
        assert unknown.attention.decode_mbu <= constants.attention.decode_mbu
        assert unknown.overhead.step >= constants.overhead.step


BUNDLED = yaml.safe_load((bundled_root() / "engines" / "vllm.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def changed(tmp_path):
    """A profile like the bundled one but for some keys: its path."""

    def change(changes):
        data = copy.deepcopy(BUNDLED)
        for path, value in changes.items():
            *parents, last = path.split("/")
            inner = data
            for part in parents:
                inner = inner.setdefault(part, {})
            inner[last] = value
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        return path

    return change


def said(path, mark):
    """What loading a profile complains of, with the first line that holds `mark` as LINE."""
    with pytest.raises(SpecError) as caught:
        load_engine(str(path))
    lines = path.read_text(encoding="utf-8").splitlines()
    line = next(i for i, text in enumerate(lines, 1) if mark in text)
    return str(caught.value).replace(f"{path}:{line}: ", "LINE: ")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gemm/mfu/bf16", 1.0625, "must be at most 1: a share of the datasheet peak; got 1.0625"),
        (
            "attention/decode_mbu",
            7.25,
            "must be at most 1: a share of the datasheet peak; got 7.25",
        ),
        ("network/efficiency", -0.25, "must be above 0: a share of the datasheet peak; got -0.25"),
        ("memory/utilization", 1.125, "must be at most 1: a share of device memory; got 1.125"),
        ("overhead/step", "-3 ms", "must be a finite number of at least 0; got -3 ms"),
        ("gemm/norm", 0.0625, "must be greater than or equal to 1; got 0.0625"),
    ],
)
def test_above_the_roofline_is_refused(changed, key, value, message):
    path = changed({f"generations/hopper/{key}": value})
    dotted = f"generations.hopper.{key}".replace("/", ".")
    assert said(path, str(value)) == f"LINE: {dotted}: {message}"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("transferred/volta", "amper", "'amper' is no generation of this profile; "
         "did you mean 'ampere'?"),
        ("transferred/hopper", "ampere", "has constants of its own and need not borrow any"),
        ("unknown", "unmeasure", "'unmeasure' is no generation of this profile; "
         "did you mean 'unmeasured'?"),
        ("generations/hopper/intervals/gemm.mfu.bf61", [0.1, 0.2], "is no constant; "
         "did you mean 'gemm.mfu.bf16'?"),
        ("generations/hopper/intervals/gemm.norm", [17.0, 18.5], "[17, 18.5] does not hold the "
         f"constant, {BUNDLED['generations']['hopper']['gemm']['norm']:g}"),
    ],
)  # fmt: skip
def test_names_lead_somewhere(changed, key, value, message):
    mark = f"{key.rpartition('/')[2]}:" + (f" {value}" if isinstance(value, str) else "")
    found = said(changed({key: value}), mark)
    assert found == f"LINE: {key.replace('/', '.')}: {message}"


def test_all_problems_at_once(changed):
    with pytest.raises(SpecError) as caught:
        load_engine(str(changed({"transferred/volta": "x", "transferred/turing": "y"})))
    assert len(caught.value.problems) == 2


def test_what_was_not_measured_is_transferred(changed):
    path = changed({"generations/hopper/measured": ["h100-sxm"]})
    engine = load_engine(str(path))
    assert engine.own
    assert engine.constants("hopper", "h100-sxm")[1] == "user"
    assert engine.constants("hopper", "mine/h100-sxm.yaml")[1] == "user"
    assert engine.constants("hopper", "h800")[1] == "transferred"
    assert engine.constants("volta", "v100-32gb")[1] == "transferred"
    assert not load_engine("vllm").own
