"""One forward pass of the language model on candidate instances.

A pass runs every layer once over some new tokens. Its time is the sum over operators of the
p-norm of compute and memory time, plus collectives and host overhead; layers that are alike are
summed before joining, because the p-norm is homogeneous.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from pdplan.physics import attention, collectives
from pdplan.physics.experts import busiest, expected_experts
from pdplan.physics.roofline import Floats, joined_s
from pdplan.specs.model import ModelSpec
from pdplan.stages.layers import ACTIVATION_BYTES, layer_work
from pdplan.stages.machine import Machines
from pdplan.stages.parts import WHOLE, Parts


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """Time of passes and its parts, each [C, X]."""

    total_s: Floats
    compute_s: Floats
    """Arithmetic at achieved rates, before joining."""
    memory_s: Floats
    """Memory traffic at achieved bandwidth, before joining."""
    network_s: Floats
    overhead_s: Floats
    roof_s: Floats
    """What the datasheet allows: larger of all arithmetic and all traffic at full rates."""

    def plus(self, other: "Pass") -> "Pass":
        """One pass after another."""
        return Pass(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )

    def times(self, count: ArrayLike) -> "Pass":
        """So many passes alike."""
        return Pass(*(getattr(self, name) * count for name in self.__dataclass_fields__))

    def delayed(self, by_s: Floats) -> "Pass":
        """The pass after some host work."""
        return replace(self, total_s=self.total_s + by_s, overhead_s=self.overhead_s + by_s)


@dataclass(slots=True, eq=False)
class _Sum:
    """Running sums over the operators of a pass."""

    joined: Floats | float = 0.0
    compute: Floats | float = 0.0
    memory: Floats | float = 0.0
    flops_at_peak: Floats | float = 0.0
    bytes_at_peak: Floats | float = 0.0

    def attend(
        self, m: Machines, layers: int, flops: Floats, row_flops: Floats, bytes_moved: Floats
    ) -> None:
        """Add prefill attention of some layers alike; flops and bytes of one of them."""
        rate, bandwidth = m.prefill_attention_flops_per_s, m.prefill_attention_bytes_per_s
        self.joined = self.joined + layers * attention.attention_s(
            flops,
            row_flops,
            bytes_moved,
            rate,
            bandwidth,
            m.prefill_attention_fill,
            m.prefill_attention_floor_s,
        )
        self.compute = self.compute + layers * flops / rate
        self.memory = self.memory + layers * bytes_moved / bandwidth
        self.flops_at_peak = self.flops_at_peak + layers * flops / m.half_peak_flops_per_s
        self.bytes_at_peak = self.bytes_at_peak + layers * bytes_moved / m.peak_bytes_per_s

    def add(
        self,
        m: Machines,
        *,
        flops: Floats | float,
        bytes_moved: Floats | float,
        flops_per_s: Floats,
        bytes_per_s: Floats,
        peak_flops_per_s: Floats,
        floor_s: Floats | float = 0.0,
        least: tuple[Floats, Floats] | None = None,
    ) -> None:
        """Add one kind of operator; `least` arithmetic and traffic where some is in vain."""
        compute = np.asarray(flops / flops_per_s)
        memory = np.asarray(bytes_moved / bytes_per_s)
        self.joined = self.joined + joined_s(compute, memory, m.norm) + floor_s
        self.compute = self.compute + compute
        self.memory = self.memory + memory
        flops, bytes_moved = least or (flops, bytes_moved)
        self.flops_at_peak = self.flops_at_peak + flops / peak_flops_per_s
        self.bytes_at_peak = self.bytes_at_peak + bytes_moved / m.peak_bytes_per_s

    def stream(self, m: Machines, bytes_moved: Floats, bytes_per_s: Floats) -> None:
        """Add kernels that only move data, most of which a larger cache could keep."""
        memory = np.asarray(bytes_moved / bytes_per_s)
        self.joined = self.joined + memory
        self.memory = self.memory + memory


def cache_shard(m: Machines, kv_heads: int, latent: bool) -> Floats:
    """Share of a layer's cache that one accelerator holds: heads are replicated beyond their count.

    An MLA cache has one latent vector per token and is replicated on every TP rank.
    """
    return np.ones_like(m.tp) if latent else 1 / np.minimum(m.tp, kv_heads)


def _products(
    total: _Sum,
    model: ModelSpec,
    m: Machines,
    tokens: Floats,
    sampled: Floats,
    groups: Floats,
    parts: Parts = WHOLE,
) -> None:
    """Dense and expert matrix products and the LM head; `groups` share the attention's tokens.

    A layer's products are summed before joining, 0.05 % below the sum of joins.
    """
    dense, layer = parts.dense_weights(model), layer_work(model, parts)
    own = tokens / groups
    total.add(
        m,
        flops=2 * dense * own / m.tp,
        bytes_moved=dense * m.weight_bytes / m.tp + own * layer.product_bytes / m.tp,
        flops_per_s=m.flops_per_s,
        bytes_per_s=m.stream_bytes_per_s,
        peak_flops_per_s=m.peak_flops_per_s,
        floor_s=layer.products * m.product_floor_s,
    )
    whole = layer.whole_bytes + layer.whole_inputs * m.staged_bytes
    traffic = whole + (layer.sharded_bytes + layer.inputs * m.staged_bytes) / m.tp
    total.stream(m, own * traffic, m.elementwise_bytes_per_s)
    if model.moe is not None and parts.experts:
        _experts(total, model, m, tokens)
    if not parts.projections:
        return
    head = model.hidden * model.vocab
    total.add(
        m,
        flops=2 * head * sampled / (groups * m.tp),
        bytes_moved=head * ACTIVATION_BYTES / m.tp,
        flops_per_s=m.half_flops_per_s,
        bytes_per_s=m.half_stream_bytes_per_s,
        peak_flops_per_s=m.half_peak_flops_per_s,
    )


def _experts(total: _Sum, model: ModelSpec, m: Machines, tokens: Floats) -> None:
    """Grouped products of the routed experts, on the rank that has most to do.

    Each expert touched computes some rows in vain (a tile is never full). Source: fits of the
    grouped products in aiconfigurator's tables, `facts` of docs/VALIDATION.md.
    """
    moe, counts = model.moe, model.parameters()
    assert moe is not None
    load = busiest(m.ep, moe.experts, m.imbalance)
    touched = np.minimum(_touched(model, m, tokens) * load, moe.experts)
    rows = moe.topk * tokens * load
    each = moe.layers * counts.per_expert / m.moe_ranks
    widths = 2 * model.hidden + 3 * moe.expert_width / m.moe_tp
    total.add(
        m,
        flops=2 * each * (rows + m.expert_padding * touched),
        bytes_moved=each * touched * m.moe_weight_bytes
        + moe.layers * rows / m.ep * ACTIVATION_BYTES * widths,
        flops_per_s=m.moe_flops_per_s,
        bytes_per_s=m.moe_bytes_per_s,
        peak_flops_per_s=m.moe_peak_flops_per_s,
        floor_s=moe.layers * m.expert_floor_s,
        least=(
            2 * each * moe.topk * tokens,
            each * np.minimum(moe.topk, touched) * m.moe_weight_bytes,
        ),
    )


def _touched(model: ModelSpec, m: Machines, tokens: Floats) -> Floats:
    """Distinct experts of a layer that a pass reads, [C, X]; skew differs by machine only."""
    moe = model.moe
    assert moe is not None
    shape = np.broadcast_shapes(tokens.shape, m.tp.shape)
    touched = np.empty(shape)
    grid = np.broadcast_to(tokens, shape)
    for skew in sorted(set(m.expert_skew[:, 0].tolist())):
        rows = np.flatnonzero(m.expert_skew[:, 0] == skew)
        chosen, where = np.unique(grid[rows], return_inverse=True)
        knots = chosen if chosen.size <= 96 else np.geomspace(chosen[0], chosen[-1], 96)
        values = expected_experts(knots, moe.experts, moe.topk, float(skew))
        touched[rows] = np.interp(chosen, knots, values)[where].reshape(grid[rows].shape)
    return touched


def all_reduce_s(m: Machines, size_bytes: Floats) -> Floats:
    """Sum a tensor over the tensor-parallel ranks: engine's kernel, library, across nodes."""
    ranks = np.ceil(m.tp / m.nodes)
    kernel = collectives.kernel_all_reduce_s(
        size_bytes, ranks, m.reduce_latency_s, m.reduce_bytes_per_s
    )
    moved = 2 * (ranks - 1) / ranks * size_bytes
    library = collectives.pipelined_s(moved, m.library_latency_s, m.library_bytes_per_s)
    inside = collectives.engine_all_reduce_s(
        size_bytes, kernel, library, np.where(m.nodes > 1, 0.0, m.reduce_limit_bytes)
    )
    if not (m.nodes > 1).any():
        return inside
    return collectives.across_nodes_s(
        inside, size_bytes, ranks, m.nodes, m.exchange_latency_s, m.node_bytes_per_s
    )


