"""End-to-end latency of a choice of columns: what a request meets along a placement's pools."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement.grammar import Placement
from pdplan.pools.demand import Demand
from pdplan.pools.table import Ints, PoolTable
from pdplan.queueing import Wait, sojourn_cdf, sojourn_mean_s, sojourn_quantile_s
from pdplan.stages.transfer import Link, cache_copies


@dataclass(frozen=True, slots=True, eq=False)
class Sojourn:
    """Time to first token of X choices: fixed times per support point plus independent waits."""

    fixed_s: Floats
    """[X, S]."""
    probabilities: Floats
    """Of waiting, [X, S, W]."""
    tail_means_s: Floats
    """[X, S, W]."""

    def attainment(self, objective_s: float, weight: Floats) -> Floats:
        """Share of requests within an objective [X], over support points of given weights."""
        points = np.flatnonzero(weight > 0)
        return np.asarray(
            sojourn_cdf(
                objective_s,
                weight[points] / weight[points].sum(),
                self.fixed_s[:, points],
                self.probabilities[:, points],
                self.tail_means_s[:, points],
            )
        )

    def quantiles_s(self, levels: Floats, weight: Floats) -> Floats:
        """Percentiles of the first choice's TTFT [L]."""
        return np.asarray(
            sojourn_quantile_s(
                levels, weight, self.fixed_s[0], self.probabilities[0], self.tail_means_s[0]
            )
        )

    def mean_s(self, weight: Floats) -> float:
        """Mean TTFT of the first choice."""
        return float(
            sojourn_mean_s(weight, self.fixed_s[0], self.probabilities[0], self.tail_means_s[0])
        )


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """A placement's pools in the order a request visits them, with the hops between."""

    placement: Placement
    tables: tuple[PoolTable, ...]
    demand: Demand
    kv_dtypes: tuple[str, ...]
    """Cache type of each column's configuration in the pool that prefills."""
    first_token_from: str = "decode"

    def table(self, stage: str) -> tuple[int, PoolTable]:
        """Position and table of the pool that runs a stage."""
        position = next(i for i, pool in enumerate(self.placement.pools) if stage in pool)
        return position, self.tables[position]

    def embedding_link(self, choices: Ints) -> Link | None:
        """Hop from encode to prefill, for choices [X, pools]."""
        return self._link("E", "P", choices) if self.placement.encode_apart else None

    def kv_link(self, choices: Ints) -> Link | None:
        """Hop from prefill to decode."""
        return self._link("P", "D", choices) if self.placement.decode_apart else None

    def _link(self, source: str, target: str, choices: Ints) -> Link:
        i, sender = self.table(source)
        j, receiver = self.table(target)
        sent, latency = sender.network(choices[:, i])
        received, other_latency = receiver.network(choices[:, j])
        overlap = sender.overlap_s(choices[:, i])
        return Link(
            source_bytes_per_s=sent[:, None],
            target_bytes_per_s=received[:, None],
            latency_s=np.maximum(latency, other_latency)[:, None],
            overlap_s=np.zeros_like(overlap) if source == "E" else overlap,
            layers=self.demand.model.layers,
        )

    def kv_bytes(self, choices: Ints) -> Floats:
        """KV of each support point's prompt [X, S]."""
        i, table = self.table("P")
        config = table.columns.config[choices[:, i]]
        dtypes = [self.kv_dtypes[c] for c in config]
        sizes = {dtype: self.demand.kv_bytes(dtype) for dtype in set(dtypes)}
        copies = cache_copies(self.demand.model, table.times.machines.tp[config])
        return np.stack([sizes[dtype] for dtype in dtypes]) * copies

    def cache_weight(self, table: PoolTable) -> Floats:
        """Relative size of what each candidate of a pool sends per cached value [C]."""
        m = table.times.machines
        return np.asarray((m.kv_bytes * cache_copies(self.demand.model, m.tp))[:, 0])

    def transfers_s(self, choices: Ints) -> tuple[Floats, Floats]:
        """Exposed time of the embedding and the KV hop [X, S]; zero where there is none."""
        nothing = np.zeros((len(choices), len(self.demand.prompt_tokens)))
        embedding, kv = self.embedding_link(choices), self.kv_link(choices)
        size = self.demand.embedding_bytes()
        moved = nothing if embedding is None else embedding.exposed_s(size) * (size > 0)
        cached = nothing if kv is None else kv.exposed_s(self.kv_bytes(choices))
        return moved, cached

    def sojourn(self, choices: Ints) -> Sojourn:
        """Time to first token of choices [X, pools]."""
        has_media = self.demand.media.present.astype(float)
        moved, cached = self.transfers_s(choices)
        late = self.placement.decode_apart and self.first_token_from == "prefill"
        fixed = moved + (0.0 if late else cached)
        probabilities, means = [], []
        for i, table in enumerate(self.tables):
            column = choices[:, i]
            fixed = fixed + table.encode_s[column] + table.prefill_s[column]
            for wait in table.waits:
                if late and wait is table.decode_wait:
                    continue
                share = has_media if wait is table.encode_wait else np.ones_like(has_media)
                probabilities.append(np.asarray(wait.probability)[column, None] * share)
                means.append(np.asarray(wait.tail_mean_s)[column, None] * np.ones_like(share))
        return Sojourn(fixed, np.stack(probabilities, -1), np.stack(means, -1))

    def waits(self, choices: Ints) -> Sequence[tuple[str, Wait]]:
        """Waits along the way, named."""
        found = []
        for i, table in enumerate(self.tables):
            for name, wait in (
                ("encode", table.encode_wait),
                ("prefill", table.prefill_wait),
                ("decode", table.decode_wait),
            ):
                if wait is not None:
                    column = choices[:, i]
                    picked = Wait(
                        np.asarray(wait.probability)[column], np.asarray(wait.tail_mean_s)[column]
                    )
                    found.append((name, picked))
        return found
