"""Engine profiles: every file loads, and every hardware finds constants."""

import pytest
from pydantic import BaseModel

from pdplan.specs.catalog import names
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
        assert constants.error, f"{generation} does not state its error"
        shares = dict(_shares(constants))
        assert len(shares) >= 10
        assert all(0 < share <= 1 for share in shares.values()), shares


@pytest.mark.parametrize("name", names("engine"))
@pytest.mark.parametrize("hardware", names("hardware"))
def test_every_hardware_resolves(name, hardware):
    engine = load_engine(name)
    generation = load_hardware(hardware).generation
    constants, origin = engine.constants(generation)
    if generation in engine.generations:
        assert constants is engine.generations[generation]
        assert origin == constants.origin
    else:
        assert origin == "transferred"


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