def _collectives(
    model: ModelSpec, m: Machines, tokens: Floats, groups: Floats, parts: Parts = WHOLE
) -> Floats:
    """All-reduce after attention and FFN, expert exchange under data-parallel attention, hops."""
    size = tokens / groups * model.hidden * ACTIVATION_BYTES
    moe_layers = model.moe.layers if model.moe is not None else 0
    always, alone = parts.reductions(model)
    reduces = always + alone * (m.dp <= 1)
    network: Floats = np.zeros(np.broadcast_shapes(size.shape, m.tp.shape))
    if (m.tp > 1).any():
        network = reduces * all_reduce_s(m, size)
    together = parts.experts and parts.projections
    if moe_layers and model.moe is not None and together and (m.dp > 1).any():
        sent = tokens / m.moe_ranks * model.hidden * ACTIVATION_BYTES * model.moe.topk
        exchange = collectives.exchange_s(
            sent, m.moe_ranks, m.exchange_latency_s, m.exchange_bytes_per_s
        )
        network = network + 2 * moe_layers * np.where(m.dp > 1, exchange, 0.0)
    hops = (m.pp - 1) * collectives.send_s(size / m.tp, m.hop_latency_s, m.hop_bytes_per_s)
    return np.asarray(network + hops)


def _finish(total: _Sum, network: Floats, overhead: Floats, launch_s: Floats) -> Pass:
    """Host launches run beside the device: the longer of the two counts."""
    joined = np.asarray(total.joined)
    waiting = np.maximum(launch_s - joined - network - overhead, 0.0)
    overhead = overhead + waiting
    return Pass(
        total_s=joined + network + overhead,
        compute_s=np.asarray(total.compute),
        memory_s=np.asarray(total.memory),
        network_s=network + np.zeros_like(joined),
        overhead_s=overhead + np.zeros_like(joined),
        roof_s=np.maximum(total.flops_at_peak, total.bytes_at_peak),
    )


