"""Arithmetic and traffic that a request causes in a pool under load."""

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.table import PoolTable
from pdplan.specs.model import ModelSpec
from pdplan.stages.energy import (
    Work,
    at_datasheet,
    encode_work,
    prompt_work,
    riding_work,
    step_work,
)
from pdplan.stages.machine import Machines

NOTHING = Work(np.zeros((1, 1)), np.zeros((1, 1)))


def request_work(table: PoolTable, demand: Demand, scheduler: str) -> tuple[float, float]:
    """Mean arithmetic and traffic of a request in a pool's first column [s] at datasheet rates.

    Summed over the accelerators of its instance. Prompts share passes, and decode steps are shared,
    as the pool's load has it; beside decode a prompt adds what a running step does not read anyway:
    for each chunk again, or once where its layers are taken in groups. Media pre-processing counts
    as nothing.
    """
    config = table.columns.config[:1]
    m = at_datasheet(table.times.machines.take(config))
    weight = demand.weight()
    batch = float(table.mean_batch[0])
    found = NOTHING
    if "E" in table.stages and demand.media.any:
        found = found.plus(_mean(encode_work(demand.model, m, demand.media), weight))
    if "P" in table.stages:
        found = found.plus(_mean(_prompts(table, demand, m, demand.model, scheduler), weight))
        if demand.draft is not None:
            found = found.plus(_mean(_prompts(table, demand, m, demand.draft, scheduler), weight))
    if "D" in table.stages:
        step = step_work(
            demand.model,
            m,
            speculation=demand.speculation,
            sequences=batch,
            context_tokens=demand.context_tokens,
            cross_tokens=demand.cross_tokens,
        )
        found = found.plus(step.times(demand.decode_steps))
    return float(found.compute_s[0, 0]), float(found.memory_s[0, 0])


def _prompts(
    table: PoolTable, demand: Demand, m: Machines, model: ModelSpec, scheduler: str
) -> Work:
    """Prefill of each support point by the model or its draft [1, S]."""
    tokens = np.asarray(demand.new_tokens, float)
    prefix = np.asarray(demand.cached_tokens, float)
    cross = demand.media.cross_tokens * (model is demand.model)
    chunk, batch = float(table.times.chunk_tokens), float(table.mean_batch[0])
    if "D" not in table.stages or scheduler == "prefill_first":
        return prompt_work(
            model,
            m,
            tokens=tokens,
            chunk_tokens=chunk,
            prefix_tokens=prefix,
            cross_tokens=cross,
            sequences=1.0 if "D" in table.stages else batch,
        )
    running = -float(np.expm1(-batch))
    return riding_work(
        model,
        m,
        tokens=tokens,
        chunk_tokens=np.maximum(tokens, chunk) if scheduler == "layered" else chunk,
        beside=batch / max(running, 1e-9),
        running=running,
        prefix_tokens=prefix,
        cross_tokens=cross,
    )


def _mean(work: Work, weight: Floats) -> Work:
    """Mean over the support points [1, 1]."""
    parts = (np.broadcast_to(part, (1, len(weight))) for part in (work.compute_s, work.memory_s))
    return Work(*((part @ weight)[:, None] for part in parts))
