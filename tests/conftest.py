"""Plans written by hand, for tests of what is printed and written."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parent / "report" / "made_by_hand.py"
_SPEC = importlib.util.spec_from_file_location("made_by_hand", _PATH)
made_by_hand = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(made_by_hand)


@pytest.fixture
def plan():
    return made_by_hand.PLAN


@pytest.fixture
def no_plan():
    return made_by_hand.NO_PLAN


@pytest.fixture
def found():
    return made_by_hand.FOUND
