"""What a run has seen, as numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pdplan.simulation.counting import Counter
from pdplan.simulation.links import Link
from pdplan.simulation.meter import Window
from pdplan.simulation.model import ClassModel, FleetModel
from pdplan.simulation.pool import Pool
from pdplan.simulation.result import ClassRun, LinkRun, PoolRun, Simulation
from pdplan.simulation.statistics import gap_latency, latency, share

Floats = NDArray[np.float64]


def report(
    fleet: FleetModel,
    lanes: Sequence[tuple[list[Pool], list[Link]]],
    counter: Counter,
    seed: int | None,
    finished: bool,
) -> Simulation:
    """Work out the statistics of a run, complete or not."""
    window = counter.window
    window.end_s = min(window.end_s, counter.clock.now)
    kept = min(len(counter.e2e_s), len(counter.kinds))
    ttft, tpot, e2e = (
        np.array(values[:kept], float) for values in (counter.ttft_s, counter.tpot_s, counter.e2e_s)
    )
    kinds = np.array(counter.kinds[:kept], int)
    met = attained(fleet.classes, kinds, ttft, tpot)
    span = counter.last_s - counter.first_s
    rate = (counter.arrivals_counted() - 1) / span if span > 0 else 0.0
    attainment = share(met)
    mean_tokens = counter.tokens / kept if kept else 0.0
    asked = counter.asked
    return Simulation(
        requests=kept,
        warmup=max(counter.warmup, 0),
        complete=finished and (kept == asked if asked is not None else True),
        seed=seed,
        span_s=span,
        rate_rps=rate,
        goodput_rps=rate * attainment.value,
        output_tokens_per_s_per_gpu=rate * mean_tokens / fleet.gpus,
        attainment=attainment,
        ttft_s=latency(ttft),
        tpot_s=latency(tpot),
        itl_s=gap_latency(counter.gaps),
        e2e_s=latency(e2e),
        classes=tuple(
            ClassRun(
                name=kind.name,
                requests=int((kinds == i).sum()),
                attainment=share(met[kinds == i]),
                ttft_s=latency(ttft[kinds == i]),
                tpot_s=latency(tpot[kinds == i]),
                e2e_s=latency(e2e[kinds == i]),
            )
            for i, kind in enumerate(fleet.classes)
        ),
        pools=tuple(_pool(pool, window) for pools, _ in lanes for pool in pools),
        links=tuple(
            _link(source, target, link, counter.clock.now)
            for pools, links in lanes
            for source, target, link in zip(pools[:-1], pools[1:], links, strict=True)
        ),
        events=counter.clock.events,
    )


def attained(
    classes: tuple[ClassModel, ...], kinds: NDArray[np.int_], ttft: Floats, tpot: Floats
) -> Floats:
    """1 for each request that met both of its class's objectives, else 0."""
    first = np.array([np.inf if k.ttft_s is None else k.ttft_s for k in classes])
    later = np.array([np.inf if k.tpot_s is None else k.tpot_s for k in classes])
    late = (ttft > first[kinds]) | (tpot > later[kinds])
    return np.asarray(~late, float)


def _pool(pool: Pool, window: Window) -> PoolRun:
    meter = pool.meter
    time_s = window.span_s * len(pool.instances)
    return PoolRun(
        name=pool.model.name,
        utilization=meter.busy_s / time_s if time_s > 0 else 0.0,
        mean_batch=meter.carried_s / meter.busy_s if meter.busy_s > 0 else 0.0,
        preemptions=meter.preemptions,
        peak_cache_share=meter.peak,
    )


def _link(source: Pool, target: Pool, link: Link, time_s: float) -> LinkRun:
    busier = max(sum(link.sent_s) / len(link.sent_s), sum(link.received_s) / len(link.received_s))
    return LinkRun(
        source=source.model.name,
        target=target.model.name,
        utilization=busier / time_s if time_s > 0 else 0.0,
        mean_wait_s=link.waited_s / link.transfers if link.transfers else 0.0,
    )
