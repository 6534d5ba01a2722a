"""Queueing mathematics: waits, processor sharing and latency percentiles, in closed form.

Plain functions of numbers and arrays (everything broadcasts), in SI units, without state:

- `erlang`: probability that all servers are busy;
- `waiting`: waits in front of servers, as an atom at zero plus an exponential tail;
- `one_by_one`, `passes`, `batching`: encode and prefill pools, one request or a pass at a time;
- `shapes`: a wait of given moments as a certain part and two phases;
- `bursts`: what bursts of arrivals add;
- `fork_join`: one request's images on several workers;
- `inverse`: the largest rate within a limit on latency;
- `deterministic`: M/D/1 exactly;
- `rounds`, `prefill_first`: prompts served in rounds up to a budget, beside decode or before it;
- `processor_sharing`, `decode_stream`, `outputs`, `tpot`: decode under continuous batching;
- `phases`, `sojourn`: sums of waits and services, their distribution and percentiles;
- `link`: transfers;
- `special`: normal and gamma probabilities.
"""

from pdplan.queueing.batching import BatchedQueue, batched_queue
from pdplan.queueing.bursts import burst_wait
from pdplan.queueing.decode_stream import POISSON, Stream, instance_stream
from pdplan.queueing.deterministic import md1_tail_decay_per_s, md1_wait_tail
from pdplan.queueing.erlang import erlang_b, erlang_c
from pdplan.queueing.fork_join import fork_join_s, parallel_s, split_merge_s
from pdplan.queueing.inverse import largest_rate, pipelined_ttft_s
from pdplan.queueing.link import hop_wait, link_wait, transfer_s
from pdplan.queueing.one_by_one import Services, request_queue
from pdplan.queueing.outputs import Outputs
from pdplan.queueing.passes import PromptSizes, pass_queue
from pdplan.queueing.prefill_first import pass_spread, passes_rps, saturated_shares
from pdplan.queueing.processor_sharing import (
    DecodeStates,
    decode_states,
    largest_stable_batch,
)
from pdplan.queueing.prompt_moments import PromptMoments
from pdplan.queueing.rounds import Rounds, company_within, room_after, rounds
from pdplan.queueing.shapes import ShapedWait, shaped_wait
from pdplan.queueing.sojourn import (
    sojourn_cdf,
    sojourn_mean_s,
    sojourn_quantile_s,
    wait_sum_cdf,
)
from pdplan.queueing.tpot import (
    mixed_quantiles_s,
    step_quantile_s,
    tpot_quantile_s,
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
    "POISSON",
    "BatchedQueue",
    "DecodeStates",
    "Outputs",
    "PromptMoments",
    "PromptSizes",
    "Rounds",
    "Routing",
    "Services",
    "ShapedWait",
    "Stream",
    "Wait",
    "batched_queue",
    "burst_wait",
    "company_within",
    "decode_states",
    "erlang_b",
    "erlang_c",
    "fork_join_s",
    "gigc_wait_allen_cunneen",
    "hop_wait",
    "instance_stream",
    "largest_rate",
    "largest_stable_batch",
    "link_wait",
    "md1_tail_decay_per_s",
    "md1_wait_tail",
    "mg1_wait",
    "mixed_quantiles_s",
    "parallel_s",
    "pass_queue",
    "pass_spread",
    "passes_rps",
    "pipelined_ttft_s",
    "request_queue",
    "room_after",
    "rounds",
    "routed_arrivals",
    "routed_wait",
    "saturated_shares",
    "shaped_wait",
    "sojourn_cdf",
    "sojourn_mean_s",
    "sojourn_quantile_s",
    "split_merge_s",
    "step_quantile_s",
    "tpot_quantile_s",
    "transfer_s",
    "wait_sum_cdf",
]
