"""Lets the tests of this folder import the fleets that they share."""

import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "small_fleets", Path(__file__).parent / "small_fleets.py"
)
small_fleets = importlib.util.module_from_spec(_SPEC)
sys.modules["small_fleets"] = small_fleets
_SPEC.loader.exec_module(small_fleets)
