"""Queueing mathematics: waits, processor sharing and latency percentiles, in closed form.

Plain functions of numbers and arrays (everything broadcasts), in SI units, without state:

- `erlang`: probability that all servers are busy;
- `batching`: several requests in one pass;
- `waiting`: waits in front of servers, as an atom at zero plus an exponential tail;
- `deterministic`: M/D/1 exactly;
- `processor_sharing`: decode under continuous batching;
- `phases`, `sojourn`: sums of waits and services, their distribution and percentiles;
- `link`: transfers.
"""

from pdplan.queueing.batching import BatchedQueue, batched_queue
from pdplan.queueing.deterministic import md1_tail_decay_per_s, md1_wait_tail
from pdplan.queueing.erlang import erlang_b, erlang_c
from pdplan.queueing.link import link_wait, transfer_s
from pdplan.queueing.processor_sharing import (
    DecodeStates,
    decode_states,
    largest_stable_batch,
    tpot_quantile_s,
)
from pdplan.queueing.sojourn import (
    sojourn_cdf,
    sojourn_mean_s,
    sojourn_quantile_s,
    wait_sum_cdf,
)
from pdplan.queueing.waiting import (
    Routing,
    Wait,
    gigc_wait_allen_cunneen,
    mg1_wait,
    routed_arrivals,
    routed_wait,
)

__all__ = [
    "BatchedQueue",
    "DecodeStates",
    "Routing",
    "Wait",
    "batched_queue",
    "decode_states",
    "erlang_b",
    "erlang_c",
    "gigc_wait_allen_cunneen",
    "largest_stable_batch",
    "link_wait",
    "md1_tail_decay_per_s",
    "md1_wait_tail",
    "mg1_wait",
    "routed_arrivals",
    "routed_wait",
    "sojourn_cdf",
    "sojourn_mean_s",
    "sojourn_quantile_s",
    "tpot_quantile_s",
    "transfer_s",
    "wait_sum_cdf",
]
