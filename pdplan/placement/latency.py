"""End-to-end latency of a choice of columns: what a request meets along a placement's pools."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement.grammar import Placement
from pdplan.placement.history import beyond_wait_s
from pdplan.placement.hops import optioned, saved_s
from pdplan.pools.decode_pool import DecodeTable
from pdplan.pools.demand import Demand
from pdplan.pools.table import Ints, PoolTable
from pdplan.queueing import Wait, sojourn_cdf, sojourn_mean_s, sojourn_quantile_s
from pdplan.queueing.link import hop_wait
from pdplan.stages.access import access_s
from pdplan.stages.pruning import sent_model
from pdplan.stages.transfer import Link, cache_copies

SHORT = 0.005
"""Share of the fixed times below which a mean wait for a wire counts as one of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Sojourn:
    """Time to first token of X choices: fixed times per support point plus independent waits."""

    fixed_s: Floats
    """[X, S]."""
    probabilities: Floats
    """Of waiting, [X, S, W]."""
    tail_means_s: Floats
    """[X, S, W]."""
    follows: tuple[bool, ...] = ()
    """Of each wait whether only those meet it who met the one before [W]; all others are
    independent. Probabilities are over all requests either way."""

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
                self.follows,
            )
        )

    def quantiles_s(self, levels: Floats, weight: Floats) -> Floats:
        """Percentiles of the first choice's TTFT [L]."""
        return np.asarray(
            sojourn_quantile_s(
                levels,
                weight,
                self.fixed_s[0],
                self.probabilities[0],
                self.tail_means_s[0],
                self.follows,
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
        position = next(i for i, table in enumerate(self.tables) if stage in table.stages)
        return position, self.tables[position]

    def column(self, choices: Ints, position: int) -> Ints:
        """Columns of a pool in choices [X, devices]: pools on the same devices share theirs."""
        return np.asarray(choices[:, self.placement.device_of[position]])

    @property
    def late(self) -> bool:
        """Whether clients see the first token before decode takes the request over."""
        return self.placement.decode_alone and self.first_token_from == "prefill"

    def embedding_link(self, choices: Ints) -> Link | None:
        """Hop from encode to prefill, for choices [X, pools]."""
        return self._link("E", "P", choices) if self.placement.encode_apart else None

    def kv_link(self, choices: Ints) -> Link | None:
        """Hop from prefill to decode."""
        return self._link("P", "D", choices) if self.placement.decode_apart else None

    def _link(self, source: str, target: str, choices: Ints) -> Link:
        i, sender = self.table(source)
        j, receiver = self.table(target)
        sent, latency = sender.network(self.column(choices, i))
        received, other_latency = receiver.network(self.column(choices, j))
        overlap = sender.overlap_s(self.column(choices, i))
        link = Link(
            source_bytes_per_s=sent[:, None],
            target_bytes_per_s=received[:, None],
            latency_s=np.maximum(latency, other_latency)[:, None],
            overlap_s=overlap if source == "P" else np.zeros_like(overlap),
            layers=sent_model(self.demand.model, self.demand.options.prune).layers,
        )
        if source == "D":
            return link
        ends = (sender, self.column(choices, i)), (receiver, self.column(choices, j))
        return optioned(link, source, self.demand, ends)

    def history_link(self, choices: Ints) -> Link | None:
        """Hop from decode back to prefill, where prefill reads the history of sessions."""
        turns = self.demand.turns
        if turns is None or not turns.read_tokens.any() or not self.placement.decode_apart:
            return None
        return self._link("D", "P", choices)

    def history_bytes(self, choices: Ints) -> Floats:
        """KV of the history that each support point reads [X, S]."""
        i, table = self.table("D")
        config = table.columns.config[self.column(choices, i)]
        dtypes = [table.times.shapes[c].kv_dtype for c in config]
        copies = cache_copies(self.demand.model, table.times.machines.tp[config])
        return np.stack([self.demand.history_bytes(dtype) for dtype in dtypes]) * copies

    def read_s(self, choices: Ints) -> Floats | None:
        """Time that reading the history adds before prefill [X, S]; None where nothing is read."""
        link = self.history_link(choices)
        if link is None:
            return None
        hop = self._hop(link, "D", "P", self.history_bytes(choices), choices)
        i, table = self.table("P")
        return beyond_wait_s(hop.exposed_s + hop.waited_s, table, self.column(choices, i))

    def saved_s(self, choices: Ints, moved_s: Floats) -> Floats | None:
        """Prefill beside encoding on other devices [X, S]; None where media are in the prompt."""
        if self.demand.model.vision_inject is None or not self.placement.encode_apart:
            return None
        (i, before), (j, after) = self.table("E"), self.table("P")
        encoder, prefill = (before, self.column(choices, i)), (after, self.column(choices, j))
        return saved_s(self.demand, encoder, prefill, moved_s)

    def kv_bytes(self, choices: Ints) -> Floats:
        """KV of each support point's prompt [X, S]."""
        i, table = self.table("P")
        config = table.columns.config[self.column(choices, i)]
        dtypes = [self.kv_dtypes[c] for c in config]
        sizes = {dtype: self.demand.kv_bytes(dtype) for dtype in set(dtypes)}
        copies = cache_copies(self.demand.model, table.times.machines.tp[config])
        return np.stack([sizes[dtype] for dtype in dtypes]) * copies

    def cache_weight(self, table: PoolTable) -> Floats:
        """Relative size of what each candidate of a pool sends per cached value [C]."""
        m = table.times.machines
        return np.asarray((m.kv_bytes * cache_copies(self.demand.model, m.tp))[:, 0])

    def transfers_s(self, choices: Ints) -> tuple[Floats, Floats]:
        """Mean exposed time of the embedding and the KV hop, waits for the wire included [X, S].

        Zero where there is no hop.
        """
        embedding, kv = self._hops(choices)
        return embedding.exposed_s + embedding.waited_s, kv.exposed_s + kv.waited_s

    def _hops(self, choices: Ints) -> tuple["Hop", "Hop"]:
        """The embedding and the KV hop under load."""
        shape = (len(choices), len(self.demand.prompt_tokens))
        embedding, kv = self.embedding_link(choices), self.kv_link(choices)
        nothing = Hop(*(np.zeros(shape) for _ in range(3)))
        moved = cached = nothing
        if embedding is not None:
            size = np.broadcast_to(self.demand.embedding_bytes(), shape)
            moved = self._hop(embedding, "E", "P", size, choices)
        if kv is not None:
            cached = self._hop(kv, "P", "D", self.kv_bytes(choices), choices)
        return moved, cached

    def _hop(self, link: Link, source: str, target: str, size: Floats, choices: Ints) -> "Hop":
        """Put the demand on a link: each end carries one transfer at a time.

        Requests that leave a pass together queue for its sender; what can wait while its pass
        still runs delays nobody.
        """
        i, sender = self.table(source)
        j, receiver = self.table(target)
        weight = self.demand.weight() * (size[0] > 0)
        share = float(weight.sum())
        if share <= 0:
            return Hop(*(np.zeros(size.shape) for _ in range(3)))
        wire = np.broadcast_to(link.occupied_s(size), size.shape)
        mean = wire @ weight / share
        scv = np.maximum(wire**2 @ weight / share / np.maximum(mean, 1e-300) ** 2 - 1, 0.0)
        rate = self.demand.rate_rps * share
        wait = hop_wait(
            rate / sender.columns.instances[self.column(choices, i)],
            rate / receiver.columns.instances[self.column(choices, j)],
            mean * link.sender_share[:, 0],
            scv,
            sender.mean_batch[self.column(choices, i)] if source == "P" else 1.0,
            sender.columns.instances[self.column(choices, i)],
            receiver.columns.instances[self.column(choices, j)],
            received_mean_s=mean * link.receiver_share[:, 0],
            in_turn=isinstance(receiver, DecodeTable) and receiver.routing != "random",
        )
        tail = np.asarray(wait.tail_mean_s)[:, None]
        slack = np.broadcast_to(link.slack_s(size), size.shape)
        kept = np.exp(-np.where(tail > 0, slack / np.where(tail > 0, tail, 1.0), 0.0))
        present = size > 0
        return Hop(
            exposed_s=link.exposed_s(size) * present,
            probability=np.asarray(wait.probability)[:, None] * kept * present,
            tail_mean_s=np.broadcast_to(tail, size.shape),
        )

    def sojourn(self, choices: Ints) -> Sojourn:
        """Time to first token of choices [X, pools].

        Its waits are those of `waits` in the same order, then those for the wires. What a pool that
        only decodes has in `prefill_s` (the rest of a step) counts if it gives the first token.
        """
        has_media = self.demand.media.present.astype(float)
        moved, cached = self._hops(choices)
        late = self.late
        fixed = moved.exposed_s + (0.0 if late else cached.exposed_s)
        probabilities, means, follows = [], [], []
        for i, table in enumerate(self.tables):
            column = self.column(choices, i)
            fixed = fixed + table.encode_s[column]
            if not (late and table.stages == "D"):
                fixed = fixed + table.prefill_s[column]
            elif table.prefilled is not None:
                fixed = fixed + table.prefill_s[column] * table.prefilled
            for name, wait in table.named_waits:
                if late and name == "decode":
                    continue
                share = table.meeting(name, has_media)
                probabilities.append(np.asarray(wait.probability)[column, None] * share)
                means.append(np.asarray(wait.tail_mean_s)[column, None] * np.ones_like(share))
                follows.append(wait.follows)
        read = self.read_s(choices)
        fixed = fixed if read is None else fixed + read
        access = access_s(self.demand.options, self.demand.prompt_tokens)
        fixed = fixed if access is None else fixed + access
        saved = self.saved_s(choices, moved.exposed_s)
        fixed = fixed if saved is None else fixed - saved
        for hop in (moved,) if late else (moved, cached):
            short = hop.waited_s < SHORT * fixed
            fixed = fixed + np.where(short, hop.waited_s, 0.0)
            chance = np.where(short, 0.0, hop.probability)
            if chance.any():
                probabilities.append(chance)
                means.append(hop.tail_mean_s)
                follows.append(False)
        return Sojourn(fixed, np.stack(probabilities, -1), np.stack(means, -1), tuple(follows))

    def waits(self, choices: Ints) -> Sequence[tuple[str, Wait]]:
        """Waits for instances along the way, named by the stage before which they are."""
        found = []
        for i, table in enumerate(self.tables):
            for name, wait in table.named_waits:
                column = self.column(choices, i)
                probability, mean = np.asarray(wait.probability), np.asarray(wait.tail_mean_s)
                found.append((name, Wait(probability[column], mean[column], wait.follows)))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Hop:
    """A transfer between two pools under load, each [X, S]."""

    exposed_s: Floats
    """Delay if the wire is free."""
    probability: Floats
    """Of a wait for the wire that delays the request."""
    tail_mean_s: Floats

    @property
    def waited_s(self) -> Floats:
        """Mean of that wait over all requests."""
        waits = self.probability > 0
        return np.where(waits, self.probability * np.where(waits, self.tail_mean_s, 0.0), 0.0)
