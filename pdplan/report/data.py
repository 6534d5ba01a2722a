"""Plain data as JSON or YAML, to the last digit, and without numbers that neither knows."""

import math
from collections.abc import Mapping
from typing import Any


def plain(value: object) -> Any:  # noqa: ANN401  (anything a file can hold)
    """Replace infinities and NaN by null, tuples by lists and NumPy numbers by Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(value: object) -> str:
    """Write indented JSON; keys keep their order."""
    import json

    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


def yaml_text(value: object) -> str:
    """Write YAML; keys keep their order and floats their last digit."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return yaml.dump(plain(value), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
