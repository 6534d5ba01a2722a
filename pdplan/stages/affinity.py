"""The links between prefill and decode instances: those of a node, or the network between nodes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pdplan.specs.engine import EngineSpec
from pdplan.specs.hardware import HardwareSpec
from pdplan.specs.options.node_affinity import NodeAffinity
from pdplan.stages.machine import Machines, Shape


def with_affinity(
    m: Machines,
    shapes: Sequence[Shape],
    hardware: dict[str, HardwareSpec],
    engine: EngineSpec,
    option: NodeAffinity | None,
    stages: str,
) -> Machines:
    """Give instances the links that KV takes to them.

    low: every accelerator of an instance sends its part over the node's own fabric, at the rate
    that the engine's collectives achieve there; nothing changes for pools that only encode.
    high: over the network; where the node's own bandwidth to others is given, its accelerators
    share it evenly.

    *Source*: DistServe (Zhong et al., OSDI 2024), section 4: placements for high and for low
    node-affinity clusters.
    """
    if option is None or (option.kind == "low" and not set(stages) & set("PD")):
        return m
    if option.kind != "low" and option.network is None:
        return m
    bandwidth, latency = [], []
    for i, shape in enumerate(shapes):
        spec = hardware[shape.hardware]
        constants, _ = engine.constants(spec.generation)
        if option.kind == "low":
            fabric = spec.scale_up.bandwidth if spec.scale_up else 0.0
            bandwidth.append(fabric * shape.gpus * constants.collectives.efficiency)
            latency.append(constants.collectives.latency)
        else:
            each = (option.network or 0.0) / spec.accelerators_per_node
            bandwidth.append(each * shape.gpus * constants.network.efficiency)
            latency.append(float(m.network_latency_s[i, 0]))
    return replace(
        m,
        network_bytes_per_s=np.array(bandwidth, float).reshape(-1, 1),
        network_latency_s=np.array(latency, float).reshape(-1, 1),
    )
