"""Columns of one pool: every candidate at a number of instances, with what follows under load."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pdplan.physics.roofline import Floats
from pdplan.pools.times import Times
from pdplan.queueing import Wait

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """K choices of (candidate, instances, batch limit), before their load is worked out."""

    config: Ints
    instances: Ints
    max_batch: Ints

    @classmethod
    def of(
        cls, config: Sequence[int] | Ints, instances: Sequence[int] | Ints,
        max_batch: Sequence[int] | Ints | int = 1,
    ) -> "Columns":  # fmt: skip
        """Build from anything array-like."""
        config = np.asarray(config, np.int64)
        batch = np.broadcast_to(np.asarray(max_batch, np.int64), config.shape)
        return cls(config, np.asarray(instances, np.int64), batch)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.config)


@dataclass(frozen=True, slots=True, eq=False)
class PoolTable:
    """K columns of one pool under load."""

    times: Times
    columns: Columns
    encode_s: Floats
    """Encoding, host and device, as the request feels it [K, S]."""
    prefill_s: Floats
    """Prefill as the request feels it, in a loaded instance [K, S]."""
    encode_wait: Wait | None
    prefill_wait: Wait | None
    decode_wait: Wait | None
    utilization: Floats
    """Rate over the rate at which the pool saturates [K]."""
    capacity_rps: Floats
    """Rate of all requests at which the pool saturates [K]."""
    step_s: Floats
    """Effective time per output token at batch 1..N, prefill interference included [K, N]."""
    tpot_mean_s: Floats
    mean_batch: Floats
    stable: NDArray[np.bool_]
    encode_more: Wait | None = None
    """Second phase of the encode wait, of some of those who meet the first."""
    prefill_more: Wait | None = None
    burst_wait: Wait | None = None
    """What bursts of arrivals pile up before encode or prefill, independent of the others."""
    prefilled: Floats | None = None
    """1 for support points that are prefilled here, else 0 [S]; None where all are that can be."""
    served_s: Floats | None = None
    """Mean of a random service that is among the waits before prefill [K]."""
    extras: tuple[tuple[tuple[str, float | int | str], ...], ...] = ()
    """What else was chosen of each column, by the names of the plan file's pool options."""

    def meeting(self, name: str, media: Floats) -> Floats:
        """Share of the requests of each support point that meet a wait of a name [S].

        media: that of those with media, who alone meet waits before encode.
        """
        if name == "prefill" and self.prefilled is not None:
            return self.prefilled
        return media if name == "encode" else np.ones_like(media)

    def with_extras(self, more: Sequence[tuple[tuple[str, float | int | str], ...]]) -> Self:
        """Add to what else was chosen of each column."""
        known = self.extras or ((),) * len(self)
        return replace(self, extras=tuple((*a, *b) for a, b in zip(known, more, strict=True)))

    def extras_of(self, column: int) -> tuple[tuple[str, float | int | str], ...]:
        """What else was chosen of a column."""
        return self.extras[column] if self.extras else ()

    @property
    def stages(self) -> str:
        """Stages the pool runs."""
        return self.times.stages

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.columns)

    @property
    def gpus(self) -> Ints:
        """Accelerators of each column [K]."""
        each = np.array([shape.gpus for shape in self.times.shapes], np.int64)
        return np.asarray(each[self.columns.config] * self.columns.instances)

    @property
    def named_waits(self) -> tuple[tuple[str, Wait], ...]:
        """Waits of a request in this pool and the stage before which it waits, in order.

        A wait that follows another comes right after it; that before decode comes last. Waits
        before encode are met by requests with media only.
        """
        found = (
            ("encode", self.encode_wait),
            ("encode", self.encode_more),
            ("prefill", self.prefill_wait),
            ("prefill", self.prefill_more),
            ("encode" if self.stages == "E" else "prefill", self.burst_wait),
            ("decode", self.decode_wait),
        )
        return tuple((name, wait) for name, wait in found if wait is not None)

    @property
    def waits(self) -> tuple[Wait, ...]:
        """Waits of a request in this pool, in order."""
        return tuple(wait for _, wait in self.named_waits)

    def take(self, rows: Ints) -> "PoolTable":
        """Some of the columns, in the order asked."""

        def wait(found: Wait | None) -> Wait | None:
            if found is None:
                return None
            probability, mean = np.asarray(found.probability), np.asarray(found.tail_mean_s)
            return Wait(probability[rows], mean[rows], found.follows)

        c = self.columns
        return PoolTable(
            times=self.times,
            columns=Columns(c.config[rows], c.instances[rows], c.max_batch[rows]),
            encode_s=self.encode_s[rows],
            prefill_s=self.prefill_s[rows],
            encode_wait=wait(self.encode_wait),
            prefill_wait=wait(self.prefill_wait),
            decode_wait=wait(self.decode_wait),
            utilization=self.utilization[rows],
            capacity_rps=self.capacity_rps[rows],
            step_s=self.step_s[rows],
            tpot_mean_s=self.tpot_mean_s[rows],
            mean_batch=self.mean_batch[rows],
            stable=self.stable[rows],
            encode_more=wait(self.encode_more),
            prefill_more=wait(self.prefill_more),
            burst_wait=wait(self.burst_wait),
            prefilled=self.prefilled,
            served_s=None if self.served_s is None else self.served_s[rows],
            extras=tuple(self.extras[k] for k in rows) if self.extras else (),
        )

    def network(self, column: Ints) -> tuple[Floats, Floats]:
        """Achieved bandwidth of one instance and latency, of chosen columns."""
        m = self.times.machines
        config = self.columns.config[column]
        return (
            m.network_bytes_per_s[config, 0],
            m.network_latency_s[config, 0],
        )

    def overlap_s(self, column: Ints) -> Floats:
        """Prefill during which KV of earlier layers can be sent, of chosen columns [X, S]."""
        config = self.columns.config[column]
        return np.asarray(
            self.times.prefill_s[config] * self.times.machines.network_layerwise[config]
        )
