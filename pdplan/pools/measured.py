"""Instances that were measured: throughput and a decode curve in the place of the roofline.

Prefill of a prompt of L new tokens takes S = L / throughput; prompts are served one after another.
A decode step at a batch is the TPOT of the curve there.

*Source*: SLO-aware compute resource allocation for P/D-disaggregated inference, arXiv 2603.04716:
prefill instances as M/M/1 queues, decode instances at the batch whose measured TPOT is the limit.
*Limits*: a fleet whose instances are benchmarked as they will run; of other prompts, caches or
draft models the measurements say nothing.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pdplan.errors import UnfitError
from pdplan.physics.roofline import Floats
from pdplan.specs.options.measured import Measured, MeasuredDecode
from pdplan.stages.machine import Shape
from pdplan.stages.transfer import cache_copies

if TYPE_CHECKING:
    from pdplan.pools.demand import Demand
    from pdplan.pools.times import Times

FAST = 1e30
"""Bytes a second of a network whose transfers are part of what was measured."""
WHOLE = 1e-9
"""Rounding of a batch that is a whole number but for the last digit."""


def measured_step_s(decode: MeasuredDecode, largest: int) -> Floats:
    """Step times at batch 1..N: linear between points, flat below the first.

    N is the last point's batch, or `largest` where that is less.

    >>> from pdplan.specs.options.measured import DecodePoint
    >>> points = (DecodePoint(tpot="10 ms", batch=2), DecodePoint(tpot="20 ms", batch=4))
    >>> curve = MeasuredDecode(accelerators=8, curve=points)
    >>> measured_step_s(curve, 64).tolist()
    [0.01, 0.01, 0.015, 0.02]
    """
    most = min(int(np.floor(decode.curve[-1].running + WHOLE)), largest)
    batch = np.arange(1, most + 1, dtype=float)
    return np.asarray(
        np.interp(batch, [p.running for p in decode.curve], [p.tpot for p in decode.curve])
    )


def unmeasured(option: Measured | None, stages: str, shape: Shape) -> str | None:
    """Why measurements say nothing of a candidate, if they do not."""
    if option is None or not set(stages) & set("PDAF"):
        return None
    if stages not in ("P", "D"):
        return f"measured instances run prefill or decode alone, not {stages}"
    if option.hardware is not None and shape.hardware != option.hardware:
        return f"{shape.hardware} is not what was measured: {option.hardware}"
    phase = option.prefill if stages == "P" else option.decode
    if shape.gpus != phase.accelerators:
        name = "prefill" if stages == "P" else "decode"
        return f"{shape.gpus} accelerators an instance; {name} was measured on {phase.accelerators}"
    return None


def measured_times(times: "Times", demand: "Demand") -> "Times":
    """Put measured times in the place of those worked out, if there are any.

    Raises UnfitError for instances that were not measured.
    """
    option = demand.options.measured
    if option is None or times.stages == "E":
        return times
    for shape in times.shapes:
        problem = unmeasured(option, times.stages, shape)
        if problem is not None:
            message = f"options.measured: {problem}"
            raise UnfitError(message)
    m = times.machines
    bare = replace(
        m,
        network_bytes_per_s=np.full_like(m.tp, FAST),
        network_latency_s=np.zeros_like(m.tp),
        network_layerwise=np.zeros_like(m.tp),
        request_s=np.zeros_like(m.tp),
    )
    if times.stages == "D":
        step = measured_step_s(option.decode, times.step_s.shape[1])
        return replace(times, machines=bare, step_s=np.broadcast_to(step, (len(times), len(step))))
    served = service_s(option, demand) * m.pp  # a pipeline's stages share what is measured
    return replace(
        times,
        machines=bare,
        prefill_s=served,
        marginal_s=served,
        full_s=served,
        passes=np.ones_like(served),
    )


def service_s(option: Measured, demand: "Demand") -> Floats:
    """Time that each support point's prompt occupies an instance [S]."""
    return np.asarray(demand.new_tokens, float) / option.prefill.tokens_per_s


def overhead_s(option: Measured, demand: "Demand", kv_dtype: str = "bf16", tp: float = 1) -> Floats:
    """What TTFT has beside queueing and service [S]: a constant, and KV of the prompt / link."""
    constant = np.full(len(demand.prompt_tokens), option.overhead)
    if option.link is None:
        return constant
    copies = float(cache_copies(demand.model, tp))
    return constant + demand.kv_bytes(kv_dtype) * copies / option.link
