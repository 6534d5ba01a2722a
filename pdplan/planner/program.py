"""One placement as an integer program: columns in, the proven-best choice out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.placement import Chain
from pdplan.placement.latency import Sojourn
from pdplan.planner.affinity import Pairing
from pdplan.planner.aims import RESOURCES, each_of
from pdplan.planner.goals import Goal, tpot_goals_by_class
from pdplan.planner.late import LateTpot, is_late
from pdplan.pools.decode_pool import MEAN
from pdplan.pools.load import class_tpot_quantiles_s
from pdplan.pools.table import Ints, PoolTable
from pdplan.solver.columns import Bound, Choice, Pool, Rental
from pdplan.solver.search import choose
from pdplan.specs.scenario import Scenario

if TYPE_CHECKING:
    from pdplan.solver.diagnosis import Diagnosis

KV_CODES = ("bf16", "fp16", "fp8", "int8")
OVER_BUDGET = "whole nodes over budget"
"""Violated by the cheapest plan where nodes are paid whole; its objective says what they cost."""
EXACT = 1e-9
"""Slack in comparing an attainment with its level."""

MEETING = 10
"""Steps in which the share of transfers that meet those of other senders at a receiver counts as a
delay of the pool that sends: it grows with instances, as all else falls (`hop_wait`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Pools, limits and the exact test of one placement."""

    chain: Chain
    scenario: Scenario
    goals: tuple[Goal, ...]
    """TTFT objectives."""
    late: LateTpot | None = None
    """TPOT objectives, where they depend on more than the pool that decodes."""
    pairing: Pairing | None = None
    """How columns pair up, where prefill and decode share nodes."""

    def choose(self, incumbent: tuple[int, ...] | None = None) -> Choice:
        """Find the column of each pool that serves the scenario's objective best."""
        choice = choose(
            self.pools(),
            limits=self.limits(),
            bounds=self.bounds(),
            accept=self.accept if self.goals or self.late else None,
            rentals=self.rentals(),
            incumbent=incumbent,
        )
        budget = self.scenario.limits.budget_usd_per_hour
        if (
            self._pays_whole_nodes
            and budget is not None
            and choice.objective > budget * (1 + EXACT)
        ):
            return replace(choice, status="infeasible", columns=None, violated=(OVER_BUDGET,))
        return choice

    @property
    def _pays_whole_nodes(self) -> bool:
        return self.scenario.limits.whole_nodes and self._goal == "cost"

    def diagnose(self) -> "Diagnosis":
        """Say what stands in the way."""
        from pdplan.solver.diagnosis import diagnose

        return diagnose(
            self.pools(),
            limits=self.limits(),
            bounds=self.bounds(),
            accept=self.accept if self.goals or self.late else None,
            rentals=self.rentals(),
        )

    def pools(self) -> tuple[Pool, ...]:
        """Columns as the solver takes them: one pool for all processes on the same devices."""
        return tuple(self._pool(group) for group in self.chain.placement.devices)

    def _pool(self, group: tuple[int, ...]) -> Pool:
        table = self.chain.tables[group[0]]
        use = {"gpus": self._used(table, dict.fromkeys(self._offers, 1.0))}
        use["usd_per_hour"] = self._used(table, self._per_gpu("cost"))
        use["power_w"] = self._used(table, self._per_gpu("power"))
        for name in sorted({part for shape in table.times.shapes for part, _ in shape.parts}):
            use[f"stock:{name}"] = self._used(table, {name: 1.0})
        use = {name: np.nan_to_num(values, nan=0.0) for name, values in use.items()}
        use["hardware_cost"] = np.nan_to_num(self._used(table, self._per_gpu("hardware_cost")))
        objective = use[RESOURCES[self._goal]]
        if self.scenario.limits.whole_nodes and self._goal == "cost":
            objective = np.zeros_like(objective)
        second = use["gpus"] if self._goal == "cost" else use["usd_per_hour"]
        delays = [self._delays(i, self.chain.tables[i]) for i in group]
        processes = tuple(self.chain.placement.pools[i] for i in group)
        return Pool(
            name="+".join(self.chain.tables[i].stages for i in group),
            objective=objective,
            tiebreak=second + 1e-6 * table.columns.instances,
            use=use,
            key=self._paired_keys(group[0], self._keys(table, processes)),
            delay=delays[0] if len(delays) == 1 else np.concatenate(delays, axis=1),
        )

    @property
    def _offers(self) -> list[str]:
        return [choice.id for choice in self.scenario.hardware]

    @staticmethod
    def _used(table: PoolTable, per_gpu: Mapping[str, float]) -> Floats:
        """What each column takes, at so much an accelerator of each kind [K]."""
        config, count = table.columns.config, table.columns.instances
        parts = [shape.parts for shape in table.times.shapes]
        found = np.zeros(len(table))
        for i in range(max(map(len, parts), default=0)):
            each = [part[i] if i < len(part) else ("", 0) for part in parts]
            price = np.array([per_gpu.get(name, 0.0) for name, _ in each], float)[config]
            gpus = np.array([number for _, number in each], np.int64)[config]
            found = found + price * (gpus * count).astype(float)
        return found

    @property
    def _goal(self) -> str:
        return self.scenario.objective

    def _per_gpu(self, what: str) -> dict[str, float]:
        """Price or power of one accelerator of each kind; NaN where unknown."""
        known = {}
        for choice in self.scenario.hardware:
            value = each_of(choice, what)
            known[choice.id] = np.nan if value is None else float(value)
        return known

    def _paired_keys(self, position: int, keys: Ints) -> Ints:
        """Keys with the units of nodes that pools must have in common, where they share nodes."""
        return keys if self.pairing is None else self.pairing.keys(position, keys)

    def _keys(self, table: PoolTable, processes: tuple[str, ...]) -> Ints:
        """Cache type, on which prefill and decode pools must agree."""
        if not self.chain.placement.decode_apart or not set("PDA") & set("".join(processes)):
            return np.full(len(table), -1, np.int64)
        codes = np.array([KV_CODES.index(shape.kv_dtype) for shape in table.times.shapes])
        return np.asarray(codes[table.columns.config], np.int64)

    def _delays(self, position: int, table: PoolTable) -> Floats:
        """Everything of a column that can delay a first token, larger is slower [K, d]."""
        served = np.zeros(table.encode_s.shape[1], bool)
        for goal in self.goals:
            served |= goal.weight > 0
        fixed = np.concatenate([table.encode_s[:, served], table.prefill_s[:, served]], axis=1)
        parts = [_distinct_columns(fixed)]
        for wait in table.waits:
            parts.append(np.asarray(wait.probability, float)[:, None])
            parts.append(np.asarray(wait.tail_mean_s, float)[:, None])
        if self.late is not None and table.stages == "D":
            for weight, levels, _ in tpot_goals_by_class(self.late.goals):
                parts.append(class_tpot_quantiles_s(table, self.chain.demand, weight, levels))
        if len(self.chain.placement.devices) > 1:
            parts.append(1 / table.columns.instances[:, None])
            if position + 1 < len(self.chain.tables):
                others = 1 - 1 / table.columns.instances[:, None]
                parts.append(np.floor(MEETING * others + EXACT))
            if "P" in table.stages:
                parts.append(table.mean_batch[:, None])
            bandwidth, latency = table.network(np.arange(len(table)))
            inverse = np.where(bandwidth > 0, 1 / np.maximum(bandwidth, 1e-9), np.inf)
            parts += [inverse[:, None], latency[:, None]]
            if "P" in table.stages:
                config = table.columns.config
                parts.append(self.chain.cache_weight(table)[config, None])
                parts.append(1 - table.times.machines.network_layerwise[config])
        return np.concatenate(parts, axis=1)

    def limits(self) -> dict[str, float]:
        """Stock, accelerators, budget and power."""
        found: dict[str, float] = {}
        bounds = self.scenario.limits
        for name, value in (
            ("gpus", bounds.max_gpus),
            ("usd_per_hour", None if self._pays_whole_nodes else bounds.budget_usd_per_hour),
            ("power_w", bounds.power_w),
        ):
            if value is not None:
                found[name] = float(value)
        for choice in self.scenario.hardware:
            if choice.stock is not None:
                found[f"stock:{choice.id}"] = float(choice.stock)
        return found

    def rentals(self) -> tuple[Rental, ...]:
        """Whole nodes, where they are rented so."""
        if not self.scenario.limits.whole_nodes:
            return ()
        by_cost = self._goal == "cost"
        return tuple(
            Rental(
                f"stock:{choice.id}",
                float(choice.spec.accelerators_per_node),
                (choice.usd_per_hour or 0.0) * choice.spec.accelerators_per_node * by_cost,
            )
            for choice in self.scenario.hardware
        )

    def bounds(self) -> tuple[Bound, ...]:
        """Fixed times alone must leave room: exact when they grow together over support points.

        The level's quantile of a sum of comonotone times is the sum of their quantiles; waits only
        add to it.
        """
        tables = self.chain.tables
        found = []
        for i, goal in enumerate(self.goals):
            if goal.level == MEAN:
                means = [self._fixed_s(t) @ goal.weight / goal.weight.sum() for t in tables]
                least = tuple(
                    np.asarray(sum(means[j] for j in group))
                    for group in self.chain.placement.devices
                )
                found.append(Bound(f"ttft_{i}", least, goal.limit_s))
                continue
            points = np.flatnonzero(goal.weight > 0)
            order = points[np.argsort(self.chain.demand.prompt_tokens[points], kind="stable")]
            fixed = [self._fixed_s(t)[:, order] for t in tables]
            if not all((np.diff(part, axis=1) >= -1e-12).all() for part in fixed):
                continue
            reached = np.cumsum(goal.weight[order]) / goal.weight.sum()
            at = int(np.searchsorted(reached, goal.level - EXACT))
            at = min(at, len(order) - 1)
            least = tuple(
                np.asarray(sum(fixed[j][:, at] for j in group))
                for group in self.chain.placement.devices
            )
            found.append(Bound(f"ttft_{i}", least, goal.limit_s))
        if self.pairing is not None:
            found.append(self.pairing.bound(self.chain.placement.devices))
        return tuple(found)

    def _fixed_s(self, table: PoolTable) -> Floats:
        """Times of a pool that every first token takes [K, S]."""
        beyond = is_late(self.chain) and table.stages == "D"
        return table.encode_s + table.prefill_s * (0.0 if beyond else 1.0)

    def quickest_rest(self, position: int) -> Floats:
        """Least fixed time that pools on all other devices can have, per support point [S]."""
        rest = np.zeros(len(self.chain.demand.prompt_tokens))
        for i, table in enumerate(self.chain.tables):
            if self.chain.placement.device_of[i] != position and len(table):
                rest = rest + self._fixed_s(table).min(0)
        return rest

    def could_meet(self, table: PoolTable, rest_s: Floats) -> np.ndarray:
        """Whether columns of one pool could meet TTFT if nothing else ever waited [K].

        Transfers are left out: a necessary condition.
        """
        waits = [
            (name, wait)
            for name, wait in table.named_waits
            if name != "decode" or not is_late(self.chain)
        ]
        media = self.chain.demand.media.present.astype(float)
        fixed = self._fixed_s(table) + rest_s
        shape = (*fixed.shape, max(len(waits), 1))
        probabilities, means = np.zeros(shape), np.zeros(shape)
        for k, (name, wait) in enumerate(waits):
            share = table.meeting(name, media)
            probabilities[..., k] = np.asarray(wait.probability)[:, None] * share
            means[..., k] = np.asarray(wait.tail_mean_s)[:, None]
        follows = tuple(wait.follows for _, wait in waits)
        sojourn = Sojourn(fixed, probabilities, means, follows)
        good = np.ones(len(table), bool)
        for goal in self.goals:
            good &= goal.reached(sojourn)
        return good

    def accept(self, choices: Ints) -> np.ndarray:
        """Whether choices [X, pools] meet every objective that depends on several pools."""
        good = np.ones(len(choices), bool)
        for goal in self.goals:
            left = np.flatnonzero(good)
            if not left.size:
                break
            good[left] = goal.reached(self.chain.sojourn(choices[left]))
        left = np.flatnonzero(good)
        if self.late is not None and left.size:
            good[left] = self.late.met(choices[left])
        return good


def _distinct_columns(values: Floats) -> Floats:
    """Columns [K, d] without repetitions."""
    if values.shape[1] < 2 or not len(values):
        return values
    order = np.lexsort(values)
    sorted_values = values[:, order]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(sorted_values, axis=1) != 0).any(0)
    return np.asarray(sorted_values[:, new])