def prefill_pass(
    model: ModelSpec,
    m: Machines,
    *,
    new_tokens: ArrayLike,
    prefix_tokens: ArrayLike = 0.0,
    sequences: ArrayLike = 1.0,
    cross_tokens: ArrayLike = 0.0,
    launched: bool = True,
) -> Pass:
    """Prefill `sequences` prompts of `new_tokens` over `prefix_tokens` cached ones, in one pass.

    With data-parallel attention a prompt runs on one group: fewer prompts than groups leave some
    of them idle. All arguments [C, X] or broadcastable; cross_tokens are the encoder positions
    that the cross-attention layers of one sequence see; `launched` says whether the host's launches
    may hold the pass up.
    """
    new, prefix = np.asarray(new_tokens, float), np.asarray(prefix_tokens, float)
    batch = np.asarray(sequences, float)
    tokens = batch * new
    groups = np.minimum(m.dp, np.maximum(batch, 1.0))
    total = _Sum()
    _products(total, model, m, tokens, batch, groups)
    for group in model.attention:
        window = float(group.window or np.inf)
        heads = group.heads / m.tp
        dims = 2 * (group.qk_dim + group.v_dim)
        seen = np.minimum(prefix + new, window)
        if group.kind == "linear":
            flops = 6 * group.state_values * tokens / m.tp / groups
            dims, seen = 0, np.zeros(1)
        elif group.kind == "cross":
            seen = np.asarray(cross_tokens, float)
            flops = heads * dims * tokens / groups * seen
        else:
            pairs = batch / groups * attention.causal_pairs(new, prefix, window)
            flops = heads * dims * pairs
        shard = cache_shard(m, group.kv_heads, group.kind == "latent")
        cached = group.cache_values_per_token * m.kv_bytes * shard
        queries = heads * (group.qk_dim + group.v_dim) / 2
        reach = np.minimum(prefix, window)
        moved = batch / groups * attention.prefill_bytes(new, reach, queries, cached)
        total.attend(m, group.layers, flops, dims * seen, moved)
    overhead = model.layers * m.prefill_layer_s + m.step_s + batch * m.sequence_s
    launch = layer_work(model).kernels * m.prefill_launch_s * launched
    return _finish(total, _collectives(model, m, tokens, groups), overhead, launch)


