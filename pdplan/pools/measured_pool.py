"""Pools of measured instances under load: prompts one after another, steady or varying batches."""

from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.measured import overhead_s, service_s
from pdplan.pools.table import Columns, Ints, PoolTable
from pdplan.pools.times import Times
from pdplan.queueing import DecodeStates, Wait, gigc_wait_allen_cunneen, routed_arrivals
from pdplan.queueing.one_by_one import Services, request_queue
from pdplan.specs.options.measured import Queue

POOLED: dict[Queue, str] = {"mm1": "random", "md1": "random", "mg1": "random", "mmc": "central"}
"""How arrivals come to instances: each has a queue of its own, or all share one."""


@dataclass(frozen=True, slots=True, eq=False)
class Serial:
    """Time in a pool that serves one prompt after another on each instance."""

    fixed_s: Floats
    """Certain part, offsets of the wait included [K, S]."""
    waits: tuple[Wait, Wait]
    """The wait; then its second phase, or an exponential service."""
    random_s: Floats
    """Mean of an exponential service, which is among the waits [K]; else 0."""


def serial(
    queue: Queue,
    rate_rps: Floats | float,
    services_s: Floats,
    weight: Floats,
    instances: Ints,
    dispersion: float = 1.0,
) -> Serial:
    """Waits and services of K pools.

    mm1    exponential service, a queue an instance: time in the pool exponential of 1 / (mu - l)
    mmc    the same, one queue for all: Erlang's C
    md1    every prompt takes the mean
    mg1    prompts take what they take

    services_s, weight = time of each support point [S] and its share; instances [K].
    *Exact*: M/M/1 and M/M/c in every percentile, M/D/1 and M/G/1 in the mean; their percentiles
    within the errors of `request_queue`.

    >>> one = serial("mm1", 2.0, np.array([0.25]), np.array([1.0]), np.array([1]))
    >>> sum(float(np.asarray(w.mean_s)[0]) for w in one.waits)  # 1 / (4 - 2)
    0.5
    """
    mean = float(services_s @ weight)
    count = np.asarray(instances, float)
    shape = (len(count), len(services_s))
    routing = POOLED[queue]
    if queue in ("mm1", "mmc"):
        rate, servers, scv = routed_arrivals(routing, rate_rps, count, dispersion)
        wait = gigc_wait_allen_cunneen(rate, mean, 1.0, servers, scv)
        ones = np.ones(len(count))
        return Serial(np.zeros(shape), (wait, Wait(ones, mean * ones)), mean * ones)
    own = np.full_like(services_s, mean) if queue == "md1" else services_s
    found = request_queue(rate_rps, Services.of(own, weight), count, routing, dispersion)
    fixed = own + np.broadcast_to(found.offset_s, len(count))[:, None]
    return Serial(fixed, (found.first, found.more), np.zeros(len(count)))


def measured_pool(times: Times, columns: Columns, demand: Demand) -> PoolTable:
    """Pools of measured prefill instances."""
    option = demand.options.measured
    assert option is not None
    c, n = columns.config, columns.instances
    weight, service = demand.weight(), service_s(option, demand)
    capacity = n / float(service @ weight)
    found = serial(
        option.queue, demand.rate_rps, service, weight, n, float(demand.traffic.arrival_scv)
    )
    beside = np.stack(
        [overhead_s(option, demand, s.kv_dtype, s.tp) for s in times.shapes]
        or [np.zeros(len(weight))]
    )
    nothing = np.zeros((len(columns), len(weight)))
    return PoolTable(
        times=times,
        columns=columns,
        encode_s=nothing,
        prefill_s=found.fixed_s + beside[c],
        encode_wait=None,
        prefill_wait=found.waits[0],
        decode_wait=None,
        utilization=demand.rate_rps / capacity,
        capacity_rps=capacity,
        step_s=np.zeros((len(columns), 0)),
        tpot_mean_s=np.full(len(columns), np.nan),
        mean_batch=np.ones(len(columns)),
        stable=demand.rate_rps < capacity,
        prefill_more=found.waits[1],
        served_s=found.random_s,
    )


def steady_states(step_s: Floats, rate_rps: Floats, steps: float, cap: Ints) -> DecodeStates:
    """Decode instances that always run the batch at which they keep up: n = r m tau(n).

    step_s [K, N], rate_rps into one instance [K], m = steps of a request, cap [K]. No wait and no
    spread: what a benchmark at a steady batch says. *Limits*: below one request the batch is one;
    saturated instances run the largest, and requests wait for ever.
    """
    size = step_s.shape[1]
    batch = np.arange(1, size + 1, dtype=float)
    limit = np.asarray(cap, float)
    load = np.asarray(rate_rps, float) * steps
    allowed = batch <= limit[:, None]
    short = load[:, None] * step_s - batch  # falls to zero where the batch keeps up
    enough = (short <= 0) & allowed
    above = np.where(enough.any(axis=1), enough.argmax(axis=1), (limit - 1).astype(int))
    below = np.maximum(above - 1, 0)
    rows = np.arange(len(load))
    gap = short[rows, below] - short[rows, above]
    part = np.where(gap > 0, short[rows, below] / np.where(gap > 0, gap, 1.0), 1.0)
    part = np.clip(np.where(above > below, part, 1.0), 0.0, 1.0)
    seen = np.zeros((len(load), size))
    seen[rows, below] += 1 - part
    seen[rows, above] += part
    pace = np.einsum("kn,kn->k", seen, step_s)
    full = step_s[rows, (limit - 1).astype(int)]
    utilization = load * full / limit
    stable = utilization < 1
    late = np.where(stable, 0.0, 1.0)
    return DecodeStates(
        probability=seen,
        seen=seen,
        idle=np.zeros(len(load)),
        utilization=utilization,
        wait=Wait(late, np.where(stable, 0.0, np.inf)),
        mean_batch=np.where(stable, load * pace, limit),
        tpot_mean_s=pace,
        stable=stable,
        residual_s=np.zeros(len(load)),
        recovery=np.ones(len(load)),
    )
