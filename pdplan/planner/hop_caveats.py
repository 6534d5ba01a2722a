"""What plans say of pruned models, and of KV that waits in prefill for decode to fetch it."""

from collections.abc import Iterator

import numpy as np

from pdplan.placement import Chain
from pdplan.planner.fleet import Fleet
from pdplan.pools.caches import cache_bytes
from pdplan.pools.pruned import of_pool
from pdplan.stages.kv_hop import buffered_bytes


def hop_caveats(fleet: Fleet, chain: Chain) -> Iterator[str]:
    """Warnings of a fleet that leaves layers or KV out, or lets decode fetch KV."""
    options = fleet.demand.options
    if options.prune is not None and options.prune.any:
        yield f"another model than the one named: without {options.prune.words()}"
    fetched = options.kv_transfer is not None and options.kv_transfer.pull
    if fetched and fleet.placement.decode_apart:
        yield from _held(fleet, chain)


def _held(fleet: Fleet, chain: Chain) -> Iterator[str]:
    """Constraint of fetching: KV of prompts that wait for decode fits beside running ones.

    Held for the wait for admission and the exposed transfer, by Little's law; means.
    """
    demand, choice = fleet.demand, np.zeros((1, len(chain.placement.devices)), np.int64)
    (i, sender), (j, receiver) = chain.table("P"), chain.table("D")
    if not (sender.stable[0] and receiver.stable[0]):
        return
    own, m = of_pool(demand, sender.stages), sender.times.machines
    each = cache_bytes(own, m, demand.prompt_tokens, demand.media.cross_tokens)[0]
    waits = (wait for name, wait in receiver.named_waits if name == "decode")
    admission = sum(float(np.asarray(wait.mean_s)[0]) for wait in waits)
    held = admission + receiver.prefill_s[0] + chain.transfers_s(choice)[1][0]
    instances = float(sender.columns.instances[0])
    waiting = buffered_bytes(demand.rate_rps, instances, held, each, demand.weight())
    waiting /= float(m.dp[0, 0])
    room = float(sender.times.memory.cache[0, 0])
    running = float(sender.mean_batch[0] * sender.times.sequence_bytes[0])
    if waiting + running > room:
        yield (
            f"{fleet.members[i].name}: KV that waits for {fleet.members[j].name} to fetch it takes "
            f"{waiting / 1e9:.1f} GB of an accelerator on average; {room / 1e9:.1f} GB hold it and "
            f"the running prompts ({running / 1e9:.1f} GB)"
        )