def decode_pass(
    model: ModelSpec,
    m: Machines,
    *,
    sequences: ArrayLike,
    context_tokens: ArrayLike,
    cross_tokens: ArrayLike = 0.0,
    positions: float = 1.0,
    parts: Parts = WHOLE,
) -> Pass:
    """One decode step of `sequences` running requests at a mean context, [C, X].

    With pipeline stages the batch is split into that many micro-batches in flight; with
    data-parallel attention over that many groups. `positions` of each sequence are run at once
    (more than one where drafted tokens are checked): products, attention arithmetic and sampling
    are done for each, its cache is read once; a recurrent state is written at each. `parts` says
    which operators run here, where the others run on another instance.
    """
    batch = np.asarray(sequences, float) / m.pp
    context = np.asarray(context_tokens, float)
    total = _Sum()
    groups = np.minimum(m.dp, np.maximum(batch, 1.0))
    tokens = batch * positions
    _products(total, model, m, tokens, tokens, groups, parts)
    for group in model.attention if parts.attention else ():
        running = batch / groups
        read = attention.mean_window(context, float(group.window or np.inf))
        shard = cache_shard(m, group.kv_heads, group.kind == "latent")
        flops_per_s, bytes_per_s = m.prefill_attention_flops_per_s, m.decode_attention_bytes_per_s
        if group.kind == "latent":
            absorbed = 2 * (2 * (group.kv_lora_rank or 0) + (group.qk_rope_dim or 0))
            flops = positions * running * group.heads / m.tp * absorbed * read
            flops_per_s, bytes_per_s = m.latent_flops_per_s, m.latent_bytes_per_s
        elif group.kind == "linear":
            flops = 6 * group.state_values * positions * running / m.tp
        else:
            read = np.asarray(cross_tokens, float) if group.kind == "cross" else read
            flops = 2 * running * group.heads / m.tp * (group.qk_dim + group.v_dim) * read
            flops = positions * flops
        values = group.cache_values_per_token or group.cross_values_per_token
        moved = running * read * values * m.kv_bytes * shard
        if group.kind == "linear":
            moved = running * (1 + positions) * group.state_bytes / m.tp
        total.add(
            m,
            flops=group.layers * flops,
            bytes_moved=group.layers * moved,
            flops_per_s=flops_per_s,
            bytes_per_s=bytes_per_s,
            peak_flops_per_s=m.half_peak_flops_per_s,
            floor_s=group.layers * m.decode_attention_floor_s,
        )
    kernels = layer_work(model, parts).kernels
    overhead = kernels / layer_work(model).kernels * model.layers * m.decode_layer_s
    if parts.projections:
        overhead = overhead + m.step_s + batch * m.pp * m.sequence_s
    network = _collectives(model, m, tokens, groups, parts)
    return _finish(total, network, overhead, kernels * m.decode_launch_s)
