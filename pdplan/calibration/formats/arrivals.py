"""How a benchmark sent its requests: N at a time, at a rate, or all at once."""

import math

from pdplan.calibration.formats.json_object import Node, number_text
from pdplan.specs.source import shown


def arrivals(
    node: Node, rate_key: str, *, limit: float | None, requests: float | None
) -> dict[str, str]:
    """Find `rate` or `concurrency` of a run.

    A finite rate is an open loop; without one, `limit` requests at a time are a closed loop, and
    a run without a limit sends all its requests at once.
    """
    rate = _rate(node, rate_key)
    if math.isfinite(rate):
        return {"rate": number_text(rate)}
    known = [count for count in (limit, requests) if count]
    return {"concurrency": number_text(min(known))} if known else {}


def _rate(node: Node, key: str) -> float:
    value = node.data.get(key)
    if value is None or value == "":
        return math.inf
    try:
        rate = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if math.isnan(rate) or rate <= 0:
        message = f"must be a rate above 0 or inf; got {shown(value)}"
        if value == "trace":
            message = "replays a trace; one row of predict has a constant rate"
        node.refuse(key, message)
    return rate
