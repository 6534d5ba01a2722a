"""Stages that run uncontrolled on the same devices: how much each is slowed by the others."""

from collections.abc import Sequence

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.demand import Demand
from pdplan.pools.request_pool import occupancy
from pdplan.pools.table import Columns
from pdplan.pools.times import Times
from pdplan.queueing.compute_share import passes_busy, running_busy
from pdplan.specs.options.sharing import Sharing

ROUNDS = 60
CLOSE = 1e-12
LEAST_FREE = 0.02
"""Share of time left to decoding in a process that prefills too, however much that is."""


def slowdowns(
    processes: Sequence[Times], columns: Columns, demand: Demand, sharing: Sharing
) -> list[dict[str, Floats]]:
    """Factor on the device time of each stage of each process [K], in every column.

    f_i = 1 + sum_j (s_ij - 1) rho_j   over the stages j of the other processes

    rho_j, the probability that stage j works, grows with its own f_j: the least solution, from
    idle devices upwards. *Valid for* stages that are slowed evenly while another one runs, whose
    busy times are independent. *Limits*: s = 1 gives f = 1; an overloaded stage works always.
    *Source*: the matrix s_ij after EPD-Serve (arXiv 2601.11590), figure 6; see `Sharing`.
    """
    count = len(columns)
    parts = [_Busy(times, columns, demand) for times in processes]
    stages = [[s for s in times.stages if s in "EPD"] for times in processes]
    factors = [{s: np.ones(count) for s in mine} for mine in stages]
    for _ in range(ROUNDS):
        busy = [part.shares(own) for part, own in zip(parts, factors, strict=True)]
        change = 0.0
        for i, own in enumerate(factors):
            for stage, before in own.items():
                after = np.ones(count)
                for j, others in enumerate(busy):
                    if j != i:
                        for other, share in others.items():
                            after = after + (sharing.slowdown(stage, other) - 1) * share
                change = max(change, float(np.abs(after - before).max(initial=0.0)))
                own[stage] = after
        if change < CLOSE:
            break
    return factors


class _Busy:
    """How often the stages of one process work, at any slowdown of theirs."""

    def __init__(self, times: Times, columns: Columns, demand: Demand) -> None:
        c = columns.config
        self.columns, self.demand = columns, demand
        self.rate = demand.rate_rps / columns.instances
        self.encode_s = demand.mean(times.encode_s)[c] / times.machines.pp[c, 0]
        self.base_s = self.work_s = np.zeros(len(c))
        self.decodes = "D" in times.stages
        if "P" in times.stages and self.decodes:
            self.work_s = demand.mean(times.marginal_s)[c]
        elif "P" in times.stages:
            found = occupancy(times, demand)
            self.base_s = found.base_s[c]
            alone = demand.mean(times.prefill_s)[c] / times.machines.pp[c, 0]
            self.work_s = np.maximum(alone - self.base_s, 0.0)
        most = columns.max_batch.max(initial=1)
        self.step_s = times.step_s[:, :most]
        self.running = np.zeros(len(c))
        self.stages = times.stages

    def shares(self, factors: dict[str, Floats]) -> dict[str, Floats]:
        """Share of time that each stage works [K]."""
        found: dict[str, Floats] = {}
        if "E" in factors:
            found["E"] = np.minimum(self.rate * self.encode_s * factors["E"], 1.0)
        if "P" in factors:
            slow = factors["P"]
            found["P"] = passes_busy(self.rate, self.base_s * slow, self.work_s * slow)
            if self.decodes:
                found["P"] = np.minimum(self.rate * self.work_s * slow, 1.0)
        if "D" in factors:
            free = np.ones(len(self.rate))
            if "P" in factors:
                free = np.maximum(1 - found["P"] - found.get("E", 0.0), LEAST_FREE)
            step = self._step_s() * factors["D"] / free
            most = self.columns.max_batch.astype(float)
            self.running = np.minimum(self.rate * self.demand.decode_steps * step, most)
            found["D"] = running_busy(self.running) * free
        return found

    def _step_s(self) -> Floats:
        """Decode step at the mean batch so far, 1 at least [K]."""
        config = self.columns.config
        batch = np.clip(self.running, 1.0, self.columns.max_batch)
        low = batch.astype(np.int64)
        high = np.minimum(low + 1, self.step_s.shape[1])
        below, above = self.step_s[config, low - 1], self.step_s[config, high - 1]
        return np.asarray(below + (above - below) * (batch - low))
