"""What options make of the hops between pools, and prefill that begins before encoding ends."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.table import Ints, PoolTable
from pdplan.stages.embedding_hop import embedding_link
from pdplan.stages.injection import beside_s
from pdplan.stages.kv_hop import kv_link
from pdplan.stages.transfer import Link


def optioned(
    link: Link,
    source: str,
    demand: Demand,
    ends: tuple[tuple[PoolTable, Ints], tuple[PoolTable, Ints]],
) -> Link:
    """Make a hop from encode (E) or prefill (P) as the options say; as it is without any.

    ends: table and columns [X] of the sender and of the receiver.
    """
    options = demand.options
    if source == "E":
        store = options.embedding_transfer
        return link if store is None else embedding_link(link, store)
    if options.kv_transfer is None:
        return link
    sender, column = ends[0]
    turns = demand.turns
    return kv_link(
        link,
        options.kv_transfer,
        prompt_tokens=demand.prompt_tokens if turns is None else turns.sent_tokens,
        compute_s=sender.times.prefill_s[sender.columns.config[column]],
        memory_bytes_per_s=(_memory(*ends[0]), _memory(*ends[1])),
    )


def saved_s(
    demand: Demand,
    encoder: tuple[PoolTable, Ints],
    prefill: tuple[PoolTable, Ints],
    moved_s: Floats,
) -> Floats:
    """Time that early layers run while media are encoded on other devices [X, S].

    Pools: table and columns [X]. moved_s = time on the way between them [X, S]. Waits in both
    queues are taken one after the other, so that TTFT is at most over-estimated.
    """
    (before, i), (after, j) = encoder, prefill
    pass_s = after.times.prefill_s[after.columns.config[j]]
    found = beside_s(demand.model, before.encode_s[i], moved_s, pass_s)
    return np.asarray(found * demand.media.present)


def _memory(table: PoolTable, column: Ints) -> Floats:
    """HBM bandwidth of instances: of all accelerators that share a prompt's cache [X, 1]."""
    m = table.times.machines
    return np.asarray((m.peak_bytes_per_s * m.tp * m.pp)[table.columns.config[column]])
