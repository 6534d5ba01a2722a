"""What a gateway that offers requests again and again adds to their wait."""

from dataclasses import replace

from pdplan.pools.demand import Demand
from pdplan.queueing import Wait


def retried(wait: Wait, demand: Demand) -> Wait:
    """Wait for prefill where a gateway offers requests every so often: half of that more.

    An instance becomes idle at any time between two offers of a request, so who waits waits half
    an interval longer on average: E[W] + P(W > 0) retry / 2.

    *Valid for* intervals that are short beside a prefill pass: the time that instances stay idle
    until the next offer is not taken from their capacity; with several requests waiting it is the
    interval over their number. *Limits*: no gateway, or no interval, is the wait itself.
    """
    gateway = demand.options.gateway
    if gateway is None or gateway.retry is None:
        return wait
    return replace(wait, tail_mean_s=wait.tail_mean_s + gateway.retry / 2)
