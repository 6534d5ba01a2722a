"""What requests of fixed lengths ask of colocated instances, one row each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdplan.physics.roofline import Floats
from pdplan.pools.interleave import PromptWork
from pdplan.specs.model import ModelSpec
from pdplan.stages.llm import decode_pass
from pdplan.stages.machine import Machines
from pdplan.stages.memory import cache_bytes_per_sequence, device_memory
from pdplan.stages.prompt import prompt_times

if TYPE_CHECKING:
    from pdplan.planner.points import Point


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Work of rows [R] on their instances, and how long steps of some batches take."""

    prompts: PromptWork
    together: Floats
    """Prompts that fit into one step."""
    steps: Floats
    """Decode steps of a request."""
    batches: Floats
    """Batch sizes [N], the same for all rows."""
    step_s: Floats
    """Step at these batches [R, N], never shorter for more."""
    cap: Floats
    """Requests that may run at once: by memory and by the engine's limit, at least one."""

    @property
    def full_step_s(self) -> Floats:
        """Step of as many requests as may run."""
        return self.step_at(self.cap)

    def step_at(self, running: Floats) -> Floats:
        """Step of so many requests [R], between the batches by straight lines."""
        above = np.searchsorted(self.batches, running).clip(1, len(self.batches) - 1)[:, None]
        low, high = self.batches[above[:, 0] - 1], self.batches[above[:, 0]]
        first, last = (np.take_along_axis(self.step_s, n, axis=1)[:, 0] for n in (above - 1, above))
        share = np.clip((running - low) / (high - low), 0, 1)
        return np.asarray(first + share * (last - first))

    @property
    def capacity_rps(self) -> Floats:
        """Rate at which an instance saturates, by its decoding or by its prompts."""
        added, filled = self.prompts.added_s[:, 0], self.prompts.filled[:, 0]
        decoding = added + self.steps * self.full_step_s / self.cap
        return np.asarray(1 / np.maximum(decoding, added + filled * self.full_step_s))


def requests_of(
    model: ModelSpec, m: Machines, points: "list[Point]", batches: Floats, limit: Floats
) -> Requests:
    """Work out rows; `limit` is the engine's or the loop's own number of running requests [R]."""
    isl, prefix, osl = (
        np.array([p.number(name) for p in points])[:, None] for name in ("isl", "prefix", "osl")
    )
    chunk = points[0].engine.defaults.chunk_tokens
    times = prompt_times(model, m, tokens=isl, chunk_tokens=chunk, prefix_tokens=prefix)
    context = prefix + isl + osl / 2
    steps = decode_pass(model, m, sequences=batches, context_tokens=context).total_s
    memory = device_memory(model, m, pass_tokens=np.minimum(isl, chunk))
    one = cache_bytes_per_sequence(model, m, context)
    fit = np.floor(m.dp * np.maximum(memory.cache, 0) / one)[:, 0]
    return Requests(
        prompts=PromptWork(
            alone_s=times.alone_s,
            added_s=times.riding_s,
            encode_s=np.zeros_like(isl),
            rides=np.broadcast_to(times.passes, times.alone_s.shape),
            filled=isl / chunk,
        ),
        together=np.maximum(m.dp * chunk / isl, 1.0)[:, 0],
        steps=np.maximum(osl - 1, 1e-9)[:, 0],
        batches=batches,
        step_s=np.maximum.accumulate(np.broadcast_to(steps, (len(points), len(batches))), axis=1),
        cap=np.maximum(np.minimum(fit, limit), 1.0),
    )
