"""Published systems laid under a scenario: nothing above knows them by name."""

from pdplan.systems.preset import applied

__all__ = ["applied"]
