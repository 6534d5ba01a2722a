"""Fleets with simple laws, for which answers can be worked out by hand."""

import random

import numpy as np
import pytest

from pdplan.simulation.arrivals import OpenArrivals
from pdplan.simulation.decode import DecodeInstance
from pdplan.simulation.model import FleetModel, LaneModel, Laws, LinkModel, PoolModel
from pdplan.simulation.request import Prompt
from pdplan.simulation.run import Run
from pdplan.stages.iteration import PassLaw, PiecewiseLinear, StepLaw

MOST = 64
PLACEMENTS = ("PD", "EPD", "P-D", "EP-D", "E-PD", "E-P-D")
SCHEDULERS = ("chunked", "prefill_first", "layered")
ROUTINGS = ("least_loaded", "central", "round_robin", "random")


def step_law(base_s=0.01, request_s=0.0, token_s=0.0, most=MOST, growth=1.0):
    """Steps of base + n (request + context token)."""
    values = [[base_s + n * request_s] for n in range(most + 1)]
    slopes = [[n * token_s] for n in range(most + 1)]
    return StepLaw([0.0], values, slopes, growth)


def laws(step=None, base_s=0.0, token_s=1e-3, chunk=1000.0, capacity=float("inf"), **more):
    """One byte of cache a token; passes of base + tokens."""
    return Laws(
        step=step,
        passes=PassLaw.proportional(base_s, token_s),
        cache=PiecewiseLinear([0.0], [0.0], [1.0]),
        capacity_bytes=capacity,
        chunk_tokens=chunk,
        **more,
    )


def pool(stages, instances=1, max_batch=MOST, **more):
    """A pool named after its stages."""
    known = {"routing", "scheduler", "parallel_encode"}
    options = {name: more.pop(name) for name in known & more.keys()}
    if "D" in stages:
        more.setdefault("step", step_law(most=max_batch))
    return PoolModel(stages, stages, instances, laws(**more), max_batch, **options)


def fleet(*pools, links=None, **more):
    """Pools one after the other, with free links unless told."""
    links = links or (LinkModel(),) * (len(pools) - 1)
    return FleetModel((LaneModel(pools, tuple(links), **more),))


def prompt(tokens=1000.0, **more):
    """A prompt without a cached part."""
    return Prompt(tokens, more.pop("new", tokens), **more)


def poisson(rate_rps, prompts, osl, weight=None, **more):
    """Open arrivals; osl is one number or [O] values of equal weight."""
    outputs = np.tile(np.atleast_1d(np.asarray(osl, float)), (len(prompts), 1))
    share = np.ones(len(prompts)) if weight is None else np.asarray(weight, float)
    return OpenArrivals(
        rate_rps,
        more.pop("scv", 1.0),
        prompts,
        share / share.sum(),
        outputs,
        np.full(outputs.shape, 1 / outputs.shape[1]),
        **more,
    )


def go(model, arrivals, requests=None, *, seed=1, skip=True, rows=None, progress=None):
    """Run; returns the simulation and the run."""
    run = Run(model, iter(arrivals), requests, seed, skip, progress, rows)
    return run.run(), run


def traced(model, *arrivals, **more):
    """Run listed requests (time, prompt, osl); returns the rows by number and the simulation."""
    found = []
    simulation, run = go(model, arrivals, rows=found.append, **more)
    return sorted(found, key=lambda row: row.request), simulation, run


def made(
    placement, *, scheduler="chunked", routing="least_loaded", first="decode", capacity=1e9,
    instances=2, most=8, growth=1.0, **more,
):  # fmt: skip
    """A fleet of small numbers, every law in play."""
    pools = [
        pool(
            stages,
            instances=instances,
            max_batch=most,
            routing=routing,
            scheduler=scheduler,
            step=step_law(0.01, 5e-4, 1e-7, most, growth),
            base_s=0.005,
            token_s=2e-5,
            chunk=512.0,
            capacity=capacity,
        )
        for stages in placement.split("-")
    ]
    links = [LinkModel(1e-4, 8, layerwise=True)] * (len(pools) - 1)
    return fleet(*pools, links=links, first_token_from=first, mean_output=30.0, **more)


def random_requests(seed, count, rate=20.0, longest=1500, encodes=True):
    rng = random.Random(seed)
    now, found = 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate)
        tokens = float(rng.randint(1, longest))
        media = encodes and rng.random() < 0.5
        found.append(
            (
                now,
                prompt(
                    tokens,
                    new=max(tokens - rng.choice([0, 0, 400]), 1.0),
                    media=media,
                    encode_s=0.02 * media,
                    host_s=0.01 * media,
                    ride_s=2e-5 * tokens,
                    layered_s=2e-5 * tokens,
                    embedding_wire_s=0.001 * media,
                    kv_wire_s=1e-6 * tokens,
                ),
                rng.randint(1, 60),
            )
        )
    return found


def check(rows, run, requests):
    """Every request finishes once with its tokens; times are in order; gaps add up."""
    assert [row.request for row in rows] == list(range(len(requests)))
    for row, (arrival, asked, osl) in zip(rows, requests, strict=True):
        assert row.arrival_s == arrival
        assert row.output_tokens == osl
        assert row.ttft_s > 0
        assert row.e2e_s >= row.ttft_s - 1e-12
        assert row.e2e_s - row.ttft_s >= (osl - 1) * 0.01 - 1e-9 or row.preemptions
        parts = (
            row.encode_wait_s, row.encode_s, row.prefill_wait_s, row.prefill_s, row.transfer_s,
            row.decode_wait_s,
        )  # fmt: skip
        assert min(parts) >= -1e-9
        assert sum(parts) == pytest.approx(row.ttft_s)
        least = asked.encode_s + asked.host_s + min(2e-5 * asked.new, asked.ride_s or 1e-6)
        assert row.ttft_s >= least - 1e-9
    count, total = np.sum(run.gaps.sums, axis=0)
    assert count == pytest.approx(sum(osl - 1 for _, _, osl in requests))
    assert total == pytest.approx(sum(row.e2e_s - row.ttft_s for row in rows), abs=1e-6)
    for lane in run.lanes:
        for each in lane.pools:
            assert all(abs(work) < 1e-6 for work in each.work) or each.central
            for instance in each.instances:
                assert not instance.waiting
                if isinstance(instance, DecodeInstance):
                    assert instance.batch.n == 0
                    assert instance.batch.used == pytest.approx(0, abs=1e-3)
