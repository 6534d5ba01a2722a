"""What a simulation is told of a fleet: pools with their laws, links, and who asks for what."""

from dataclasses import dataclass, field

from pdplan.stages.iteration import PassLaw, PiecewiseLinear, StepLaw


@dataclass(frozen=True, slots=True, eq=False)
class Laws:
    """Times and cache of one instance; laws of stages that it does not run are None."""

    step: StepLaw | None = None
    passes: PassLaw | None = None
    cache: PiecewiseLinear = field(default_factory=lambda: PiecewiseLinear([0.0], [0.0], [0.0]))
    """Bytes of one sequence by its context, on one accelerator."""
    capacity_bytes: float = float("inf")
    """Room for them in all data-parallel groups together."""
    chunk_tokens: float = 8192.0
    """Token budget of a pass of one data-parallel group."""
    groups: int = 1
    """Data-parallel groups, with a budget each."""
    pipeline: int = 1
    """Stages of the pipeline: a pass leaves the first after this part of its time."""


@dataclass(frozen=True, slots=True, eq=False)
class PoolModel:
    """Identical instances and how they are run."""

    name: str
    stages: str
    instances: int
    laws: Laws
    max_batch: int = 1
    routing: str = "least_loaded"
    scheduler: str = "chunked"
    parallel_encode: int = 1
    """Instances that share the media of one request."""

    @property
    def shared_queue(self) -> bool:
        """Whether all instances take from one queue.

        Not where they decode: a cache is sent to one of them, and batches take whatever waits.
        """
        return self.routing == "central" and "D" not in self.stages


@dataclass(frozen=True, slots=True)
class LinkModel:
    """A hop into a pool; the time on the wire belongs to each prompt."""

    latency_s: float = 0.0
    layers: int = 1
    layerwise: bool = False
    """Whether a transfer may start with the first layer of the pass before it."""
    sender_share: float = 1.0
    """Share of its sender's network that a transfer takes while it is on the wire."""
    receiver_share: float = 1.0


@dataclass(frozen=True, slots=True)
class ClassModel:
    """Requests that share objectives; an objective of None is no constraint."""

    name: str
    ttft_s: float | None = None
    tpot_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LaneModel:
    """Pools in the order that requests of some classes visit them."""

    pools: tuple[PoolModel, ...]
    links: tuple[LinkModel, ...] = ()
    """Hop from each pool but the last to the next."""
    first_token_from: str = "decode"
    request_s: float = 0.0
    """Host time of every request."""
    mean_output: float = 1.0
    """What a router expects an answer to be long [tokens]."""


@dataclass(frozen=True, slots=True, eq=False)
class FleetModel:
    """Lanes side by side, one or several, and the classes that use them."""

    lanes: tuple[LaneModel, ...]
    classes: tuple[ClassModel, ...] = (ClassModel("all"),)
    lane_of: tuple[int, ...] = (0,)
    """Lane of each class."""
    speculation: tuple[int, float] | None = None
    """Tokens drafted for a step, and the chance that each holds if those before it did."""
    gpus: int = 1
